"""The FLOPs of training and search, counted from the model's matrices.

Attention scores, norms and embeddings are left out; for texts of tens of tokens they are a few per cent.
"""

import torch
from torch import nn

from dsi.docids.store import Docids
from dsi.model.architecture import DifferentiableSearchIndex
from dsi.model.config import DsiConfig

TRAINING = 3
"""The FLOPs of a forward and a backward pass, divided by those of the forward pass."""


def forward_flops(model: DifferentiableSearchIndex, text_tokens: float, docid_tokens: float) -> float:
    """The FLOPs to read `text_tokens` tokens of text and to score the next token after `docid_tokens` prefixes."""
    multiplications = text_tokens * _matrices(model.encoder) + docid_tokens * model.docid_head.multiplications()
    for stack in model.stacks:
        cross = [block.layer[1].EncDecAttention for block in stack.block]
        of_text = sum(_matrices(attention.k) + _matrices(attention.v) for attention in cross)
        multiplications += text_tokens * of_text + docid_tokens * (_matrices(stack) - of_text)
    return 2.0 * multiplications


def training_flops(model: DifferentiableSearchIndex, text_tokens: float, docid_tokens: float, passes: int = 1) -> float:
    """The FLOPs to train on so many tokens of text and docid tokens, which the objective reads `passes` times."""
    return TRAINING * passes * forward_flops(model, text_tokens, docid_tokens)


def logit_flops(model: DifferentiableSearchIndex) -> float:
    """The FLOPs to train on a logit of an output row."""
    return TRAINING * 2.0 * model.config.d_model


def leaf_flops(model: DifferentiableSearchIndex, passes: int = 1) -> float:
    """The FLOPs to train on the label of a query over the rows of all trie nodes (dsi.objectives.distillation)."""
    return passes * model.config.docid_nodes * logit_flops(model)


def search_flops(config: DsiConfig, docids: Docids, text_tokens: float, beam: int, ranking: str) -> float:
    """The FLOPs of a query of `text_tokens` tokens whose beam is always full, and never wider (Pradeep et al. 2023,
    Table 4)."""
    with torch.device("meta"):
        model = DifferentiableSearchIndex(config)
    ranking_flops = forward_flops(model, text_tokens, 1) if ranking == "leaf" else 0.0
    return ranking_flops + forward_flops(model, text_tokens, 1 if docids.is_atomic else docids.trie.prefixes(beam))


def encoder_flops(encoder: nn.Module, text_tokens: float) -> float:
    """The FLOPs of an encoder that reads `text_tokens` tokens."""
    return 2.0 * text_tokens * _matrices(encoder)


def _matrices(module: nn.Module) -> int:
    """The number of weights in the matrices of a module: its multiplications per token."""
    linear = (nn.Linear, nn.quantized.dynamic.Linear)
    return sum(part.in_features * part.out_features for part in module.modules() if isinstance(part, linear))
