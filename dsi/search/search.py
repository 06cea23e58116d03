"""The stage `search`: runs the evaluation queries through the index and measures what the search costs and misses."""

from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dsi.config import SearchConfig
from dsi.corpus.store import Corpus
from dsi.model.cost import search_flops
from dsi.search.answering import Hits, Questions, ask
from dsi.search.search_errors import is_certified, search_errors
from dsi.search.searcher import Ranking
from dsi.search.text_searcher import TextSearcher

BATCHES = 32
"""The number of batches searched between two updates of the progress display."""


class IndexSystem:
    """The index as a `System`, which counts the token ids it has read and keeps what it knows of its rankings."""

    def __init__(
        self,
        corpus_folder: Path,
        tokenizer_folder: Path,
        docids_folder: Path,
        model_folder: Path,
        search: SearchConfig,
        depth: int,
    ) -> None:
        self.corpus = Corpus(corpus_folder)
        search = search.model_copy(update={"beam": depth})
        self.index = TextSearcher(tokenizer_folder, docids_folder, model_folder, search)
        self.token_ids = 0
        self.certified: list[bool] = []
        self.is_docid: list[NDArray[np.bool_]] = []

    def answer(self, texts: Sequence[str]) -> Iterator[Hits]:
        step = BATCHES * self.index.config.batch_size
        for start in range(0, len(texts), step):
            queries = self.index.encode(texts[start : start + step])
            self.token_ids += sum(map(len, queries))
            for ranking in self.index.rank(queries):
                self.certified.append(is_certified(ranking))
                self.is_docid.append(ranking.is_docid)
                doc_ids = self.corpus.doc_ids(ranking.doc_index.tolist())
                yield list(zip(doc_ids, ranking.score.tolist(), strict=True))

    def answer_alone(self, text: str) -> list[Ranking]:
        return self.index.rank(self.index.encode([text]))


def search(
    out_folder: Path,
    *,
    search: SearchConfig,
    split: str | None,
    corpus_folder: Path,
    tokenizer_folder: Path,
    docids_folder: Path,
    model_folder: Path,
) -> dict[str, Any]:
    """Write `dsi.run` and `dsi.latency.tsv` (query_id, milliseconds) for the queries of a split, None for the default.

    Raises:
        DsiError: the device cannot compute in the configured precision, or the head cannot be searched as configured.
    """
    corpus = Corpus(corpus_folder)
    split = corpus.evaluation_split(split)
    questions = Questions.of(corpus, split, search.latency_queries)
    open_system = partial(IndexSystem, corpus_folder, tokenizer_folder, docids_folder, model_folder, search)
    system, measured = ask(out_folder, "dsi", open_system, search.beam, questions)
    searcher = system.index.searcher
    files = [*model_folder.glob("*.safetensors"), docids_folder / "codes.npy", *docids_folder.glob("trie.*.npy")]
    counts: dict[str, Any] = {"split": split, "index_bytes": sum(file.stat().st_size for file in files), **measured}
    if search.constrained and not search.exact:  # otherwise the beam does not bound the number of prefixes
        tokens, config = system.token_ids / max(len(questions.queries), 1), searcher.model.config
        counts["flops_per_query"] = search_flops(config, searcher.docids, tokens, search.beam, search.ranking)
    if not search.constrained:
        counts["invalid_docids"] = _share(~flags for flags in system.is_docid)
        counts["invalid_first"] = _share(~flags[:1] for flags in system.is_docid)
    elif searcher.trie is not None and search.ranking == "path":
        counts["certified_ten"] = _share([np.array(system.certified)])
    if search.error_queries and searcher.trie is not None:
        encoded = system.index.encode([query.text for query in questions.queries[: search.error_queries]])
        errors, certified = search_errors(searcher.model, searcher.docids, encoded, search.max_beam, search.batch_size)
        counts["search_errors"] = {
            "queries": len(encoded),
            "certified": round(certified, 4),
            "beams": {str(of_beam.beam): of_beam._asdict() for of_beam in errors},
        }
    return counts


def _share(flags: Iterable[NDArray[np.bool_]]) -> float:
    """The share of true values in all arrays together."""
    return round(float(np.concatenate(list(flags)).mean()), 4)
