"""Training pairs (query, document), tokenised once into flat memory-mapped arrays.

tokens.bin       all queries' text pieces, one after the other; uint16 where the vocabulary allows
lengths.npy      (pairs,) uint16
doc_index.npy    (pairs,) uint32
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from transformers import AutoTokenizer

from dsi.doc2query.shards import read_shards
from dsi.errors import DsiError
from dsi.progress import progress

LAST_WRITTEN = "doc_index.npy"


class Examples:
    """Read access to a folder of tokenised pairs."""

    def __init__(self, folder: Path) -> None:
        self.doc_index: NDArray[np.uint32] = np.load(folder / LAST_WRITTEN, mmap_mode="r")
        self.lengths: NDArray[np.uint16] = np.load(folder / "lengths.npy", mmap_mode="r")
        self.starts = np.concatenate([[0], np.cumsum(self.lengths, dtype=np.int64)])
        width = (folder / "tokens.bin").stat().st_size // int(self.starts[-1])
        self.tokens: NDArray[np.unsignedinteger[Any]] = np.memmap(folder / "tokens.bin", dtype=f"u{width}", mode="r")

    def __len__(self) -> int:
        return len(self.doc_index)

    def padded(self, rows: NDArray[np.int64], pad: int) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """Text pieces of the pairs and their mask, each (rows, longest of them)."""
        lengths = self.lengths[rows].astype(np.int64)
        columns = np.arange(lengths.max())
        mask = columns < lengths[:, None]
        positions = np.where(mask, self.starts[rows][:, None] + columns, 0)
        return np.where(mask, self.tokens[positions], pad).astype(np.int64), mask


def write_examples(folder: Path, doc2query: Path, tokenizer: Path, length: int) -> Examples:
    """Tokenise the synthetic queries, cut to `length` pieces, unless the folder is complete already.

    Raises:
        DsiError: there is no synthetic query at all.
    """
    if not (folder / LAST_WRITTEN).exists():
        folder.mkdir(parents=True, exist_ok=True)
        text = AutoTokenizer.from_pretrained(tokenizer)
        dtype = np.uint16 if len(text) <= 1 << 16 else np.uint32
        lengths, documents = [], []
        with (folder / "tokens.bin").open("wb") as file:
            for doc_index, texts in progress(read_shards(doc2query), "tokenise queries", unit="shards"):
                if texts:
                    pieces = text(texts, truncation=True, max_length=length)["input_ids"]
                    file.write(np.concatenate(pieces).astype(dtype).tobytes())
                    lengths.append(np.fromiter(map(len, pieces), dtype=np.uint16, count=len(pieces)))
                    documents.append(doc_index)
        if not documents:
            raise DsiError(f"{doc2query}: no synthetic query to train on; do the documents have words?")
        np.save(folder / "lengths.npy", np.concatenate(lengths))
        temporary = folder / "temporary.npy"
        np.save(temporary, np.concatenate(documents))
        temporary.replace(folder / LAST_WRITTEN)
    return Examples(folder)
