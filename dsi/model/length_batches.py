"""Batches of texts of similar length, so that little is computed for padding."""

from collections.abc import Iterator, Sequence, Sized

import torch
from torch import Tensor


def length_batches(texts: Sequence[Sized], size: int) -> Iterator[list[int]]:
    """The numbers of the texts, shortest text first, in batches of at most `size`.

    >>> list(length_batches(["bcd", "", "a"], 2))
    [[1, 2], [0]]
    """
    order = sorted(range(len(texts)), key=lambda number: len(texts[number]))
    for start in range(0, len(order), size):
        yield order[start : start + size]


def padded_texts(texts: Sequence[Sequence[int]], pad: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """The token ids of texts, padded with `pad` at their ends, and their mask, 0 on padding: both (texts, longest).

    >>> padded_texts([[5, 6], [7]], 0, torch.device("cpu"))
    (tensor([[5, 6],
            [7, 0]]), tensor([[1, 1],
            [1, 0]]))
    """
    length = max(map(len, texts))
    ids = torch.tensor([[*text, *[pad] * (length - len(text))] for text in texts], device=device)
    lengths = torch.tensor([len(text) for text in texts], device=device)
    return ids, (torch.arange(length, device=device) < lengths[:, None]).long()
