"""The top k of scores that are computed one chunk of columns at a time, so that they need not fit in memory."""

from collections.abc import Iterable

import torch
from torch import Tensor


def top_k_of_chunks(chunks: Iterable[Tensor], count: int) -> tuple[Tensor, Tensor]:
    """The numbers and the scores of the `count` best columns, best first, each (queries, at most count).

    `chunks`, each (queries, columns), stand side by side.

    >>> numbers, scores = top_k_of_chunks([torch.tensor([[0.1, 0.5]]), torch.tensor([[0.7]])], count=2)
    >>> numbers.tolist()
    [[2, 1]]
    """
    numbers, scores, start = torch.empty(0), torch.empty(0), 0
    for chunk in chunks:
        stop = start + chunk.shape[1]
        columns = torch.arange(start, stop, device=chunk.device).expand_as(chunk)
        if start:
            chunk, columns = torch.cat([scores, chunk], dim=1), torch.cat([numbers, columns], dim=1)
        scores, best = chunk.topk(min(count, chunk.shape[1]), dim=1)
        numbers, start = columns.gather(1, best), stop
    return numbers, scores
