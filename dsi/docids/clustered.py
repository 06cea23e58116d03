"""What the kinds of docids that are made of vectors have in common."""

from dataclasses import fields
from pathlib import Path
from typing import Any, Self

import numpy as np

from dsi.config import DocidsConfig
from dsi.corpus.store import Corpus
from dsi.corpus.vectors import Vectors
from dsi.docids.kind import NewDocument
from dsi.docids.store import Codes, Vocabulary


class Clustered:
    """The base of the kinds that are made of vectors: a docid is the path of a vector to its nearest centroids."""

    centroids_type: type[Any]
    """A dataclass of arrays whose method `way` finds the nearest centroid on each level: `ClusterTree`, `Codebooks`."""
    file_prefix: str
    """How the names of the files that hold the centroids begin."""
    own_tokens = True
    """Whether every level has tokens of its own."""
    is_numbered = False
    """Whether a number within its path ends every docid, rather than those alone whose path others have too."""

    def __init__(self, centroids: Any, vocabulary: Vocabulary) -> None:
        self.centroids, self.vocabulary = centroids, vocabulary

    @staticmethod
    def cluster(vectors: Vectors, config: DocidsConfig) -> tuple[Codes, Any]:
        """The path of every document, (documents, length) padded with -1, and the centroids."""
        raise NotImplementedError

    @classmethod
    def assign(
        cls, config: DocidsConfig, corpus: Corpus, vectors: Vectors | None, tokenizer_folder: Path | None
    ) -> tuple[Self, Vocabulary, Codes]:
        assert vectors is not None
        codes, centroids = cls.cluster(vectors, config)
        sizes: list[int] = []
        if cls.own_tokens:
            sizes, codes = (codes.max(axis=0) + 1).tolist(), by_position(codes)
        vocabulary = Vocabulary(config.kind, int(codes.max()) + 1, codes.shape[1], sizes=sizes)
        return cls(centroids, vocabulary), vocabulary, codes

    def way(self, document: NewDocument) -> list[int]:
        assert document.vector is not None
        path = self.centroids.way(document.vector)
        return [self.vocabulary.token(position, number) for position, number in enumerate(path)]

    def save(self, folder: Path) -> None:
        for name, array in vars(self.centroids).items():
            np.save(folder / f"{self.file_prefix}.{name}.npy", array)

    @classmethod
    def load(cls, folder: Path, vocabulary: Vocabulary) -> Self:
        paths = {field.name: folder / f"{cls.file_prefix}.{field.name}.npy" for field in fields(cls.centroids_type)}
        arrays = {name: np.load(path, mmap_mode="r") for name, path in paths.items()}
        return cls(cls.centroids_type(**arrays), vocabulary)


def by_position(codes: Codes) -> Codes:
    """Renumber tokens so that no two positions share one: (documents, length), padded with -1, as `codes`.

    >>> by_position(np.array([[0, 1], [1, -1]])).tolist()
    [[0, 3], [1, -1]]
    """
    sizes = codes.max(axis=0) + 1
    return np.where(codes < 0, -1, codes + np.cumsum(sizes) - sizes)
