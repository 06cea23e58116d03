"""Search with atomic docids: one decoder step, then the best rows of the docid head."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from dsi.model.architecture import DifferentiableSearchIndex

ROWS_A_CHUNK = 1 << 16
"""Output rows scored at once, so that memory does not grow with queries x documents."""


@torch.inference_mode()
def top_documents(
    model: DifferentiableSearchIndex, input_ids: Tensor, attention_mask: Tensor, count: int
) -> tuple[Tensor, Tensor]:
    """The `count` most probable documents, best first, or all if there are fewer.

    Returns:
        doc_index and log-probability, each (queries, at most count).
    """
    first = torch.zeros(len(input_ids), 1, dtype=torch.long, device=input_ids.device)
    state = model.decoder_states(model.encode(input_ids, attention_mask), attention_mask, first)[:, 0]
    documents, scores, normaliser = first[:, :0], state.float()[:, :0], None
    for start in range(0, model.config.docid_tokens, ROWS_A_CHUNK):
        logits = functional.linear(state, model.docid_head.weight[start : start + ROWS_A_CHUNK]).float()
        total = logits.logsumexp(dim=1, keepdim=True)
        normaliser = total if normaliser is None else torch.logaddexp(normaliser, total)
        numbers = torch.arange(start, start + logits.shape[1], device=logits.device).expand_as(logits)
        pool = torch.cat([scores, logits], dim=1)
        scores, best = pool.topk(min(count, pool.shape[1]), dim=1)
        documents = torch.cat([documents, numbers], dim=1).gather(1, best)
    assert normaliser is not None  # there is at least one document
    return documents, scores - normaliser
