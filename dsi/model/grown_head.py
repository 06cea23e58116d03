"""A trained model for the docids of more documents (see dsi.docids.later), without training.

The hierarchical softmax head has a row per trie node. Nodes that were there keep their rows, known by their path from
the root, as do documents that moved to another leaf. So what was learnt stays: the log-probability of a step changes
only by the siblings that joined it.

The other heads have a row per docid token, and later documents get docids of the tokens that are there: nothing changes
but, where an id that is spelled out is longer than all before, the number of decoder steps. The decoder's position
biases are relative, so it takes any number of steps, but a bias for a distance that no docid in training had is what it
was at the start.
"""

from collections.abc import Callable, Mapping
from copy import deepcopy
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dsi.docids.store import Docids
from dsi.docids.trie import Trie
from dsi.errors import DsiError
from dsi.model.architecture import START, DifferentiableSearchIndex
from dsi.model.build import DocidShape
from dsi.model.config import DsiConfig
from dsi.model.heads.hierarchical_softmax import HierarchicalSoftmaxHead
from dsi.model.heads.pawa import PawaHead

AT_ONCE = 1 << 16
"""The number of rows or documents that are read at once."""


@torch.no_grad()
def grown_model(
    model: DifferentiableSearchIndex, before: Docids, after: Docids, rows: Tensor | None = None
) -> DifferentiableSearchIndex:
    """The model with the docids `after`, which shares all weights that stay the same with `model`.

    Args:
        model: a model with the docids `before`, which are of several tokens.
        before: the docids that the model has.
        after: those and the docids of documents with higher row numbers.
        rows: (new documents, d_model) the row of each new document's leaf, for the hierarchical softmax head only; a
            leaf that several new documents share gets their mean.

    Raises:
        DsiError: PAWA, which has rows per position, has none for a docid as long as those `after`.
    """
    head, config = model.docid_head, deepcopy(model.config)
    if isinstance(head, PawaHead) and after.vocabulary.length > len(head.sizes):
        raise DsiError(
            f"model.head=pawa has output rows for docids of {len(head.sizes)} tokens, and those of the new documents"
            f" have up to {after.vocabulary.length}; build the index anew with them"
        )
    config.docid_tokens, config.docid_length = after.vocabulary.tokens, after.vocabulary.length
    new = {"docid_embedding.weight": _with_tokens(model.docid_embedding.weight, START + 1 + config.docid_inputs)}
    if isinstance(head, HierarchicalSoftmaxHead):
        assert rows is not None
        shape = DocidShape.of(after, config.docid_head)
        config.docid_nodes, config.docid_siblings = shape.nodes, shape.siblings
        new["docid_head.weight"] = node_rows(head.weight, before, after, rows)
    return with_weights(model, config, new)


def with_weights(
    model: DifferentiableSearchIndex, config: DsiConfig, new: Mapping[str, Tensor]
) -> DifferentiableSearchIndex:
    """A model of another configuration with some other weights, by name, that shares all others with `model`."""
    with torch.device("meta"):
        changed = DifferentiableSearchIndex(config)
    changed.load_state_dict({**model.state_dict(), **new}, assign=True)
    return changed.train(model.training)


def _with_tokens(embedding: Tensor, count: int) -> Tensor:
    """`count` rows of the docid embedding. A token that no docid in training had gets the mean of the others, which
    says nothing but that there is a token; if there are no others, the row of START."""
    if count == len(embedding):
        return embedding
    known = embedding[START + 1 :] if len(embedding) > START + 1 else embedding
    return torch.cat([embedding, known.mean(dim=0).expand(count - len(embedding), -1)])


@torch.no_grad()
def node_rows(weight: Tensor, before: Docids, after: Docids, rows: Tensor) -> Tensor:
    """The output rows of the trie nodes `after`, (nodes, d_model), from `weight`, (nodes before, d_model).

    Nodes with the path of a node `before` keep its row. Other leaves get the mean over their documents: the row of the
    leaf that a document had, and of new documents those of `rows`, (new documents, d_model). Other inner nodes get the
    mean over the documents below them of the rows of their leaves.
    """
    same = torch.from_numpy(same_nodes(before, after)).to(weight.device)
    grown = torch.index_select(weight, 0, same.clamp(min=0))
    is_new = (same < 0).cpu().numpy()
    leaf_of, leaf_before = after.trie.leaf_of, before.trie.leaf_of
    known = len(leaf_before)

    def own_rows(documents: NDArray[np.int64]) -> Tensor:
        there = int(np.searchsorted(documents, known))
        of_leaves = weight[torch.from_numpy(leaf_before[documents[:there]]).long().to(weight.device)]
        return torch.cat([of_leaves, rows[torch.from_numpy(documents[there:] - known).to(rows.device)].to(weight)])

    def leaf_rows(documents: NDArray[np.int64]) -> Tensor:
        return grown[torch.from_numpy(leaf_of[documents]).long().to(weight.device)]

    in_new = np.flatnonzero(is_new[leaf_of])
    _set_means(grown, leaf_of[in_new], in_new, own_rows)
    for nodes in after.paths.T:
        below = np.flatnonzero((nodes >= 0) & is_new[nodes] & (nodes != leaf_of))
        _set_means(grown, nodes[below], below, leaf_rows)
    return grown


def _set_means(
    weight: Tensor,
    nodes: NDArray[np.int32],
    documents: NDArray[np.int64],
    row_of: Callable[[NDArray[np.int64]], Tensor],
) -> None:
    """Set each of `nodes`, (pairs,), in `weight`, (nodes, d_model), to the mean row of the documents it is paired with.
    `row_of` gives the rows of documents in increasing order."""
    distinct, place = np.unique(nodes, return_inverse=True)
    means, counts = weight.new_zeros(len(distinct), weight.shape[1]), np.bincount(place, minlength=len(distinct))
    for start in range(0, len(documents), AT_ONCE):
        part = slice(start, start + AT_ONCE)
        means.index_add_(0, torch.from_numpy(place[part]).to(weight.device), row_of(documents[part]))
    means /= torch.from_numpy(counts).to(weight)[:, None]
    weight[torch.from_numpy(distinct).long().to(weight.device)] = means


def same_nodes(before: Docids, after: Docids) -> NDArray[np.int64]:
    """For each trie node `after` the one `before` with the same path, -1 for new ones: (nodes after,).

    A leaf whose path is now that of an inner node or of another document is the same node only as long as documents
    that it held, and none of the others that were there, are there or below.
    """
    same = _same_paths(before.trie, after.trie)
    was_leaf = (same >= 0) & before.trie.is_leaf[same]
    stayed, came = np.zeros_like(was_leaf), np.zeros_like(was_leaf)
    leaf_before = before.trie.leaf_of
    for column in after.paths[: len(leaf_before)].T:
        documents = np.flatnonzero((column >= 0) & was_leaf[column])
        nodes = column[documents]
        is_own = leaf_before[documents] == same[nodes]
        stayed[nodes[is_own]] = True
        came[nodes[~is_own]] = True
    same[was_leaf & ~(stayed & ~came)] = -1
    return same


def _same_paths(before: Trie, after: Trie) -> NDArray[np.int64]:
    """For each node of `after` the node of `before` with the same path, -1 if there is none: (nodes after,)."""
    same = np.full(len(after.token), -1, dtype=np.int64)
    same[0] = 0
    step = 1 << 32  # the nodes of a level are in order of parent, then token: found by bisection
    levels = zip(pairwise(before.level_start[1:].tolist()), pairwise(after.level_start[1:].tolist()), strict=False)
    for (old_first, old_stop), (first, stop) in levels:
        keys = before.parents(np.arange(old_first, old_stop)) * step + before.token[old_first:old_stop]
        wanted = same[after.parents(np.arange(first, stop))] * step + after.token[first:stop]
        place = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
        same[first:stop] = np.where(keys[place] == wanted, old_first + place, -1)
    return same
