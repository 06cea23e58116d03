"""The evaluation queries of a run one by one: their texts, what is relevant, what every system found, how well."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dsi.corpus.store import Corpus
from dsi.runtime.tsv import read_tsv
from dsi.search.run_files import DSI, read_run

DEEPEST = 100
"""The number of documents that are read of each ranking."""


@dataclass(frozen=True)
class PerQuery:
    """What is known of each evaluation query, by query_id."""

    measure: str
    """The first measure."""
    values: Mapping[str, Mapping[str, float]]
    """The measure of each judged query, by system first."""
    texts: Mapping[str, str]
    relevant: Mapping[str, list[str]]
    """The ids of the relevant documents of each query that has any."""
    found: Mapping[str, Mapping[str, list[str]]]
    """The ids of the first `DEEPEST` documents found, the best first, by system first; queries without are absent."""

    def difference(self, system: str, other: str) -> dict[str, float]:
        """The measure of a system less that of another one."""
        return {query_id: value - self.values[other][query_id] for query_id, value in self.values[system].items()}


def read_per_query(metrics: Mapping[str, Any], folders: Mapping[str, Path]) -> PerQuery:
    """What the stages have in these folders, each by the stage's name; `metrics` are those of `metrics.json`."""
    measure = next(iter(metrics["systems"][DSI]))
    values = read_values(folders["evaluation"], measure)
    corpus, split = Corpus(folders["corpus"]), metrics["split"]
    relevant: dict[str, list[str]] = defaultdict(list)
    for qrel in corpus.qrels(split):
        if qrel.relevance > 0:
            relevant[qrel.query_id].append(qrel.doc_id)
    found = {}
    for system in metrics["systems"]:
        run = read_run(folders["baselines" if system in metrics["baselines"] else "search"] / f"{system}.run")
        found[system] = {query_id: list(hits)[:DEEPEST] for query_id, hits in run.items()}
    texts = {query.query_id: query.text for query in corpus.queries(split)}
    return PerQuery(measure, values, texts, dict(relevant), found)


def read_values(evaluation_folder: Path, measure: str) -> dict[str, dict[str, float]]:
    """The measure of each judged query, by system and query_id."""
    values: dict[str, dict[str, float]] = defaultdict(dict)
    for row in read_tsv(evaluation_folder / "per_query.tsv"):
        values[row["system"]][row["query_id"]] = float(row[measure])
    return values
