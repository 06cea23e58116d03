"""Training pairs (text, document), tokenised once into flat memory-mapped arrays.

tokens.bin       all texts' tokens, one after the other; uint16 where the vocabulary allows
lengths.bin      (pairs,) uint16
doc_index.bin    (pairs,) uint32
starts.npy       (pairs / 16,) int64: where in tokens.bin every sixteenth text begins
tasks.json       how many pairs of each task there are, in their order

A pair is 6.5 bytes and 2 a token; reading one needs no more memory than it has tokens. Processes that share the
tokenising write shards first (see dsi.runtime.shards), which one of them puts together.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dsi.artifacts import write_json
from dsi.errors import DsiError
from dsi.runtime.processes import ALONE, Rank, wait_until
from dsi.runtime.progress import progress
from dsi.runtime.shards import Shards, published

LAST_WRITTEN = "tasks.json"
BLOCK = 16
"""Pairs between two known beginnings."""

Pairs = tuple[NDArray[np.uint32], list[list[int]]]
"""doc_index of each pair, and the text tokens that lead to it."""


Types = Mapping[str, type[np.unsignedinteger[Any]]]
"""Of the numbers in each of the store's arrays."""


@dataclass(frozen=True)
class Task:
    """The pairs of one training task, a shard at a time."""

    shards: int
    pairs: Callable[[int], Pairs]
    """Those of a shard, which depend on its number alone."""


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
        """Token ids of the pairs and their mask, each (rows, longest of them)."""
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


def write_examples(folder: Path, tasks: Mapping[str, Task], vocabulary: int, rank: Rank = ALONE) -> Examples:
    """Write the pairs of all tasks, of tokens below `vocabulary`, unless the folder is complete already.

    Every process of `rank` must call this; they share the tokenising.

    Raises:
        DsiError: there is no pair for a task.
    """
    if not (folder / LAST_WRITTEN).exists():
        types = {
            "tokens": np.uint16 if vocabulary <= 1 << 16 else np.uint32,
            "lengths": np.uint16,
            "doc_index": np.uint32,
        }
        written = {
            name: _write_shards(folder / "shards" / name, name, task, types, rank) for name, task in tasks.items()
        }
        if rank.process == 0:
            _join(folder, {name: shards.wait() for name, shards in written.items()}, types)
        wait_until((folder / LAST_WRITTEN).exists)
    return Examples(folder)


def _write_shards(folder: Path, name: str, task: Task, types: Types, rank: Rank) -> Shards:
    shards = Shards(folder, task.shards, 1, ".npz", rank)
    for shard in progress(shards.unfinished(), f"tokenise {name}", unit="shards"):
        doc_index, token_ids = task.pairs(shard)
        with published(shards.path(shard)) as temporary, temporary.open("wb") as file:
            np.savez(
                file,
                tokens=np.fromiter(chain.from_iterable(token_ids), dtype=types["tokens"]),
                lengths=np.fromiter(map(len, token_ids), dtype=types["lengths"], count=len(token_ids)),
                doc_index=doc_index.astype(types["doc_index"]),
            )
    return shards


def _join(folder: Path, shards: Mapping[str, list[Path]], types: Types) -> None:
    """Put the shards of all tasks into the files of the store, one after the other, and remove them."""
    counts = dict.fromkeys(shards, 0)
    with ExitStack() as files:
        written = {name: files.enter_context((folder / f"{name}.bin").open("wb")) for name in types}
        for task, paths in shards.items():
            for path in paths:
                with np.load(path) as shard:
                    for name in types:
                        written[name].write(shard[name].tobytes())
                    counts[task] += len(shard["lengths"])
            if not counts[task]:
                raise DsiError(f"training.tasks.{task}: there is nothing to train on; do the documents have words?")
    np.save(folder / "starts.npy", _starts(np.memmap(folder / "lengths.bin", dtype=np.uint16, mode="r")))
    write_json(folder / LAST_WRITTEN, counts)
    shutil.rmtree(folder / "shards")


def _starts(lengths: NDArray[np.uint16]) -> NDArray[np.int64]:
    """Where every block begins, and the end of the last one."""
    chunk = BLOCK << 16
    sums = [
        np.add.reduceat(some, np.arange(0, len(some), BLOCK), dtype=np.int64)
        for some in (lengths[start : start + chunk] for start in range(0, len(lengths), chunk))
    ]
    return np.concatenate([[0], np.cumsum(np.concatenate(sums))])
