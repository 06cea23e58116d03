"""Exact search: docids certified to be the most probable ones, by widening beams.

A beam search knows the best prefix it dropped. If the k-th result is not below it, the first k are the best of all
docids, since log-probabilities, or the totals of a plan, only fall along a docid. Otherwise the query is searched again
with a wider beam, which follows only prefixes that are not below its k-th result. This certifies what best-first search
would, visits hardly more prefixes, and decodes all prefixes of a level at once, where best-first search decodes one
after the other.
"""

import torch
from torch import Tensor

from dsi.model.architecture import DifferentiableSearchIndex
from dsi.search.beam import BeamResult, DeviceTrie, beam_search
from dsi.search.plan import Plan

WIDER = 4
"""The factor from one beam to the next."""
ROWS = 4_096
"""The largest number of hypotheses decoded at once, which bounds the memory."""
ROUNDING = {torch.float32: 1e-4, torch.bfloat16: 0.1}
"""The largest difference of the scores of a docid between two searches."""


@torch.inference_mode()
def exact_search(
    model: DifferentiableSearchIndex,
    trie: DeviceTrie,
    input_ids: Tensor,
    attention_mask: Tensor,
    beam: int,
    count: int,
    max_beam: int,
    plan: Plan | None = None,
) -> BeamResult:
    """The result of `beam_search`, with the first `count` docids certified where a beam up to `max_beam` suffices."""
    result = beam_search(model, trie, input_ids, attention_mask, beam, plan=plan)
    while beam < max_beam:
        last = result.scores[:, min(count, result.scores.shape[1]) - 1]
        uncertified = (last < result.dropped).nonzero().flatten()
        if not len(uncertified):
            break
        beam = min(WIDER * beam, max_beam)
        for queries in uncertified.split(max(1, ROWS // beam)):
            min_score = last[queries] - ROUNDING[model.dtype]
            texts, of_queries = (input_ids[queries], attention_mask[queries]), plan[queries] if plan else None
            wider = beam_search(model, trie, *texts, beam, min_score, of_queries)
            _merge(result, wider, queries)
            result.dropped[queries] = torch.maximum(wider.dropped, min_score)
    return result


def _merge(result: BeamResult, wider: BeamResult, queries: Tensor) -> None:
    """Merge the docids of `wider`, for these `queries`, into `result`, which may hold some of them already."""
    nodes = torch.cat([wider.nodes, result.nodes[queries]], dim=1)
    scores = torch.cat([wider.scores, result.scores[queries]], dim=1)
    by_node = nodes.sort(dim=1, stable=True)
    repeated = torch.zeros_like(nodes, dtype=torch.bool)
    repeated.scatter_(1, by_node.indices[:, 1:], by_node.values[:, 1:] == by_node.values[:, :-1])
    scores, best = scores.masked_fill(repeated, -torch.inf).topk(result.scores.shape[1], dim=1)
    result.nodes[queries], result.scores[queries] = nodes.gather(1, best), scores
    log_probs = torch.cat([wider.log_probs, result.log_probs[queries]], dim=1)
    result.log_probs[queries] = log_probs.gather(1, best)
