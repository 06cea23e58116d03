"""The teacher `bi_encoder`: a sentence-transformers model, exact search among the vectors of all documents."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.lib.format import open_memmap
from numpy.typing import NDArray

from dsi.corpus.vectors import VECTORS, Encode, Vectors
from dsi.embeddings.sentence_encoder import document_encoder, sentence_encoder
from dsi.runtime.device import compute_device, fast_bfloat16
from dsi.search.nearest import DOCUMENTS_PER_CHUNK, nearest

TEXTS_PER_BATCH = 256
QUERIES_AT_ONCE = 1_024
"""The number of queries whose scores of a chunk of documents are in memory together."""


def encoder_of(model: str) -> Encode:
    """The encoder of the documents that `BiEncoder` searches; DsiError if it cannot be loaded."""
    encode, device = document_encoder(sentence_encoder(model, "teacher.model")), compute_device()

    def fast(texts: list[str]) -> Vectors:
        with fast_bfloat16(device):
            return encode(texts)

    return fast


SCALE = "scale.npy"
"""The file beside vectors of int8 with what one stands for in each column, (width,)."""


def quantise(vectors: Vectors, folder: Path) -> Path:
    """Write vectors (documents, width) as int8 with a scale a column to a folder, for `BiEncoder`; return the file."""
    chunks = [slice(start, start + DOCUMENTS_PER_CHUNK) for start in range(0, len(vectors), DOCUMENTS_PER_CHUNK)]
    largest = np.max([np.abs(vectors[chunk]).max(axis=0) for chunk in chunks], axis=0)
    scale = np.maximum(largest.astype(np.float32), np.finfo(np.float32).tiny) / 127
    quantised = open_memmap(folder / VECTORS, "w+", np.int8, vectors.shape)
    for chunk in chunks:
        quantised[chunk] = np.rint(vectors[chunk] / scale)
    quantised.flush()
    np.save(folder / SCALE, scale)
    return folder / VECTORS


class BiEncoder:
    """Ranks documents by the inner product of their vector in a .npy file with that of the query.

    Vectors of int8 have their scale beside them, with which the query is multiplied.
    """

    def __init__(self, model: str, vectors: Path) -> None:
        self.model, self.device = sentence_encoder(model, "teacher.model"), compute_device()
        self.vectors: Vectors = np.load(vectors, mmap_mode="r")
        self.scale = np.load(vectors.with_name(SCALE)) if self.vectors.dtype == np.int8 else np.float32(1)

    def best(self, texts: Sequence[str], count: int) -> tuple[NDArray[np.uint32], NDArray[np.float32]]:
        """The doc_index and the score of the `count` best documents for each text, each (texts, at most count)."""
        options = {"batch_size": TEXTS_PER_BATCH, "show_progress_bar": False, "convert_to_tensor": True}
        with fast_bfloat16(self.device):
            encoded = self.model.encode_query(list(texts), **options).float().cpu().numpy() * self.scale
        parts = [
            nearest(encoded[start : start + QUERIES_AT_ONCE], self.vectors, count)
            for start in range(0, len(texts), QUERIES_AT_ONCE)
        ]
        doc_index = np.concatenate([numbers.numpy() for numbers, _ in parts]).astype(np.uint32)
        return doc_index, np.concatenate([scores.numpy() for _, scores in parts])
