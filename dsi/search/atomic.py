"""Search with atomic docids: one decoder step, then the best rows of the docid head."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn import functional

from dsi.model.architecture import DifferentiableSearchIndex
from dsi.search.top_k import top_k_of_chunks

ROWS_A_CHUNK = 1 << 16
"""Output rows scored at once."""
CANDIDATES = 4
"""Documents scored again for every one wanted, where logits are rounded."""


@torch.inference_mode()
def top_documents(
    model: DifferentiableSearchIndex, input_ids: Tensor, attention_mask: Tensor, count: int
) -> tuple[Tensor, Tensor]:
    """The `count` most probable documents, best first, or all if there are fewer.

    Returns:
        doc_index and log-probability, each (queries, at most count).
    """
    state = model.first_states(input_ids, attention_mask)
    totals: list[Tensor] = []

    def logits() -> Iterator[Tensor]:
        for rows in model.docid_head.weight.split(ROWS_A_CHUNK):
            chunk = functional.linear(state, rows).float()
            totals.append(chunk.logsumexp(dim=1))
            yield chunk

    if state.dtype == torch.float32:
        documents, scores = top_k_of_chunks(logits(), count)
    else:  # bfloat16 rounds logits of 16 to 32 to eighths: more are taken, and ordered by their float32 logits
        candidates, _ = top_k_of_chunks(logits(), CANDIDATES * count)
        exact = torch.einsum("qd,qnd->qn", state.float(), model.docid_head.weight[candidates].float())
        scores, best = exact.topk(min(count, exact.shape[1]), dim=1)
        documents = candidates.gather(1, best)
    return documents, scores - torch.stack(totals).logsumexp(dim=0).unsqueeze(1)
