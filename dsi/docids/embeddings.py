"""Document vectors to cluster for semantic docids: TF-IDF with truncated SVD, or a sentence encoder's."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.preprocessing import normalize

from dsi.corpus.store import Corpus
from dsi.errors import DsiError
from dsi.progress import progress

WORDS = 100_000
DIMENSIONS = 128


def tfidf_embeddings(corpus: Corpus, seed: int) -> NDArray[np.float32]:
    """Latent semantic vectors of unit length, shape (documents, at most 128). Nothing is downloaded."""
    vectorizer = TfidfVectorizer(max_features=WORDS, sublinear_tf=True, dtype=np.float32, token_pattern=r"\w+")
    try:
        weights = vectorizer.fit_transform(progress(corpus.contents(), "embed", total=len(corpus)))
        dimensions = min(DIMENSIONS, weights.shape[1] - 1, len(corpus))
    except ValueError:  # no document has a word
        dimensions = 0
    if dimensions < 1:
        return np.ones((len(corpus), 1), dtype=np.float32)
    vectors = TruncatedSVD(dimensions, random_state=seed).fit_transform(weights)
    return np.asarray(normalize(vectors), dtype=np.float32)


def sentence_embeddings(corpus: Corpus, name: str) -> NDArray[np.float32]:
    """Vectors of a sentence-transformers model (the paper: SentenceT5-Base), shape (documents, dimensions).

    Raises:
        DsiError: the package is not installed, or there is no such model.
    """
    try:
        from sentence_transformers import SentenceTransformer
    except ImportError:
        raise DsiError(
            "docids.embeddings=sentence_transformers needs its package: pip install 'dsi[sentence-transformers]'"
        ) from None
    try:
        model = SentenceTransformer(name)
    except (OSError, ValueError) as error:
        raise DsiError(f"docids.embedding_model: cannot load {name!r}: {error}") from None
    return np.concatenate(
        [
            model.encode(
                [document.content() for document in corpus.rows(start, start + 1_000)], show_progress_bar=False
            )
            for start in progress(range(0, len(corpus), 1_000), "embed", unit="thousand docs")
        ]
    ).astype(np.float32)
