"""Beam search over docids, along the trie or without it.

A hypothesis is a node of the trie and a log-probability. Along the trie it only goes on to a child, so every result is
a docid that exists, none appears twice, and a query with fewer docids than beams returns fewer. Finished docids are
kept apart and do not crowd out open ones. There is no length penalty: scores are log-probabilities, which only fall as
a docid grows, so a result that is not below the best prefix ever dropped is certified to be among the best.

With a plan (see dsi.search.plan) the score of a hypothesis is the largest total of a document below it, which also only
falls.
"""

from collections.abc import Callable
from copy import copy
from dataclasses import dataclass
from typing import NamedTuple, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dsi.docids.trie import Trie
from dsi.model.architecture import START, DifferentiableSearchIndex
from dsi.model.decoding import StepDecoder
from dsi.model.heads.layout import Expansions
from dsi.search.plan import Plan

OFF_TRIE = -1
"""The node of an unconstrained hypothesis that is no docid's beginning."""


class DeviceTrie:
    """The docid trie as tensors where the model is, on the CPU still memory-mapped; beams go along its edges."""

    def __init__(self, trie: Trie, device: torch.device) -> None:
        token = trie.token if trie.token.dtype == np.uint8 else trie.token.astype(np.int32)
        self.token = torch.from_numpy(token).to(device)
        self.first_child = torch.from_numpy(trie.first_child.view(np.int32)).to(device)
        self.fan_out = trie.fan_out
        self.is_left: Tensor | None = None
        """Whether each node still exists, (nodes,); None if all do."""

    def without(self, nodes: NDArray[np.int64]) -> Self:
        """All nodes of the trie but these, which must hold all nodes below them; the tensors are shared."""
        other = copy(self)
        other.is_left = None
        if len(nodes):
            other.is_left = torch.ones(len(self.token), dtype=torch.bool, device=self.token.device)
            other.is_left[torch.from_numpy(nodes).to(self.token.device)] = False
        return other

    def expansions(self, nodes: Tensor, level: int) -> Expansions:
        """The children of `nodes`, (queries, beams), which are on this level of the trie; OFF_TRIE has none.

        >>> from dsi.docids.trie import build_trie
        >>> trie = DeviceTrie(build_trie(np.array([[0, 1], [0, 0], [2, -1]])), torch.device("cpu"))
        >>> from_root = trie.expansions(torch.tensor([[0]]), level=0)
        >>> from_root.nodes.tolist(), from_root.tokens.tolist(), from_root.end.tolist()
        ([[[1, 2]]], [[[0, 2]]], [[[False, True]]])
        """
        first = self.first_child[nodes].long()
        offsets = torch.arange(self.fan_out[level], device=nodes.device)
        exist = offsets < torch.where(nodes == OFF_TRIE, 0, self.first_child[nodes + 1] - first).unsqueeze(-1)
        children = torch.where(exist, first.unsqueeze(-1) + offsets, 0)
        if self.is_left is not None:
            exist &= self.is_left[children]
        return Expansions(children, self.token[children].long(), exist, self.is_leaf(children))

    def is_leaf(self, nodes: Tensor) -> Tensor:
        """Whether each node is without children, which completes a docid."""
        return self.first_child[nodes] == self.first_child[nodes + 1]


class UnconstrainedTrie(DeviceTrie):
    """Lets every docid token follow every other, the usual search of Pradeep et al. 2023 (section 3.3).

    A hypothesis that has left the trie is complete with the token `end`, or if that is None at the length of the
    longest docid.
    """

    def __init__(self, trie: Trie, device: torch.device, tokens: int, end: int | None) -> None:
        super().__init__(trie, device)
        self.tokens, self.end = torch.arange(tokens, device=device), end

    def expansions(self, nodes: Tensor, level: int) -> Expansions:
        """Every docid token as an expansion of `nodes`, (queries, beams); what leaves the trie leads to OFF_TRIE."""
        children = super().expansions(nodes, level)
        by_token = nodes.new_full((*nodes.shape, len(self.tokens) + 1), OFF_TRIE)
        by_token.scatter_(2, torch.where(children.exist, children.tokens, len(self.tokens)), children.nodes)
        reached = by_token[:, :, :-1]
        complete = (self.tokens == self.end) | (level == len(self.fan_out) - 1)
        end = torch.where(reached == OFF_TRIE, complete, self.is_leaf(reached))
        return Expansions(reached, self.tokens.expand_as(reached), torch.ones_like(end), end)


@dataclass(frozen=True)
class BeamResult:
    """The docids that a beam search found."""

    nodes: Tensor
    """The leaves, best first, or OFF_TRIE: (queries, at most beam)."""
    scores: Tensor
    """The log-probabilities, or with a plan the largest total of a document with that docid, as `Mixture.gains`:
    (queries, at most beam); -inf where a query has fewer results."""
    log_probs: Tensor
    """The log-probabilities, (queries, at most beam)."""
    dropped: Tensor
    """The score of the best prefix of each query that the beam had no room for, (queries,); -inf if it had room for
    all. Prefixes below `min_score` do not count."""


class Level(NamedTuple):
    """What a beam search looks at on one level of the trie, for all queries."""

    beam: Tensor
    """The nodes that it goes on from, (queries, beams)."""
    is_open: Tensor
    """Whether each of them is one: a query may have fewer than others."""
    expansions: Expansions
    """What follows them, (queries, beams, children)."""
    of_moves: Tensor
    """The log-probability of each child's token, given the query and the tokens before, in the same shape."""
    log_probs: Tensor
    """The log-probability of each child's tokens so far."""
    scores: Tensor
    """What the children are ordered by, as in `BeamResult`."""


class _Complete(NamedTuple):
    """Hypotheses that are docids, as the first tensors of `BeamResult`."""

    nodes: Tensor
    scores: Tensor
    log_probs: Tensor

    def best_with(self, others: Self, count: int) -> Self:
        """The `count` best of these and of others, fewer if there are not so many."""
        both = [torch.cat(parts, dim=1) for parts in zip(self, others, strict=True)]
        best = both[1].topk(min(count, both[1].shape[1]), dim=1).indices
        return type(self)(*(part.gather(1, best) for part in both))


@torch.inference_mode()
def beam_search(
    model: DifferentiableSearchIndex,
    trie: DeviceTrie,
    input_ids: Tensor,
    attention_mask: Tensor,
    beam: int,
    min_score: Tensor | None = None,
    plan: Plan | None = None,
    watch: Callable[[Level], None] | None = None,
) -> BeamResult:
    """The most probable docids that a beam search finds, or with a plan those with the documents of largest total.

    Args:
        model: a model with any docid head.
        trie: the docids.
        input_ids: (queries, tokens) token ids of the text.
        attention_mask: (queries, tokens) 1 for text, 0 for padding.
        beam: largest number of open hypotheses per step, and of results.
        min_score: (queries,) score below which a prefix need not be followed.
        plan: the bounds on what the prior adds, for a search along the trie.
        watch: told of each level that the search looks at.
    """
    queries, depth = len(input_ids), len(trie.fan_out)
    encoded = model.encode(input_ids, attention_mask)
    decoders = [StepDecoder(stack, encoded, attention_mask, depth) for stack in model.stacks]
    nodes = input_ids.new_zeros(queries, 1)
    log_probs = torch.zeros(queries, 1, device=input_ids.device)
    if min_score is None:
        dtype = log_probs.dtype if plan is None else torch.float64
        min_score = log_probs.new_full((queries,), -torch.inf, dtype=dtype)
    finished = _Complete(nodes[:, :0], log_probs[:, :0], log_probs[:, :0])
    dropped = torch.full_like(min_score, -torch.inf)
    rows, parents, is_open = torch.full_like(nodes, START), None, torch.ones_like(nodes, dtype=torch.bool)
    for level in range(depth):
        inputs = model.docid_embedding(rows).flatten(0, 1)
        states = torch.cat([decoder.step(inputs, None, parents) for decoder in decoders], dim=1)
        expansions = trie.expansions(nodes, level)
        of_moves = model.docid_head.log_probs(states.unflatten(0, (queries, -1)), expansions, level)
        new_log_probs = log_probs.unsqueeze(-1) + of_moves
        new_scores = new_log_probs if plan is None else plan.gains(new_log_probs, nodes, expansions.nodes)
        if watch is not None:
            watch(Level(nodes, is_open, expansions, of_moves, new_log_probs, new_scores))
        exist = expansions.exist & is_open.unsqueeze(-1)  # a query may have fewer open hypotheses than others
        new_scores = new_scores.masked_fill(~exist, -torch.inf).flatten(1)
        new_nodes, new_log_probs, ends = (
            expansions.nodes.flatten(1),
            new_log_probs.flatten(1),
            expansions.end.flatten(1),
        )
        finished = finished.best_with(
            _Complete(new_nodes, new_scores.masked_fill(~ends, -torch.inf), new_log_probs), beam
        )
        if level == depth - 1:
            break
        open_scores = new_scores.masked_fill(ends, -torch.inf)
        scores, best = open_scores.topk(min(beam + 1, open_scores.shape[1]), dim=1)
        if scores.shape[1] > beam:
            dropped = torch.maximum(dropped, scores[:, beam])
            scores, best = scores[:, :beam], best[:, :beam]
        if finished.scores.shape[1] == beam:  # a prefix below the last of `beam` finished docids cannot displace it
            min_score = torch.maximum(min_score, finished.scores[:, -1])
        width = int(((scores > -torch.inf) & (scores >= min_score.unsqueeze(1))).sum(dim=1).max())
        if width == 0:
            break
        is_open, best = scores[:, :width] > -torch.inf, best[:, :width]
        log_probs = new_log_probs.gather(1, best)
        nodes, rows = new_nodes.gather(1, best), expansions.tokens.flatten(1).gather(1, best) + START + 1
        query = torch.arange(queries, device=nodes.device).unsqueeze(1)
        parents = (best // expansions.nodes.shape[2] + query * expansions.nodes.shape[1]).flatten()
    return BeamResult(*finished, dropped)
