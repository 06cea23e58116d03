"""The queries that a teacher labels, in the order in which training reads them: the synthetic ones, then the real ones
of split train."""

from collections.abc import Iterator
from functools import lru_cache
from itertools import accumulate, chain
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dsi.config import TRAIN
from dsi.corpus.store import Corpus
from dsi.doc2query.shards import count_queries, read_shard, shard_paths


class TrainingQueries:
    """Read access to the training queries; `tasks` has the number of each training task, in order."""

    def __init__(self, corpus: Corpus, doc2query_folder: Path) -> None:
        self.paths = shard_paths(doc2query_folder)
        self.starts = [0, *accumulate(map(count_queries, self.paths))]
        self.labelled = list(corpus.relevant(TRAIN)) if TRAIN in corpus.splits else []
        self.tasks = {"d2q": self.starts[-1]} | ({"labelled": len(self.labelled)} if self.labelled else {})
        self._read = lru_cache(maxsize=1)(read_shard)

    def __len__(self) -> int:
        return sum(self.tasks.values())

    def rows(self, numbers: range) -> tuple[NDArray[np.uint32], list[str]]:
        """The own document, as doc_index, and the text of the queries with these numbers."""
        parts = list(self._synthetic(numbers))
        first = self.starts[-1]
        real = self.labelled[max(numbers.start - first, 0) : max(numbers.stop - first, 0)]
        parts.append((np.array([own for _, own in real], dtype=np.uint32), [query.text for query, _ in real]))
        return np.concatenate([own for own, _ in parts]), list(chain.from_iterable(texts for _, texts in parts))

    def _synthetic(self, numbers: range) -> Iterator[tuple[NDArray[np.uint32], list[str]]]:
        for path, start, stop in zip(self.paths, self.starts, self.starts[1:], strict=False):
            if start < numbers.stop and numbers.start < stop:
                doc_index, texts = self._read(path)
                within = slice(max(numbers.start - start, 0), numbers.stop - start)
                yield doc_index[within], texts[within]
