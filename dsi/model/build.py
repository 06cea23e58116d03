"""Build the model before training: from random weights with the given sizes, or from a T5 checkpoint."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoTokenizer, set_seed

from dsi.config import GeneratorConfig, ModelConfig, T5Sizes
from dsi.errors import DsiError, first_line
from dsi.model.architecture import START, DifferentiableSearchIndex, DsiConfig


def build_model(
    config: ModelConfig, tokenizer: Path, seed: int, tokens: int, length: int, pieces: list[int]
) -> DifferentiableSearchIndex:
    """The untrained index for docids of `tokens` kinds of token and at most `length` tokens, in float32.

    `pieces` are the text pieces whose embeddings the docid tokens start from, -1 for none; empty if none has one.

    Raises:
        DsiError: the checkpoint cannot be loaded or is not a T5.
    """
    set_seed(seed)
    if config.checkpoint is None:
        model = DifferentiableSearchIndex(
            DsiConfig(
                **random_shape(config, len(AutoTokenizer.from_pretrained(tokenizer))),
                docid_tokens=tokens,
                docid_length=length,
                query_length=config.query_length,
            )
        )
    else:
        model = _from_checkpoint(config, tokens, length)
    with torch.no_grad():
        rows, text = model.docid_embedding.weight, model.shared.weight
        rows[START] = text[model.config.decoder_start_token_id]
        if length > 1 and pieces:
            borrowed = torch.tensor(pieces)
            rows[START + 1 :][borrowed >= 0] = text[borrowed[borrowed >= 0]]
    return model


def random_shape(config: ModelConfig | GeneratorConfig, vocabulary: int) -> dict[str, Any]:
    """Keys of T5's configuration for a model from random weights: T5.1.1 with the sizes given."""
    return {
        **{size: getattr(config, size) for size in T5Sizes.model_fields},
        "vocab_size": vocabulary,
        "dropout_rate": config.dropout,
        "feed_forward_proj": "gated-gelu",
        "decoder_start_token_id": 0,
    }


def build_body(config: ModelConfig, tokenizer: Path, seed: int) -> DifferentiableSearchIndex:
    """The untrained model without docids, for document states."""
    return build_model(config, tokenizer, seed, tokens=1, length=1, pieces=[])


def _from_checkpoint(config: ModelConfig, tokens: int, length: int) -> DifferentiableSearchIndex:
    assert config.checkpoint is not None
    try:
        t5 = AutoConfig.from_pretrained(config.checkpoint)
        if t5.model_type not in ("t5", "mt5"):
            raise DsiError(f"model.checkpoint: {config.checkpoint!r} is a {t5.model_type}; T5, T5.1.1 or mT5 is needed")
        shape = DsiConfig(
            **{**t5.to_dict(), "dropout_rate": config.dropout},
            docid_tokens=tokens,
            docid_length=length,
            query_length=config.query_length,
        )
        model: DifferentiableSearchIndex = DifferentiableSearchIndex.from_pretrained(
            config.checkpoint, config=shape, dtype=torch.float32
        )
    except (OSError, ValueError) as error:
        raise DsiError(f"model.checkpoint: cannot load {config.checkpoint!r}: {first_line(error)}") from None
    return model
