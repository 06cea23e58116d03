"""Training pairs (text, document), tokenised once into flat memory-mapped arrays.

tokens.bin       all texts' pieces, one after the other; uint16 where the vocabulary allows
lengths.bin      (pairs,) uint16
doc_index.bin    (pairs,) uint32
starts.npy       (pairs / 16,) int64: where in tokens.bin every sixteenth text begins
tasks.json       how many pairs of each task there are, in their order

A pair is 6.5 bytes and 2 a piece; reading one needs no more memory than it has pieces.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dsi.artifacts import write_json

LAST_WRITTEN = "tasks.json"
BLOCK = 16
"""Pairs between two known beginnings."""

Pairs = Iterable[tuple[NDArray[np.uint32], list[list[int]]]]
"""Chunks of doc_index and the text pieces that lead to it."""


class Examples:
    """Read access to a folder of tokenised pairs."""

    def __init__(self, folder: Path) -> None:
        self.tasks: dict[str, int] = json.loads((folder / LAST_WRITTEN).read_text(encoding="utf-8"))
        self.doc_index = np.memmap(folder / "doc_index.bin", dtype=np.uint32, mode="r")
        self.lengths = np.memmap(folder / "lengths.bin", dtype=np.uint16, mode="r")
        self.starts: NDArray[np.int64] = np.load(folder / "starts.npy")
        width = (folder / "tokens.bin").stat().st_size // int(self.starts[-1])
        self.tokens: NDArray[np.unsignedinteger[Any]] = np.memmap(folder / "tokens.bin", dtype=f"u{width}", mode="r")

    def __len__(self) -> int:
        return len(self.doc_index)

    def padded(self, rows: NDArray[np.int64], pad: int) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """Text pieces of the pairs and their mask, each (rows, longest of them)."""
        lengths = self.lengths[rows].astype(np.int64)
        columns = np.arange(lengths.max())
        mask = columns < lengths[:, None]
        positions = np.where(mask, self._start(rows)[:, None] + columns, 0)
        return np.where(mask, self.tokens[positions], pad).astype(np.int64), mask

    def _start(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        block, within = np.divmod(rows, BLOCK)
        before = np.arange(BLOCK) < within[:, None]
        lengths = self.lengths[np.where(before, (block * BLOCK)[:, None] + np.arange(BLOCK), 0)]
        return self.starts[block] + np.where(before, lengths, 0).sum(axis=1, dtype=np.int64)


def write_examples(folder: Path, tasks: Mapping[str, Pairs], vocabulary: int) -> Examples:
    """Write the pairs of all tasks, of pieces below `vocabulary`, unless the folder is complete already."""
    if not (folder / LAST_WRITTEN).exists():
        folder.mkdir(parents=True, exist_ok=True)
        dtype = np.uint16 if vocabulary <= 1 << 16 else np.uint32
        counts = dict.fromkeys(tasks, 0)
        with (
            (folder / "tokens.bin").open("wb") as tokens,
            (folder / "lengths.bin").open("wb") as lengths,
            (folder / "doc_index.bin").open("wb") as documents,
        ):
            for task, chunks in tasks.items():
                for doc_index, pieces in chunks:
                    if pieces:
                        tokens.write(np.concatenate(pieces).astype(dtype).tobytes())
                        lengths.write(np.fromiter(map(len, pieces), dtype=np.uint16, count=len(pieces)).tobytes())
                        documents.write(doc_index.astype(np.uint32).tobytes())
                        counts[task] += len(pieces)
        np.save(folder / "starts.npy", _starts(np.memmap(folder / "lengths.bin", dtype=np.uint16, mode="r")))
        temporary = folder / "temporary.json"
        write_json(temporary, counts)
        temporary.replace(folder / LAST_WRITTEN)
    return Examples(folder)


def _starts(lengths: NDArray[np.uint16]) -> NDArray[np.int64]:
    """Where every block begins, and the end of the last one."""
    chunk = BLOCK << 16
    sums = [
        np.add.reduceat(some, np.arange(0, len(some), BLOCK), dtype=np.int64)
        for some in (lengths[start : start + chunk] for start in range(0, len(lengths), chunk))
    ]
    return np.concatenate([[0], np.cumsum(np.concatenate(sums))])
