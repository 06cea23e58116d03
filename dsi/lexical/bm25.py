"""BM25 as tantivy computes it, in numpy, for documents that are not among its own.

A term that f of a document's l terms are adds `weight * f / (f + norm)` to its score. The weight is
ln(1 + (N - n + .5) / (n + .5)) times k1 + 1, n being the number of the N documents that have the term, and the norm is
k1 (1 - b + b l / average length). All is rounded to 32 bits at every step, and lengths above 40 to four binary digits.
"""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

K1, B = np.float32(1.2), np.float32(0.75)
EXACT = 24
"""What is added to a number of four binary digits, so that lengths up to 40 are exact."""


def _lengths() -> NDArray[np.int64]:
    exponent, digits = np.divmod(np.arange(256 - EXACT), 8)
    floats = np.where(exponent == 0, digits, (digits | 8) << np.maximum(exponent - 1, 0))
    return np.concatenate([np.arange(EXACT), EXACT + floats])


LENGTHS = _lengths()
"""The lengths of documents that are told apart, increasing: (256,). Each stands for those up to the next."""


def length_classes(lengths: NDArray[np.integer[Any]]) -> NDArray[np.uint8]:
    """The place in `LENGTHS` of each length, rounded down.

    >>> LENGTHS[length_classes(np.array([0, 40, 41, 301]))].tolist()
    [0, 40, 40, 280]
    """
    return (np.searchsorted(LENGTHS, lengths, side="right") - 1).astype(np.uint8)


def weight(documents: int, having: int) -> np.float32:
    """The weight of a term that so many of the documents have; one that none has weighs most."""
    half = np.float32(0.5)
    odds = (np.float32(documents - having) + half) / (np.float32(having) + half)
    return np.float32(math.log(np.float32(1) + odds)) * (K1 + np.float32(1))


def norms(average_length: float) -> NDArray[np.float32]:
    """The norm of documents of each of the `LENGTHS`, (256,)."""
    return K1 * (np.float32(1) - B + B * LENGTHS.astype(np.float32) / np.float32(average_length))
