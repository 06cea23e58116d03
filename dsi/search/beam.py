"""Beam search over docids, along the trie or without it.

A beam is a node of the trie and a log-probability. Along the trie it only ever goes to a child, so every result is a
document, no docid appears twice, and a query that has fewer docids than beams simply returns fewer. Finished docids
wait in a pool of their own and do not crowd out open ones. No length penalty: scores are log-probabilities, which only
fall as a docid grows; so a result at or above the best prefix that was ever dropped is certified to be among the best.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from dsi.docids.trie import Trie
from dsi.model.architecture import START, DifferentiableSearchIndex
from dsi.model.decoding import StepDecoder
from dsi.model.heads.layout import Expansions

OFF_TRIE = -1
"""Node of an unconstrained hypothesis that is no docid's beginning."""


@dataclass(frozen=True)
class DeviceTrie:
    """The trie's arrays as tensors where the model is."""

    token: Tensor
    first_child: Tensor
    fan_out: list[int]
    """Largest number of children of a node on each level."""

    @classmethod
    def of(cls, trie: Trie, device: torch.device) -> DeviceTrie:
        """On the CPU without a copy, which keeps them memory-mapped."""
        token = trie.token if trie.token.dtype == np.uint8 else trie.token.astype(np.int32)
        first_child = torch.from_numpy(trie.first_child.view(np.int32))
        return cls(torch.from_numpy(token).to(device), first_child.to(device), trie.fan_out)

    def children(self, nodes: Tensor, fan_out: int) -> tuple[Tensor, Tensor]:
        """Children of nodes, shape (..., fan_out), and which of these exist; OFF_TRIE has none."""
        first = self.first_child[nodes].long()
        offsets = torch.arange(fan_out, device=nodes.device)
        exist = offsets < torch.where(nodes == OFF_TRIE, 0, self.first_child[nodes + 1] - first).unsqueeze(-1)
        return torch.where(exist, first.unsqueeze(-1) + offsets, 0), exist

    def is_leaf(self, nodes: Tensor) -> Tensor:
        return self.first_child[nodes] == self.first_child[nodes + 1]


@dataclass(frozen=True)
class BeamResult:
    nodes: Tensor
    """(queries, at most beam) leaves, best first, or OFF_TRIE."""
    scores: Tensor
    """(queries, at most beam) log-probabilities; -inf where a query has fewer results."""
    dropped: Tensor
    """(queries,) log-probability of the best prefix that was dropped; -inf if none was."""


@torch.inference_mode()
def beam_search(
    model: DifferentiableSearchIndex,
    trie: DeviceTrie,
    input_ids: Tensor,
    attention_mask: Tensor,
    beam: int,
    min_score: Tensor | None = None,
) -> BeamResult:
    """The most probable docids that the beam finds.

    Args:
        model: any docid head.
        trie: of the docids.
        input_ids: (queries, tokens) token ids of the text.
        attention_mask: (queries, tokens) 1 for text, 0 for padding.
        beam: open hypotheses kept a step, and finished ones in all.
        min_score: (queries,) log-probability below which nothing is wanted, so that such prefixes need not be followed.
    """

    def along_the_trie(nodes: Tensor, level: int) -> Expansions:
        children, exist = trie.children(nodes, trie.fan_out[level])
        return Expansions(children, trie.token[children].long(), exist, trie.is_leaf(children))

    return _search(model, trie, input_ids, attention_mask, beam, along_the_trie, min_score)


@torch.inference_mode()
def unconstrained_beam_search(
    model: DifferentiableSearchIndex,
    trie: DeviceTrie,
    input_ids: Tensor,
    attention_mask: Tensor,
    beam: int,
    end: int | None,
) -> BeamResult:
    """The same where every token may follow every other (the paper's usual search, section 3.3).

    A hypothesis that has left the trie is complete with the token `end`, or where there is none at the length of the
    longest docid; its node is OFF_TRIE.
    """
    last = len(trie.fan_out) - 1
    tokens = torch.arange(model.config.docid_tokens, device=input_ids.device)

    def anywhere(nodes: Tensor, level: int) -> Expansions:
        children, exist = trie.children(nodes, trie.fan_out[level])
        by_token = nodes.new_full((*nodes.shape, len(tokens) + 1), OFF_TRIE)
        by_token.scatter_(2, torch.where(exist, trie.token[children].long(), len(tokens)), children)
        reached = by_token[:, :, :-1]
        ends = torch.where(reached == OFF_TRIE, (tokens == end) | (level == last), trie.is_leaf(reached))
        return Expansions(reached, tokens.expand_as(reached), torch.ones_like(ends), ends)

    return _search(model, trie, input_ids, attention_mask, beam, anywhere, None)


def _search(
    model: DifferentiableSearchIndex,
    trie: DeviceTrie,
    input_ids: Tensor,
    attention_mask: Tensor,
    beam: int,
    expand: Callable[[Tensor, int], Expansions],
    min_score: Tensor | None,
) -> BeamResult:
    queries, depth = len(input_ids), len(trie.fan_out)
    encoded = model.encode(input_ids, attention_mask)
    decoders = [StepDecoder(stack, encoded, attention_mask, depth) for stack in model.stacks]
    nodes = input_ids.new_zeros(queries, 1)
    scores = torch.zeros(queries, 1, device=input_ids.device)
    min_score = scores.new_full((queries,), -torch.inf) if min_score is None else min_score
    found = BeamResult(nodes[:, :0], scores[:, :0], torch.full_like(min_score, -torch.inf))
    rows, parents = torch.full_like(nodes, START), None
    for level in range(depth):
        inputs = model.docid_embedding(rows).flatten(0, 1)
        states = torch.cat([decoder.step(inputs, None, parents) for decoder in decoders], dim=1)
        expansions = expand(nodes, level)
        log_probs = model.docid_head.log_probs(states.unflatten(0, (queries, -1)), expansions, level)
        new_scores = (scores.unsqueeze(-1) + log_probs).masked_fill(~expansions.exist, -torch.inf).flatten(1)
        new_nodes, ends = expansions.nodes.flatten(1), expansions.end.flatten(1)
        pool_scores = torch.cat([found.scores, new_scores.masked_fill(~ends, -torch.inf)], dim=1)
        best_scores, best = pool_scores.topk(min(beam, pool_scores.shape[1]), dim=1)
        pool_nodes = torch.cat([found.nodes, new_nodes], dim=1)
        found = BeamResult(pool_nodes.gather(1, best), best_scores, found.dropped)
        if level == depth - 1:
            break
        open_scores = new_scores.masked_fill(ends, -torch.inf)
        scores, best = open_scores.topk(min(beam + 1, open_scores.shape[1]), dim=1)
        if scores.shape[1] > beam:
            found = BeamResult(found.nodes, found.scores, torch.maximum(found.dropped, scores[:, beam]))
            scores, best = scores[:, :beam], best[:, :beam]
        if best_scores.shape[1] == beam:  # a prefix below the last result of a full pool cannot better it
            min_score = torch.maximum(min_score, best_scores[:, -1])
        width = int(((scores > -torch.inf) & (scores >= min_score.unsqueeze(1))).sum(dim=1).max())
        if width == 0:
            break
        scores, best = scores[:, :width], best[:, :width]
        nodes, rows = new_nodes.gather(1, best), expansions.tokens.flatten(1).gather(1, best) + START + 1
        number = torch.arange(queries, device=nodes.device).unsqueeze(1)
        parents = (best // expansions.nodes.shape[2] + number * expansions.nodes.shape[1]).flatten()
    return found
