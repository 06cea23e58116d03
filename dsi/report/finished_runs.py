"""Finished runs that a report compares: what each is, and which have answered the same queries over the same documents.

What is the same is found by content: two runs whose corpora were read from different files, or under different names,
may be compared if the documents, the evaluation queries and their judgements are equal.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from hashlib import blake2b
from pathlib import Path
from typing import Any

from dsi.artifacts import check_files, read_manifest
from dsi.config import CONFIG
from dsi.corpus.store import Corpus
from dsi.errors import DsiError
from dsi.report.cost import Manifests
from dsi.report.quantities import count
from dsi.report.tables import Table

NEEDED = ("corpus", "docids", "model", "search", "baselines", "evaluation")
"""The stages that a run must have finished to be compared."""


@dataclass(frozen=True)
class FinishedRun:
    """A run whose systems have been measured."""

    name: str
    """What tells it from the other runs."""
    folder: Path
    manifests: Manifests
    metrics: Mapping[str, Any]
    """The content of its `metrics.json`."""

    @property
    def measures(self) -> list[str]:
        """The measures of every system."""
        return list(self.metrics["systems"][self.metrics["main"]])


def find_run(argument: str, runs_folder: Path) -> Path:
    """The folder of the run that an argument of the command line means: the one at this path, or of this name among all
    runs; the path itself if there is neither."""
    places = (Path(argument), runs_folder / argument)
    return next((folder for folder in places if (folder / CONFIG).is_file()), Path(argument))


def open_runs(folders: Sequence[Path]) -> list[FinishedRun]:
    """The finished runs in these folders. Their names are those of the folders, or their paths where these are equal.

    Raises:
        DsiError: a folder is no finished run, a run is named twice, or there is only one.
    """
    if len(folders) == 1:
        raise DsiError(f"{folders[0]}: one run has a report of its own; name two runs or more to compare them")
    names = [folder.resolve().name for folder in folders]
    runs: dict[str, FinishedRun] = {}
    for folder, name in zip(folders, names, strict=True):
        run = _open_run(folder, str(folder) if names.count(name) > 1 else name)
        fingerprint = run.manifests["evaluation"]["fingerprint"]
        if fingerprint in runs:
            raise DsiError(f"{runs[fingerprint].folder} and {folder} are the same run; name it once")
        runs[fingerprint] = run
    return list(runs.values())


def _open_run(folder: Path, name: str) -> FinishedRun:
    if not folder.is_dir():
        raise DsiError(f"{folder}: there is no such run, neither as a folder nor as a name below that of all runs")
    if (folder / "config.json").is_file():
        raise DsiError(f"{folder}: a saved index has no answers to compare; name the run that it was saved from")
    if not (folder / CONFIG).is_file():
        raise DsiError(f"{folder}: no run, for it has no {CONFIG}; name the folder of a run, e.g. runs/demo")
    manifests = {}
    for stage in NEEDED:
        manifest = read_manifest(folder / stage)
        if manifest is None:
            raise DsiError(f"{folder}: the run is not finished, it lacks its {stage}; finish it with `dsi run`")
        manifests[stage] = manifest
    check_files(folder / "evaluation")
    for stage in ("corpus", "search", "baselines"):
        if manifests["evaluation"]["inputs"][f"{stage}/"] != manifests[stage]["fingerprint"]:
            raise DsiError(f"{folder}: its evaluation is not of its {stage}; make the run again with `dsi run`")
    metrics = json.loads((folder / "evaluation/metrics.json").read_text(encoding="utf-8"))
    return FinishedRun(name, folder, manifests, metrics)


def comparable(runs: Sequence[FinishedRun]) -> list[list[FinishedRun]]:
    """The runs in groups of those that answer the same queries, judged alike, over the same documents."""
    groups: dict[tuple[int, int, int], list[FinishedRun]] = {}
    for run in runs:
        groups.setdefault(_asked(run.folder.resolve() / "corpus", run.metrics["split"]), []).append(run)
    return list(groups.values())


def differing(one: FinishedRun, other: FinishedRun) -> str:
    """What two runs that cannot be compared differ in, in words."""
    asked = [_asked(run.folder.resolve() / "corpus", run.metrics["split"]) for run in (one, other)]
    parts = zip(("documents", "queries", "judgements"), *asked, strict=True)
    return ", ".join(name for name, ours, theirs in parts if ours != theirs)


def _asked(corpus_folder: Path, split: str) -> tuple[int, int, int]:
    """The hashes of the documents, of the queries of a split that are judged, and of their judgements."""
    return _hash_of_documents(corpus_folder.resolve()), *_hashes_of_queries(corpus_folder.resolve(), split)


@cache
def _hash_of_documents(corpus_folder: Path) -> int:
    return _hash(Corpus(corpus_folder))


@cache
def _hashes_of_queries(corpus_folder: Path, split: str) -> tuple[int, int]:
    corpus = Corpus(corpus_folder)
    qrels = corpus.qrels(split)
    judged, left_out = {qrel.query_id for qrel in qrels}, corpus.identical(split)
    queries = [(*query, query.query_id in left_out) for query in corpus.queries(split) if query.query_id in judged]
    return _hash(queries), _hash(qrels)


def _hash(rows: Iterable[tuple[Any, ...]]) -> int:
    """The hash of rows in any order."""
    digests = (blake2b(repr((*row,)).encode(errors="surrogateescape"), digest_size=16).digest() for row in rows)
    return sum(int.from_bytes(digest) for digest in digests)


def runs_table(runs: Sequence[FinishedRun]) -> Table:
    """What each run is: its documents, queries, docids, labels and seeds."""
    rows = [
        [
            run.name,
            count(run.metrics["documents"]),
            count(run.metrics["queries"]),
            run.metrics["split"],
            run.manifests["docids"]["counts"]["kind"],
            _labels(run.manifests["model"]),
            _seeds(run.manifests),
        ]
        for run in runs
    ]
    return Table("runs", "The runs.", ["run", "documents", "queries", "split", "docids", "labels", "seeds"], rows)


def _labels(model: Mapping[str, Any]) -> str:
    """What the model has learnt from."""
    distilled = model["counts"].get("distilled")
    return f"teacher {distilled['teacher']}" if distilled else str(model["inputs"]["training"]["labels"])


def _seeds(manifests: Manifests) -> str:
    """The seed of all sections if it is one, else that of each."""
    sections = [section for manifest in manifests.values() for section in manifest["inputs"].items()]
    seeds = {key: values["seed"] for key, values in sections if isinstance(values, dict) and "seed" in values}
    if len(set(seeds.values())) == 1:
        return str(next(iter(seeds.values())))
    return ", ".join(f"{key} {seed}" for key, seed in seeds.items())
