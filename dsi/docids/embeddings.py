"""Document vectors to cluster into semantic docids: TF-IDF with truncated SVD, the untrained model's document states, a
sentence encoder's, or a file of one's own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib.format import open_memmap
from numpy.typing import NDArray
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.preprocessing import normalize

from dsi.artifacts import WORK
from dsi.config import BodyConfig, DocidsConfig
from dsi.corpus.store import Corpus
from dsi.errors import DsiError, first_line
from dsi.progress import progress

WORDS = 100_000
DIMENSIONS = 128
CHUNK = 1_000
"""Documents encoded between two writes."""

Embeddings = NDArray[np.floating[Any]]


def embed(
    out: Path, config: DocidsConfig, corpus: Corpus, tokenizer: Path, body: BodyConfig | None = None
) -> Embeddings:
    """Vectors of all documents, shape (documents, dimensions), float32 or float16, in memory or memory-mapped.

    Raises:
        DsiError: the sentence encoder or the file cannot be used.
    """
    if config.embeddings == "tfidf":
        return tfidf_embeddings(corpus, config.seed)
    if config.embeddings == "sentence_transformers":
        return encode_corpus(
            out, "embeddings", sentence_encoder(config.embedding_model, "docids.embedding_model"), corpus
        )
    if config.embeddings == "file":
        return file_embeddings(config.embedding_file, len(corpus))
    from dsi.model.build import build_body
    from dsi.model.document_states import document_states

    assert body is not None  # the pipeline passes the section whenever embeddings are document states
    return document_states(build_body(body, tokenizer, config.seed), tokenizer, corpus, body.document_length).numpy()


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


def sentence_encoder(name: str, key: str) -> Any:
    """The sentence-transformers model with this name or in this folder; `key` names it in the configuration.

    Raises:
        DsiError: the package is not installed, or there is no such model.
    """
    try:
        from sentence_transformers import SentenceTransformer
    except ImportError:
        raise DsiError(f"{key} needs sentence-transformers: pip install 'dsi[sentence-transformers]'") from None
    try:
        return SentenceTransformer(name)
    except (OSError, ValueError) as error:
        raise DsiError(f"{key}: cannot load {name!r}: {first_line(error)}") from None


def encode_corpus(out: Path, name: str, model: Any, corpus: Corpus) -> Embeddings:
    """Vectors of all documents, float16, memory-mapped from a file of this name among the stage's working files.

    Interrupted, it goes on where it was; started again, it is there already.
    """
    (out / WORK).mkdir(exist_ok=True)
    path, counter = out / WORK / f"{name}.npy", out / WORK / f"{name}.done"
    if counter.exists():
        done, vectors = int(counter.read_text()), open_memmap(path, mode="r+")
    else:
        width = len(model.encode([""], show_progress_bar=False)[0])
        done, vectors = 0, open_memmap(path, mode="w+", dtype=np.float16, shape=(len(corpus), width))
    for start in progress(range(done, len(corpus), CHUNK), "embed", unit=f"x {CHUNK} docs"):
        contents = [document.content() for document in corpus.rows(start, start + CHUNK)]
        vectors[start : start + CHUNK] = model.encode(contents, show_progress_bar=False)
        vectors.flush()
        counter.write_text(str(start + CHUNK))
    return vectors


def file_embeddings(path: str | None, documents: int) -> Embeddings:
    """The array in a .npy file, memory-mapped.

    Raises:
        DsiError: it is not one row of numbers a document.
    """
    assert path is not None  # the configuration asks for it
    try:
        vectors: Embeddings = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError) as error:
        raise DsiError(f"docids.embedding_file: cannot read {path}: {error}") from None
    if vectors.ndim != 2 or len(vectors) != documents or not np.issubdtype(vectors.dtype, np.floating):
        raise DsiError(
            f"docids.embedding_file: {path} holds {vectors.dtype} of shape {vectors.shape}; needed is a row of float16"
            f" or float32 for each of the {documents:,} documents, in corpus order"
        )
    return vectors
