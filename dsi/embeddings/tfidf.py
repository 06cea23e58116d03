"""Latent semantic vectors: TF-IDF weights reduced by a truncated SVD, with nothing to download."""

import json
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.preprocessing import normalize

from dsi.corpus.words import words_of

WORDS = 100_000
"""The largest number of words that are weighed."""
DIMENSIONS = 128
"""The largest number of dimensions."""
FITTED = 200_000
"""The largest number of documents, at even distances, that an encoder is fitted to: all their words are in memory."""


class Tfidf:
    """Encodes texts as vectors of unit length; the vector is always [1] if no document of the corpus has a word.

    Args:
        words: computes the TF-IDF weights of the words of a text.
        components: the right singular vectors, (dimensions, words) float32; (0, 0) if no document has a word.
    """

    def __init__(self, words: TfidfVectorizer, components: NDArray[np.float32]) -> None:
        self.words, self.components = words, components

    @classmethod
    def fit(cls, contents: Iterable[str], documents: int, seed: int) -> tuple[Self, NDArray[np.float32]]:
        """Fit to the contents of `documents` documents; return the encoder and (documents, dimensions) vectors."""
        words = _vectorizer()
        try:
            weights = words.fit_transform(contents)
            dimensions = min(DIMENSIONS, weights.shape[1] - 1, documents)
        except ValueError:  # no document has a word
            dimensions = 0
        if dimensions < 1:
            return cls(words, np.ones((0, 0), dtype=np.float32)), np.ones((documents, 1), dtype=np.float32)
        svd = TruncatedSVD(dimensions, random_state=seed)
        vectors = np.asarray(normalize(svd.fit_transform(weights)), dtype=np.float32)
        return cls(words, np.asarray(svd.components_, dtype=np.float32)), vectors

    def __call__(self, texts: list[str]) -> NDArray[np.float32]:
        """The vectors of the texts, (texts, dimensions)."""
        if not len(self.components):
            return np.ones((len(texts), 1), dtype=np.float32)
        return np.asarray(normalize(self.words.transform(texts) @ self.components.T), dtype=np.float32)

    def save(self, folder: Path) -> None:
        """Write what `load` needs into the stage folder."""
        vocabulary = getattr(self.words, "vocabulary_", {}) if len(self.components) else {}
        ordered = sorted(vocabulary, key=vocabulary.__getitem__)
        (folder / "words.json").write_text(json.dumps(ordered, ensure_ascii=False), encoding="utf-8")
        np.save(folder / "idf.npy", self.words.idf_ if ordered else np.empty(0, dtype=np.float32))
        np.save(folder / "components.npy", self.components)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """The encoder that `save` wrote."""
        ordered = json.loads((folder / "words.json").read_text(encoding="utf-8"))
        words = _vectorizer(ordered or None)
        if ordered:
            words.idf_ = np.load(folder / "idf.npy")
        return cls(words, np.load(folder / "components.npy", mmap_mode="r"))


def _vectorizer(vocabulary: list[str] | None = None) -> TfidfVectorizer:
    words = partial(words_of, pairs=True)
    return TfidfVectorizer(
        max_features=WORDS, sublinear_tf=True, dtype=np.float32, analyzer=words, vocabulary=vocabulary
    )
