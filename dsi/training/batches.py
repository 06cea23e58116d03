"""Batches as a function of (seed, number): any process can make any batch, in any order, also after a restart.

The stream of examples is one random permutation of the corpus after another. Windows of the stream are sorted by
query length before they are cut into batches, so that a batch needs little padding; the batches of a window are then
shuffled again.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from dsi.docids.store import Docids
from dsi.training.examples import Examples

WINDOW = 64
"""Batches sorted by length together."""


class Batches(Dataset[dict[str, Tensor]]):
    """Micro-batches of one process, ready for the model.

    Args:
        docids: of all documents.
        batch_size: examples an optimiser step, over all processes and micro-batches; a multiple of their number.
        first_step: optimiser steps already done, which item 0 follows.
        steps: optimiser steps in all.
        with_nodes: whether to give trie nodes beside the codes, as the tree head needs.
    """

    def __init__(
        self,
        examples: Examples,
        docids: Docids,
        batch_size: int,
        pad: int,
        seed: int,
        steps: int,
        first_step: int = 0,
        accumulation: int = 1,
        process: int = 0,
        processes: int = 1,
        with_nodes: bool = False,
    ) -> None:
        self.examples, self.batch_size, self.pad, self.seed = examples, batch_size, pad, seed
        self.codes = np.asarray(docids.codes)
        self.trie = docids.trie if with_nodes else None
        self.paths = self.trie.paths(self.codes) if self.trie is not None else None
        self.steps, self.first_step = steps, first_step
        self.accumulation, self.process, self.processes = accumulation, process, processes
        self.window = lru_cache(maxsize=1)(self._window)
        self.permutation = lru_cache(maxsize=2)(self._permutation)

    def __len__(self) -> int:
        return (self.steps - self.first_step) * self.accumulation

    def __getitem__(self, item: int) -> dict[str, Tensor]:
        step, micro_batch = divmod(item, self.accumulation)
        if item >= len(self):
            raise IndexError(item)
        rows = self.batch(self.first_step + step)[
            micro_batch * self.processes + self.process :: self.accumulation * self.processes
        ]
        ids, mask = self.examples.padded(rows, self.pad)
        codes = self.codes[self.examples.doc_index[rows]].astype(np.int64)
        used = int((codes >= 0).any(axis=0).sum())
        batch = {"input_ids": ids, "attention_mask": mask.astype(np.int64), "codes": codes[:, :used]}
        if self.trie is not None and self.paths is not None:
            nodes = self.paths[self.examples.doc_index[rows], :used].astype(np.int64)
            parents = np.where(nodes < 0, -1, np.pad(nodes, ((0, 0), (1, 0)))[:, :-1])
            first = np.where(nodes < 0, 0, self.trie.first_child[parents].astype(np.int64))
            siblings = np.where(nodes < 0, 0, self.trie.first_child[parents + 1].astype(np.int64) - first)
            batch |= {"nodes": nodes, "first_sibling": first, "siblings": siblings}
        return {name: torch.from_numpy(array) for name, array in batch.items()}

    def batch(self, step: int) -> NDArray[np.int64]:
        """Rows of the examples of optimiser step `step`, shape (batch_size,)."""
        window, number = divmod(step, WINDOW)
        rows: NDArray[np.int64] = self.window(window)[number]
        return rows

    def _window(self, window: int) -> NDArray[np.int64]:
        positions = np.arange(window * WINDOW * self.batch_size, (window + 1) * WINDOW * self.batch_size)
        epochs, within = np.divmod(positions, len(self.examples))
        rows = np.empty_like(positions)
        for epoch in np.unique(epochs):
            rows[epochs == epoch] = self.permutation(int(epoch))[within[epochs == epoch]]
        by_length = rows[np.argsort(self.examples.lengths[rows], kind="stable")].reshape(WINDOW, self.batch_size)
        return np.random.default_rng([self.seed, 1, window]).permutation(by_length, axis=0)

    def _permutation(self, epoch: int) -> NDArray[np.int64]:
        return np.random.default_rng([self.seed, 0, epoch]).permutation(len(self.examples))
