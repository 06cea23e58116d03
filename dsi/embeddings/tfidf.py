"""Latent semantic vectors: TF-IDF with truncated SVD. Nothing is downloaded."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.preprocessing import normalize

WORDS = 100_000
DIMENSIONS = 128


class Tfidf:
    """Vectors of unit length, of at most 128 dimensions; a constant where no text of the corpus has a word.

    Args:
        words: weighs the words of a text.
        components: (dimensions, words) float32; without rows for the constant.
    """

    def __init__(self, words: TfidfVectorizer, components: NDArray[np.float32]) -> None:
        self.words, self.components = words, components

    @classmethod
    def fit(cls, contents: Iterable[str], documents: int, seed: int) -> tuple[Tfidf, NDArray[np.float32]]:
        """Learn words and components of so many documents; with the documents' own vectors, (documents, dimensions)."""
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
        """(texts, dimensions)."""
        if not len(self.components):
            return np.ones((len(texts), 1), dtype=np.float32)
        return np.asarray(normalize(self.words.transform(texts) @ self.components.T), dtype=np.float32)

    def save(self, folder: Path) -> None:
        vocabulary = getattr(self.words, "vocabulary_", {}) if len(self.components) else {}
        ordered = sorted(vocabulary, key=vocabulary.__getitem__)
        (folder / "words.json").write_text(json.dumps(ordered, ensure_ascii=False), encoding="utf-8")
        np.save(folder / "idf.npy", self.words.idf_ if ordered else np.empty(0, dtype=np.float32))
        np.save(folder / "components.npy", self.components)

    @classmethod
    def load(cls, folder: Path) -> Tfidf:
        """What `save` wrote."""
        ordered = json.loads((folder / "words.json").read_text(encoding="utf-8"))
        words = _vectorizer(ordered or None)
        if ordered:
            words.idf_ = np.load(folder / "idf.npy")
        return cls(words, np.load(folder / "components.npy", mmap_mode="r"))


def _vectorizer(vocabulary: list[str] | None = None) -> TfidfVectorizer:
    return TfidfVectorizer(
        max_features=WORDS, sublinear_tf=True, dtype=np.float32, token_pattern=r"\w+", vocabulary=vocabulary
    )
