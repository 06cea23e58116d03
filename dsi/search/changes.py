"""What has happened to the documents of an index since its model was trained: some were added, some deleted.

Documents keep their numbers: added ones come behind all others, deleted ones are masked wherever they would be read.
"""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Changes:
    """The documents added and deleted since a model was trained.

    Raises:
        ValueError: the deleted documents are not row numbers in increasing order.
    """

    rows: Tensor | None = None
    """The output rows of documents added with atomic docids, (added, d_model), whose numbers follow those of the rows
    of the model; None with docids of several tokens, among which those of added documents are."""
    deleted: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, dtype=np.int64))
    """The row numbers of deleted documents, trained ones or added ones, in increasing order: (deleted,)."""

    def __post_init__(self) -> None:
        if len(self.deleted) and (self.deleted[0] < 0 or (np.diff(self.deleted) <= 0).any()):
            raise ValueError("the deleted documents are not row numbers in increasing order")

    def is_deleted(self, doc_index: NDArray[np.integer[Any]]) -> NDArray[np.bool_]:
        """Whether each of these documents is deleted, in the shape of `doc_index`.

        >>> Changes(deleted=np.array([2, 5])).is_deleted(np.array([[5, 0], [2, 7]])).tolist()
        [[True, False], [True, False]]
        """
        if not len(self.deleted):
            return np.zeros(doc_index.shape, dtype=np.bool_)
        places = np.minimum(np.searchsorted(self.deleted, doc_index), len(self.deleted) - 1)
        return np.asarray(self.deleted[places] == doc_index)

    def deleted_within(self, start: int, stop: int) -> NDArray[np.int64]:
        """The deleted documents from number `start` to before `stop`, counted from `start`.

        >>> Changes(deleted=np.array([2, 5, 9])).deleted_within(5, 9).tolist()
        [0]
        """
        first, last = np.searchsorted(self.deleted, [start, stop])
        return self.deleted[first:last] - start


NONE = Changes()
"""Nothing has been added or deleted."""
