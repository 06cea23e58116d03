"""Training batches as a function of the seed and the step: any process makes any batch, also after a restart.

Every task has an endless stream: one random permutation of its examples after another. A window of batches takes from
each stream as many examples as its weight says, and is sorted by text length before it is cut into batches, so that a
batch needs little padding; the batches of a window are then shuffled again. Permutations are computed, not stored.
"""

from collections.abc import Mapping, Sequence
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from dsi.training.examples import Examples
from dsi.training.targets import MakeTargets

WINDOW = 64
"""The number of batches whose examples are sorted by length together."""
ROUNDS = 4
"""The number of rounds of the Feistel network that permutes the examples of a task."""


class Batches(Dataset[dict[str, Tensor]]):
    """The micro-batches of one process, as dictionaries of tensors; `rows` are the row numbers of the examples.

    Args:
        targets: what the model is to predict for each example.
        batch_size: examples per optimiser step, over all processes and micro-batches; a multiple of their number.
        pad: the token id that pads texts.
        steps: optimiser steps in all.
        weights: the share of each task in the examples, up to a common factor; a task without one is left out.
        first_step: optimiser steps already done, which item 0 follows.
        accumulation: micro-batches per optimiser step and process.
    """

    def __init__(
        self,
        examples: Examples,
        targets: MakeTargets,
        batch_size: int,
        pad: int,
        seed: int,
        steps: int,
        weights: Mapping[str, float],
        first_step: int = 0,
        accumulation: int = 1,
        process: int = 0,
        processes: int = 1,
    ) -> None:
        self.examples, self.targets, self.batch_size, self.pad, self.seed = examples, targets, batch_size, pad, seed
        self.steps, self.first_step = steps, first_step
        self.accumulation, self.process, self.processes = accumulation, process, processes
        self.quotas = quotas([weights.get(task, 0.0) for task in examples.tasks], WINDOW * batch_size)
        self.window = lru_cache(maxsize=1)(self._window)
        self.served = (0, 0)  # text tokens and docid tokens so far

    def __len__(self) -> int:
        return (self.steps - self.first_step) * self.accumulation

    def __getitem__(self, item: int) -> dict[str, Tensor]:
        step, micro_batch = divmod(item, self.accumulation)
        if item >= len(self):
            raise IndexError(item)
        own = slice(micro_batch * self.processes + self.process, None, self.accumulation * self.processes)
        rows = self.batch(self.first_step + step)[own]
        draws = np.random.default_rng([self.seed, 2, self.first_step + step]).random(self.batch_size)[own]
        ids, mask = self.examples.padded(rows, self.pad)
        batch = {"rows": rows, "input_ids": ids, "attention_mask": mask.astype(np.int64)}
        batch |= self.targets(rows, np.asarray(self.examples.doc_index[rows]), draws)
        docid_tokens = int((batch["codes"] >= 0).sum()) if "codes" in batch else 0
        self.served = (self.served[0] + int(mask.sum()), self.served[1] + docid_tokens)
        return {name: torch.from_numpy(array) for name, array in batch.items()}

    def batch(self, step: int) -> NDArray[np.int64]:
        """The row numbers of the examples of optimiser step `step`, over all processes, shape (batch_size,)."""
        window, number = divmod(step, WINDOW)
        rows: NDArray[np.int64] = self.window(window)[number]
        return rows

    def _window(self, window: int) -> NDArray[np.int64]:
        """The row numbers of the examples of a window, shape (WINDOW, batch_size)."""
        first, parts = 0, [np.empty(0, dtype=np.int64)]
        for task, (size, quota) in enumerate(zip(self.examples.tasks.values(), self.quotas, strict=True)):
            epochs, within = np.divmod(np.arange(window * quota, (window + 1) * quota), size)
            for epoch in np.unique(epochs):
                key = np.random.default_rng([self.seed, 0, task, int(epoch)]).integers(1 << 32, size=ROUNDS)
                parts.append(first + permuted(within[epochs == epoch], size, key))
            first += size
        rows = np.concatenate(parts)
        by_length = rows[np.argsort(self.examples.lengths[rows], kind="stable")].reshape(WINDOW, self.batch_size)
        return np.random.default_rng([self.seed, 1, window]).permutation(by_length, axis=0)


def quotas(weights: Sequence[float], examples: int) -> list[int]:
    """How many of a number of examples each task provides; at least one where its weight is above 0.

    >>> quotas([1.0, 2.0, 0.0, 1e-9], 8)
    [3, 4, 0, 1]
    """
    shares = np.cumsum(weights) / np.sum(weights)
    counts = np.diff(np.round(shares * examples).astype(np.int64), prepend=0)
    for task, weight in enumerate(weights):
        if weight > 0 and counts[task] == 0:
            counts[counts.argmax()] -= 1
            counts[task] = 1
    return counts.tolist()


def permuted(positions: NDArray[np.int64], size: int, key: NDArray[np.int64]) -> NDArray[np.int64]:
    """The images of these positions under a random permutation of `size` elements, which `key` chooses.

    A Feistel network permutes as many elements as the next power of four; an image outside `size` is permuted again
    until it is inside. No permutation is held in memory.

    >>> permuted(np.arange(6), 6, np.array([11, 23, 35, 47])).tolist()
    [1, 5, 0, 4, 3, 2]
    """
    half = max(1, ((size - 1).bit_length() + 1) // 2)
    mask = np.uint64((1 << half) - 1)
    result = positions.astype(np.uint64)
    outside = np.ones(len(result), dtype=bool)
    while outside.any():
        left, right = result[outside] >> np.uint64(half), result[outside] & mask
        for number in key.astype(np.uint64):
            mixed = (right + number) * np.uint64(0x9E3779B97F4A7C15)
            mixed = (mixed ^ (mixed >> np.uint64(29))) * np.uint64(0xBF58476D1CE4E5B9)
            left, right = right, left ^ ((mixed >> np.uint64(32)) & mask)
        result[outside] = (left << np.uint64(half)) | right
        outside[outside] = result[outside] >= size
    return result.astype(np.int64)
