"""Constrained beam search over the docid trie.

A beam is a node of the trie and a log-probability; it only ever moves to a child, so every result is a document, no
docid appears twice, and a query that has fewer docids than beams simply returns fewer. Finished docids wait in a pool
of their own and do not crowd out open ones. No length penalty: scores are log-probabilities.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from dsi.docids.trie import Trie
from dsi.model.architecture import START, DifferentiableSearchIndex
from dsi.model.decoding import StepDecoder


@dataclass(frozen=True)
class DeviceTrie:
    """The trie's arrays as tensors where the model is."""

    token: Tensor
    first_child: Tensor
    fan_out: list[int]
    """Largest number of children of a node on each level."""

    @classmethod
    def of(cls, trie: Trie, device: torch.device) -> DeviceTrie:
        first_child = torch.from_numpy(trie.first_child.astype("int64"))
        children = first_child.diff()
        levels = zip(trie.level_start[:-2].tolist(), trie.level_start[1:-1].tolist(), strict=True)
        return cls(
            torch.from_numpy(trie.token.astype("int64")).to(device),
            first_child.to(device),
            [int(children[start:stop].max()) for start, stop in levels],
        )


@torch.inference_mode()
def beam_search(
    model: DifferentiableSearchIndex, trie: DeviceTrie, input_ids: Tensor, attention_mask: Tensor, beam: int
) -> tuple[Tensor, Tensor]:
    """The most probable leaves that the beam finds, best first.

    `input_ids` are text pieces, shape (queries, tokens), and `attention_mask` is 0 on padding; `beam` open hypotheses
    are kept a step, and as many finished ones in all.

    Returns:
        Leaf nodes and log-probabilities, each (queries, at most beam); where a query has fewer, the log-probability
        is -inf.
    """
    depth = len(trie.fan_out)
    decoder = StepDecoder(model.decoder, model.encode(input_ids, attention_mask), attention_mask, depth)
    queries, device = len(input_ids), input_ids.device
    nodes = torch.zeros(queries, 1, dtype=torch.long, device=device)
    scores = torch.zeros(queries, 1, device=device)
    found_nodes, found_scores = nodes[:, :0], scores[:, :0]
    rows, parents = torch.full_like(nodes, START), None
    for fan_out in trie.fan_out:
        state = decoder.step(model.docid_embedding(rows).flatten(0, 1), None, parents).unflatten(0, (queries, -1))
        log_probabilities = model.docid_head(state).float().log_softmax(dim=-1)
        first = trie.first_child[nodes]
        offsets = torch.arange(fan_out, device=device)
        is_child = offsets < (trie.first_child[nodes + 1] - first).unsqueeze(-1)
        children = torch.where(is_child, first.unsqueeze(-1) + offsets, 0)  # (queries, beams, fan_out)
        child_scores = scores.unsqueeze(-1) + log_probabilities.gather(2, trie.token[children])
        child_scores = child_scores.masked_fill(~is_child, -torch.inf)
        children, child_scores = children.flatten(1), child_scores.flatten(1)

        is_leaf = trie.first_child[children] == trie.first_child[children + 1]
        pool_nodes = torch.cat([found_nodes, children], dim=1)
        pool_scores = torch.cat([found_scores, child_scores.masked_fill(~is_leaf, -torch.inf)], dim=1)
        found_scores, best = pool_scores.topk(min(beam, pool_scores.shape[1]), dim=1)
        found_nodes = pool_nodes.gather(1, best)

        scores, best = child_scores.masked_fill(is_leaf, -torch.inf).topk(min(beam, children.shape[1]), dim=1)
        nodes = children.gather(1, best)
        parents = (best // fan_out + torch.arange(queries, device=device)[:, None] * state.shape[1]).flatten()
        rows = trie.token[nodes] + START + 1
    return found_nodes, found_scores
