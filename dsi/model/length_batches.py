"""Batches of texts of similar length, so that little is computed for padding."""

from collections.abc import Iterator, Sequence, Sized


def length_batches(texts: Sequence[Sized], size: int) -> Iterator[list[int]]:
    """The numbers of the texts, shortest text first, in batches of at most `size`.

    >>> list(length_batches(["bcd", "", "a"], 2))
    [[1, 2], [0]]
    """
    order = sorted(range(len(texts)), key=lambda number: len(texts[number]))
    for start in range(0, len(order), size):
        yield order[start : start + size]
