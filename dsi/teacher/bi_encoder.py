"""The teacher `bi_encoder`: a sentence-transformers model, exact search among the vectors of all documents."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dsi.corpus.vectors import Vectors
from dsi.embeddings.sentence_encoder import faster, sentence_encoder
from dsi.search.nearest import nearest

TEXTS_PER_BATCH = 256
QUERIES_AT_ONCE = 1_024
"""The number of queries whose scores of a chunk of documents are in memory together."""


class BiEncoder:
    """Ranks documents by the inner product of their vector in a .npy file with that of the query."""

    def __init__(self, model: str, vectors: Path) -> None:
        self.model = faster(sentence_encoder(model, "teacher.model"))
        self.vectors: Vectors = np.load(vectors, mmap_mode="r")

    def best(self, texts: Sequence[str], count: int) -> tuple[NDArray[np.uint32], NDArray[np.float32]]:
        """The doc_index and the score of the `count` best documents for each text, each (texts, at most count)."""
        options = {"batch_size": TEXTS_PER_BATCH, "show_progress_bar": False, "convert_to_tensor": True}
        encoded = self.model.encode_query(list(texts), **options).float().cpu().numpy()
        parts = [
            nearest(encoded[start : start + QUERIES_AT_ONCE], self.vectors, count)
            for start in range(0, len(texts), QUERIES_AT_ONCE)
        ]
        doc_index = np.concatenate([numbers.numpy() for numbers, _ in parts]).astype(np.uint32)
        return doc_index, np.concatenate([scores.numpy() for _, scores in parts])
