"""The best of many columns that are scored a chunk at a time, so that memory does not grow with queries x documents."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor


def top_k_of_chunks(chunks: Iterable[Tensor], count: int) -> tuple[Tensor, Tensor]:
    """The `count` best columns of chunks that stand side by side, each (queries, columns); all if there are fewer.

    Returns:
        Number of the column and its score, best first, each (queries, at most count).
    """
    numbers, scores, start = None, None, 0
    for chunk in chunks:
        columns = torch.arange(start, start + chunk.shape[1], device=chunk.device).expand_as(chunk)
        start += chunk.shape[1]
        if numbers is not None and scores is not None:
            chunk, columns = torch.cat([scores, chunk], dim=1), torch.cat([numbers, columns], dim=1)
        scores, best = chunk.topk(min(count, chunk.shape[1]), dim=1)
        numbers = columns.gather(1, best)
    assert numbers is not None  # there is at least one chunk
    assert scores is not None
    return numbers, scores
