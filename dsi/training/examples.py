"""The example store: training pairs (text, document), tokenised once into flat memory-mapped arrays.

tokens.bin       the token ids of all texts, one after the other; uint16 where the vocabulary allows, else uint32
lengths.bin      (pairs,) uint16: the number of tokens of each text
doc_index.bin    (pairs,) uint32
starts.npy       (pairs / 16 + 1,) int64: where in tokens.bin every sixteenth text begins, and the end
tasks.json       the number of pairs of each task, in the order of the tasks

A pair takes 6.5 bytes and 2 (or 4) per token; reading it needs no more memory than it has tokens. Processes that share
the tokenising write shards first (see dsi.runtime.shards), which one of them puts together.
"""

import json
import shutil
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import chain, pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dsi.artifacts import is_written, write_json
from dsi.errors import DsiError
from dsi.runtime.processes import ALONE, Rank, wait_until
from dsi.runtime.progress import progress
from dsi.runtime.shards import Shards, published

LAST_WRITTEN = "tasks.json"
ARRAYS = ("tokens", "lengths", "doc_index")
BLOCK = 16
"""The number of pairs from one entry of starts.npy to the next."""

Pairs = tuple[NDArray[np.uint32], list[list[int]]]
"""The doc_index of each pair, and the token ids of its text."""


@dataclass(frozen=True)
class Task:
    """The pairs of one training task, made shard by shard."""

    shards: int
    pairs: Callable[[int], Pairs]
    """A function from the number of a shard to its pairs, which depend on that number alone."""


class Examples:
    """Read access to an example store; `tasks` has the number of pairs of each task."""

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
        """The token ids of the pairs in `rows`, padded with `pad`, and their mask, each (rows, longest text)."""
        lengths = self.lengths[rows].astype(np.int64)
        columns = np.arange(lengths.max())
        mask = columns < lengths[:, None]
        positions = np.where(mask, self._start(rows)[:, None] + columns, 0)
        return np.where(mask, self.tokens[positions], pad).astype(np.int64), mask

    def token_ids(self, rows: range) -> list[list[int]]:
        """The token ids of the texts of the pairs in `rows`, which follow each other."""
        starts = np.cumsum(np.concatenate([self._start(np.array(rows[:1])), self.lengths[rows.start : rows.stop]]))
        tokens = self.tokens[starts[0] : starts[-1]].tolist()
        return [tokens[start:stop] for start, stop in pairwise((starts - starts[0]).tolist())]

    def _start(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Where in `tokens` the text of each row begins."""
        block, within = np.divmod(rows, BLOCK)
        before = np.arange(BLOCK) < within[:, None]
        lengths = self.lengths[np.where(before, (block * BLOCK)[:, None] + np.arange(BLOCK), 0)]
        return self.starts[block] + np.where(before, lengths, 0).sum(axis=1, dtype=np.int64)


def write_examples(folder: Path, tasks: Mapping[str, Task], vocabulary: int, rank: Rank = ALONE) -> Examples:
    """Write the pairs of all tasks, whose token ids are below `vocabulary`, unless the folder is complete already.

    Every process of `rank` must call this; they share the tokenising.

    Raises:
        DsiError: a task has no pairs.
    """
    if not is_written(folder / LAST_WRITTEN):
        token_type = np.uint16 if vocabulary <= 1 << 16 else np.uint32
        shards = {name: Shards(folder / "shards" / name, task.shards, 1, ".npz", rank) for name, task in tasks.items()}
        for name, task in tasks.items():
            for shard in progress(shards[name].unfinished(), f"tokenise {name}", unit="shards"):
                doc_index, token_ids = task.pairs(shard)
                with published(shards[name].path(shard)) as temporary, temporary.open("wb") as file:
                    tokens = np.fromiter(chain.from_iterable(token_ids), dtype=token_type)
                    lengths = np.fromiter(map(len, token_ids), dtype=np.uint16, count=len(token_ids))
                    np.savez(file, tokens=tokens, lengths=lengths, doc_index=doc_index.astype(np.uint32))
        if rank.process == 0:
            _join(folder, {name: written.wait() for name, written in shards.items()})
        wait_until(lambda: is_written(folder / LAST_WRITTEN))
    return Examples(folder)


def _join(folder: Path, shards: Mapping[str, list[Path]]) -> None:
    """Write the arrays of the store from the shards of all tasks, one after the other, and remove the shards."""
    counts = dict.fromkeys(shards, 0)
    with ExitStack() as files:
        written = {name: files.enter_context((folder / f"{name}.bin").open("wb")) for name in ARRAYS}
        for task, paths in shards.items():
            for path in paths:
                with np.load(path) as shard:
                    for name in ARRAYS:
                        written[name].write(shard[name].tobytes())
                    counts[task] += len(shard["lengths"])
            if not counts[task]:
                raise DsiError(f"training.tasks.{task}: there is nothing to train on; do the documents have words?")
    np.save(folder / "starts.npy", _starts(np.memmap(folder / "lengths.bin", dtype=np.uint16, mode="r")))
    write_json(folder / LAST_WRITTEN, counts)
    shutil.rmtree(folder / "shards")


def _starts(lengths: NDArray[np.uint16]) -> NDArray[np.int64]:
    """Where every block begins, and the end of the last one."""
    size = BLOCK << 16
    chunks = (lengths[start : start + size] for start in range(0, len(lengths), size))
    sums = [np.add.reduceat(chunk, np.arange(0, len(chunk), BLOCK), dtype=np.int64) for chunk in chunks]
    return np.concatenate([[0], np.cumsum(np.concatenate(sums))])
