"""Priors: what the words of a query say of whole documents, and how that is mixed with what the index says.

A prior is a score of at least 0 for a few documents of a query, the best of BM25; every other document has 0. The total
of a document with the probability P and the prior s is log(P + epsilon) + weight * s. Epsilon keeps an index that is
too sure of itself from outvoting any prior: one-hot labels leave P = 0 in effect for all documents but a few.
"""

import math
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional


@dataclass(frozen=True)
class Mixture:
    """How the probability of a document and its prior make its total.

    Raises:
        ValueError: the weight or the epsilon is negative or not finite.
    """

    weight: float = 0.0
    epsilon: float = 0.0

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if not 0 <= value < math.inf:
                raise ValueError(f"the {name} of a mixture is {value}, not a number >= 0")

    @property
    def floor(self) -> float:
        """log(epsilon), above which `gains` are counted; 0 without an epsilon."""
        return math.log(self.epsilon) if self.epsilon else 0.0

    def formula(self, prior: str) -> str:
        """The total in words.

        >>> Mixture(0.5, 0.01).formula("bm25"), Mixture(4.0).formula("bm25")
        ('log(P + 0.01) + 0.5 * bm25', 'log P + 4 * bm25')
        """
        of_index = f"log(P + {self.epsilon:g})" if self.epsilon else "log P"
        return f"{of_index} + {self.weight:g} * {prior}"

    def total(self, log_prob: float, prior: float) -> float:
        """The total of one document.

        >>> round(Mixture(0.5, 0.01).total(log_prob=math.log(0.09), prior=4.0), 4) == round(math.log(0.1) + 2, 4)
        True
        """
        gain = self.gains(torch.tensor(log_prob, dtype=torch.float64), torch.tensor(prior, dtype=torch.float64))
        return float(gain) + self.floor

    def gains(self, log_probs: Tensor, priors: Tensor) -> Tensor:
        """The totals less `floor`, in float64, of tensors of the same shape.

        So many probabilities far below epsilon still differ: log(P + epsilon) itself would be the same for all of them.
        """
        of_index = log_probs.double()
        if self.epsilon:
            of_index = functional.softplus(of_index - self.floor, threshold=40)  # beyond, 1 + exp(-x) is 1
        return of_index + self.weight * priors


PLAIN = Mixture()
"""The mixture that ranks by probability alone."""


@dataclass(frozen=True)
class Prior:
    """The documents of one query that have a score, and these scores.

    Raises:
        ValueError: a row number is negative or repeated, or a score is negative or not finite; it is named.
    """

    doc_index: NDArray[np.int64]
    """The row numbers, (documents,), in increasing order."""
    score: NDArray[np.float32]
    """The scores, (documents,)."""

    def __post_init__(self) -> None:
        if len(self.doc_index) != len(self.score):
            raise ValueError(f"a prior of {len(self.doc_index)} documents has {len(self.score)} scores")
        if not (valid := np.isfinite(self.score) & (self.score >= 0)).all():
            place = int(np.argmin(valid))
            raise ValueError(f"the prior of document {self.doc_index[place]} is {self.score[place]}, not a number >= 0")
        if len(self.doc_index) and (self.doc_index[0] < 0 or (np.diff(self.doc_index) <= 0).any()):
            raise ValueError("the documents of a prior are not row numbers in increasing order")

    @classmethod
    def of(cls, scores: dict[int, float]) -> Self:
        """The prior with these scores by doc_index.

        >>> Prior.of({7: 1.5, 2: 3.0}).doc_index.tolist()
        [2, 7]
        """
        documents = sorted(scores)
        return cls(np.array(documents, dtype=np.int64), np.array([scores[d] for d in documents], dtype=np.float32))

    def of_documents(self, doc_index: NDArray[np.integer[Any]]) -> NDArray[np.float32]:
        """The score of each of these documents, 0 where it has none."""
        if not len(self.doc_index):
            return np.zeros(len(doc_index), dtype=np.float32)
        place = np.minimum(np.searchsorted(self.doc_index, doc_index), len(self.doc_index) - 1)
        return np.where(self.doc_index[place] == doc_index, self.score[place], np.float32(0))

    def without(self, is_left_out: NDArray[np.bool_]) -> Self:
        """The prior of the other documents."""
        return type(self)(self.doc_index[~is_left_out], self.score[~is_left_out])

    def best(self, count: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """The `count` documents with the largest scores and these scores, best first, ties in corpus order."""
        order = np.lexsort((self.doc_index, -self.score))[:count]
        return self.doc_index[order], self.score[order]
