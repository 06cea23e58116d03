"""The teacher `bi_encoder`: a sentence-transformers model, exact search among the vectors of all documents."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dsi.corpus.vectors import Encode, Vectors
from dsi.embeddings.sentence_encoder import document_encoder, sentence_encoder
from dsi.runtime.device import compute_device, fast_bfloat16
from dsi.search.nearest import nearest

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


class BiEncoder:
    """Ranks documents by the inner product of their vector in a .npy file with that of the query."""

    def __init__(self, model: str, vectors: Path) -> None:
        self.model, self.device = sentence_encoder(model, "teacher.model"), compute_device()
        self.vectors: Vectors = np.load(vectors, mmap_mode="r")

    def best(self, texts: Sequence[str], count: int) -> tuple[NDArray[np.uint32], NDArray[np.float32]]:
        """The doc_index and the score of the `count` best documents for each text, each (texts, at most count)."""
        options = {"batch_size": TEXTS_PER_BATCH, "show_progress_bar": False, "convert_to_tensor": True}
        with fast_bfloat16(self.device):
            encoded = self.model.encode_query(list(texts), **options).float().cpu().numpy()
        parts = [
            nearest(encoded[start : start + QUERIES_AT_ONCE], self.vectors, count)
            for start in range(0, len(texts), QUERIES_AT_ONCE)
        ]
        doc_index = np.concatenate([numbers.numpy() for numbers, _ in parts]).astype(np.uint32)
        return doc_index, np.concatenate([scores.numpy() for _, scores in parts])
