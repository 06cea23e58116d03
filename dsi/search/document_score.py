"""The score of one document, whether or not a search finds it: its docid is decoded alone, step by step.

Each step is scored as constrained search scores it, by the head's own `log_probs` of the children of a node, so that
the steps sum to the log-probability that a beam which reaches the document gives it.
"""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from dsi.docids.store import Docids
from dsi.model.architecture import START, DifferentiableSearchIndex
from dsi.model.decoding import StepDecoder
from dsi.search.atomic import AtomicRows, top_documents
from dsi.search.beam import DeviceTrie
from dsi.search.leaves import leaf_logits


class Step(NamedTuple):
    """A step along the docid of a document, from a node of the trie to one of its children."""

    node: int
    """The child that it leads to."""
    log_prob: float
    """The log-probability of the child's token given the text and the tokens before."""
    best: int
    """The most probable child of the same node; `node` itself if no other is more probable."""
    best_log_prob: float


@dataclass(frozen=True)
class DocumentScore:
    """What the model says of a document."""

    log_prob: float
    """The log-probability of its docid given the text, the sum of those of the steps if there are any."""
    steps: tuple[Step, ...] = ()
    """The way to its leaf; none for atomic docids."""
    leaf_logit: float | None = None
    """The logit of its leaf at the first decoder step, of the hierarchical softmax head; else None."""
    best: tuple[int, float] | None = None
    """The most probable document of all and its log-probability, with atomic docids; else None."""


def score_row(model: DifferentiableSearchIndex, rows: AtomicRows, input_ids: Tensor, doc_index: int) -> DocumentScore:
    """What the model says of a document with an atomic docid for one text, (1, tokens) token ids without padding."""
    others = input_ids.new_tensor([[doc_index]])
    found = top_documents(model, input_ids, torch.ones_like(input_ids), 1, others, rows)
    documents, log_probs = (each[0].tolist() for each in found)
    return DocumentScore(log_probs[-1], best=(documents[0], log_probs[0]))


@torch.inference_mode()
def score_document(
    model: DifferentiableSearchIndex, docids: Docids, trie: DeviceTrie, input_ids: Tensor, doc_index: int
) -> DocumentScore:
    """What the model says of a document whose docid is in the `trie` for one text, (1, tokens) token ids without
    padding."""
    mask = torch.ones_like(input_ids)
    code = [token for token in docids.codes[doc_index].tolist() if token >= 0]
    steps = _steps(model, trie, input_ids, mask, code)
    leaf_logit = None
    if model.config.docid_head == "hierarchical_softmax":
        leaf_logit = float(leaf_logits(model, input_ids.new_tensor([[steps[-1].node]]), input_ids, mask))
    return DocumentScore(sum(step.log_prob for step in steps), tuple(steps), leaf_logit)


def _steps(
    model: DifferentiableSearchIndex, trie: DeviceTrie, input_ids: Tensor, mask: Tensor, code: list[int]
) -> list[Step]:
    """The step of each token of a docid."""
    encoded = model.encode(input_ids, mask)
    decoders = [StepDecoder(stack, encoded, mask, len(trie.fan_out)) for stack in model.stacks]
    node, row, steps = 0, START, list[Step]()
    for level, token in enumerate(code):
        inputs = model.docid_embedding(input_ids.new_tensor([row]))
        states = torch.cat([decoder.step(inputs, None, None) for decoder in decoders], dim=1)
        children = trie.expansions(input_ids.new_tensor([[node]]), level)
        log_probs = model.docid_head.log_probs(states.unsqueeze(0), children, level)[0, 0]
        exist, nodes = children.exist[0, 0], children.nodes[0, 0].tolist()
        [own] = (exist & (children.tokens[0, 0] == token)).nonzero().flatten().tolist()
        best = int(log_probs.masked_fill(~exist, -torch.inf).argmax())
        best = best if log_probs[best] > log_probs[own] else own
        steps.append(Step(nodes[own], float(log_probs[own]), nodes[best], float(log_probs[best])))
        node, row = nodes[own], token + START + 1
    return steps
