"""Exact search: docids certified to be the most probable ones, by widening beams.

A beam search knows the best prefix it dropped. If the k-th result is not below it, the first k are the best of all
docids, for log-probabilities only fall along a docid. Otherwise the query is searched again with a wider beam, now
following only prefixes that are not below its k-th result. This certifies what best-first search would, visits hardly
more prefixes, and decodes them a level at a time, as many as there are, where best-first search goes prefix by prefix.
"""

from __future__ import annotations

import torch
from torch import Tensor

from dsi.model.architecture import DifferentiableSearchIndex
from dsi.search.beam import BeamResult, DeviceTrie, beam_search

WIDER = 4
"""Factor between one beam and the next."""
ROWS = 4_096
"""Hypotheses decoded at once, which bounds the memory."""
ROUNDING = {torch.float32: 1e-4, torch.bfloat16: 0.1}
"""By which scores of the same docid may differ between two searches."""


@torch.inference_mode()
def exact_search(
    model: DifferentiableSearchIndex,
    trie: DeviceTrie,
    input_ids: Tensor,
    attention_mask: Tensor,
    beam: int,
    count: int,
    max_beam: int,
) -> BeamResult:
    """As `beam_search`, but with the first `count` results certified wherever a beam up to `max_beam` can tell."""
    found = beam_search(model, trie, input_ids, attention_mask, beam)
    while beam < max_beam:
        last = found.scores[:, min(count, found.scores.shape[1]) - 1]
        uncertain = (last < found.dropped).nonzero().flatten()
        if not len(uncertain):
            break
        beam = min(WIDER * beam, max_beam)
        for queries in uncertain.split(max(1, ROWS // beam)):
            min_score = last[queries] - ROUNDING[model.dtype]
            wider = beam_search(model, trie, input_ids[queries], attention_mask[queries], beam, min_score)
            _merge(found, wider, queries)
            found.dropped[queries] = torch.maximum(wider.dropped, min_score)
    return found


def _merge(found: BeamResult, wider: BeamResult, queries: Tensor) -> None:
    """Put the results of `wider` for `queries` among those of `found`, of which some are the same."""
    nodes = torch.cat([wider.nodes, found.nodes[queries]], dim=1)
    scores = torch.cat([wider.scores, found.scores[queries]], dim=1)
    by_node = nodes.sort(dim=1, stable=True)
    repeated = torch.zeros_like(nodes, dtype=torch.bool)
    repeated.scatter_(1, by_node.indices[:, 1:], by_node.values[:, 1:] == by_node.values[:, :-1])
    scores, best = scores.masked_fill(repeated, -torch.inf).topk(found.scores.shape[1], dim=1)
    found.nodes[queries] = nodes.gather(1, best)
    found.scores[queries] = scores
