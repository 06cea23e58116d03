"""The soft labels on disk, the stage folder `teacher`: a row for every training query, in the order of training.

doc_index.npy    (queries, documents) uint32: the best documents of each query, best first
scores.npy       (queries, documents) float16, float32 for scores of one's own, whose unit is unknown: their scores
                 less that of the first, so 0 and below; -inf where the teacher knew fewer documents
queries.json     the number of queries of each task, in the order of their rows

A query takes 6 bytes a document, 192 for the default's 32; with float32 8 and 256.
"""

import json
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib.format import open_memmap
from numpy.typing import NDArray

from dsi.artifacts import write_json

DOC_INDEX, SCORES, QUERIES = "doc_index.npy", "scores.npy", "queries.json"


def write_labels(folder: Path, shards: list[Path], tasks: Mapping[str, int]) -> int:
    """Put the shards, .npz files of `doc_index` and `scores`, together; `tasks` has the number of queries of each.

    Returns:
        The bytes of both arrays.
    """
    queries, start = sum(tasks.values()), 0
    with np.load(shards[0]) as first:
        files = {
            name: open_memmap(folder / file, "w+", first[name].dtype, (queries, first[name].shape[1]))
            for name, file in (("doc_index", DOC_INDEX), ("scores", SCORES))
        }
    for path in shards:
        with np.load(path) as shard:
            for name, array in files.items():
                array[start : start + len(shard[name])] = shard[name]
            start += len(shard["scores"])
    for array in files.values():
        array.flush()
    write_json(folder / QUERIES, dict(tasks))
    return sum(array.nbytes for array in files.values())


class SoftLabels:
    """Read access to a stage folder `teacher`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.doc_index: NDArray[np.uint32] = np.load(folder / DOC_INDEX, mmap_mode="r")
        self.scores: NDArray[np.floating[Any]] = np.load(folder / SCORES, mmap_mode="r")

    def __len__(self) -> int:
        return len(self.scores)

    @cached_property
    def tasks(self) -> dict[str, int]:
        """The number of queries of each task, in the order of their rows."""
        tasks: dict[str, int] = json.loads((self.folder / QUERIES).read_text(encoding="utf-8"))
        return tasks
