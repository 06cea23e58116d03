"""Build the model before training: from random weights with the given sizes, or from a T5 checkpoint."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors import safe_open
from torch import Tensor
from transformers import AutoConfig, AutoTokenizer, PreTrainedModel, T5Config, set_seed
from transformers.utils import SAFE_WEIGHTS_INDEX_NAME, SAFE_WEIGHTS_NAME, cached_file

from dsi.config import BackboneConfig, GeneratorConfig, ModelConfig, T5Sizes
from dsi.docids.store import Docids
from dsi.errors import DsiError, first_line
from dsi.model.architecture import START, DifferentiableSearchIndex
from dsi.model.config import DsiConfig

ONCE_OURS = ("consistency", "docid_ranking")
"""Keys of an index trained by an older version, whose weights are still what they were."""

Model = TypeVar("Model", bound=PreTrainedModel)


@dataclass(frozen=True)
class DocidShape:
    """What the model must know about the docids."""

    tokens: int = 1
    length: int = 1
    """Tokens of the longest docid."""
    nodes: int = 1
    """Of the trie, for the hierarchical softmax head."""
    siblings: float = 1.0
    """Mean number of children to choose from at a docid token, for the hierarchical softmax head."""
    sizes: list[int] = field(default_factory=list)
    """Tokens of each position, for PAWA."""
    text_token_ids: list[int] = field(default_factory=list)
    """Text tokens whose embeddings the docid tokens start from, -1 for none; empty if none has one."""

    @classmethod
    def of(cls, docids: Docids, head: str) -> DocidShape:
        vocabulary = docids.vocabulary
        nodes, siblings = 1, 1.0
        if head == "hierarchical_softmax":
            nodes = len(docids.trie.token)
            siblings = float(docids.trie.siblings(docids.paths)[1][docids.paths >= 0].mean())
        return cls(vocabulary.tokens, vocabulary.length, nodes, siblings, vocabulary.sizes, vocabulary.text_token_ids)


def build_model(
    config: ModelConfig, tokenizer_folder: Path, seed: int, docids: DocidShape
) -> DifferentiableSearchIndex:
    """The untrained index, in float32.

    Raises:
        DsiError: the checkpoint cannot be loaded or is not a T5.
    """
    set_seed(seed)
    ours = {
        "docid_tokens": docids.tokens,
        "docid_length": docids.length,
        "query_length": config.query_length,
        "docid_head": config.head,
        "docid_nodes": docids.nodes,
        "docid_siblings": docids.siblings,
        "docid_sizes": docids.sizes,
        "pawa": config.pawa,
        "pawa_layers": config.pawa_layers,
    }
    if config.checkpoint is None:
        shape = random_shape(config, len(AutoTokenizer.from_pretrained(tokenizer_folder)))
        model = DifferentiableSearchIndex(DsiConfig(**shape, **ours))
    else:
        changes = {"dropout_rate": config.dropout, **ours}
        model = from_checkpoint(DifferentiableSearchIndex, DsiConfig, config.checkpoint, changes)
    origin = index_config(config.checkpoint)
    if origin is None or origin.docid_inputs != model.config.docid_inputs:  # otherwise these rows have arrived
        with torch.no_grad():
            rows, text = model.docid_embedding.weight, model.shared.weight
            rows[START] = text[model.config.decoder_start_token_id] if origin is None else start_row(config.checkpoint)
            if docids.length > 1 and docids.text_token_ids:
                borrowed = torch.tensor(docids.text_token_ids)
                rows[START + 1 :][borrowed >= 0] = text[borrowed[borrowed >= 0]]
    return model


def random_shape(config: BackboneConfig | GeneratorConfig, vocabulary: int) -> dict[str, Any]:
    """Keys of T5's configuration for a model from random weights: T5.1.1 with the sizes given."""
    return {
        **{size: getattr(config, size) for size in T5Sizes.model_fields},
        "vocab_size": vocabulary,
        "dropout_rate": config.dropout,
        "feed_forward_proj": "gated-gelu",
        "decoder_start_token_id": 0,
    }


def build_backbone(config: BackboneConfig, tokenizer_folder: Path, seed: int) -> DifferentiableSearchIndex:
    """The untrained model without docids, for document states; whole on every process."""
    with _whole_weights():
        return build_model(ModelConfig(**config.model_dump()), tokenizer_folder, seed, DocidShape())


@contextmanager
def _whole_weights() -> Iterator[None]:
    """Every process reads a checkpoint, where FSDP would have all but the first of a machine wait for their part."""
    key = "FSDP_CPU_RAM_EFFICIENT_LOADING"
    before = os.environ.pop(key, None)
    try:
        yield
    finally:
        if before is not None:
            os.environ[key] = before


def from_checkpoint(
    model_class: type[Model], config_class: type[T5Config], checkpoint: str, changes: dict[str, Any]
) -> Model:
    """A model of this class with the weights of a T5 checkpoint, in float32, and with `changes` to its configuration.

    Raises:
        DsiError: the checkpoint cannot be loaded or is not a T5.
    """
    try:
        t5 = AutoConfig.from_pretrained(checkpoint)
        for key in ONCE_OURS:
            t5.__dict__.pop(key, None)
        if t5.model_type not in ("t5", "mt5"):
            raise DsiError(f"model.checkpoint: {checkpoint!r} is a {t5.model_type}; T5, T5.1.1 or mT5 is needed")
        config = config_class(**{**t5.to_dict(), **changes})
        # the docid rows of an index that was trained for other docids have other shapes; T5's parts all fit
        model: Model = model_class.from_pretrained(
            checkpoint, config=config, dtype=torch.float32, ignore_mismatched_sizes=True
        )
    except (OSError, ValueError) as error:
        raise DsiError(f"model.checkpoint: cannot load {checkpoint!r}: {first_line(error)}") from None
    return model


def index_config(checkpoint: str | None) -> DsiConfig | None:
    """The configuration of the index that a checkpoint is, or None if it is a T5 without docids."""
    if checkpoint is None:
        return None
    is_index = hasattr(AutoConfig.from_pretrained(checkpoint), "docid_tokens")
    return DsiConfig.from_pretrained(checkpoint) if is_index else None


def start_row(checkpoint: str | None) -> Tensor:
    """What the first decoder step of a trained index reads; without its other rows, which may be millions."""
    name = "docid_embedding.weight"
    file = cached_file(checkpoint, SAFE_WEIGHTS_NAME, _raise_exceptions_for_missing_entries=False)
    if file is None:  # so large that it is in parts
        parts = json.loads(Path(cached_file(checkpoint, SAFE_WEIGHTS_INDEX_NAME)).read_text(encoding="utf-8"))
        file = cached_file(checkpoint, parts["weight_map"][name])
    with safe_open(file, "pt") as weights:
        row: Tensor = weights.get_slice(name)[START]
    return row.float()
