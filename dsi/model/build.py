"""Build the model before training: from random weights with the given sizes, or from a T5 checkpoint."""

import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor
from transformers import AutoConfig, T5Config, set_seed
from transformers.utils import SAFE_WEIGHTS_INDEX_NAME, SAFE_WEIGHTS_NAME, cached_file

from dsi.config import BackboneConfig, GeneratorConfig, ModelConfig, T5Sizes
from dsi.docids.store import Docids
from dsi.errors import DsiError
from dsi.model.architecture import START, DifferentiableSearchIndex
from dsi.model.config import DsiConfig
from dsi.model.loading import DOCID_PARTS, check_token_ids, check_weights, load_weights, read_config
from dsi.runtime.checkpoint_files import CONFIG_FILE, check_checkpoint_files
from dsi.tokenizer import checkpoint_tokenizer, open_tokenizer

OBSOLETE_KEYS = ("consistency", "docid_ranking")
"""Configuration keys of models that older versions trained, whose weights still load."""

KEY = "model.checkpoint"
NEW_PARTS = (DOCID_PARTS, "prefix_decoder")
"""The parts of an index that a checkpoint need not have."""


@dataclass(frozen=True)
class DocidShape:
    """The properties of the docids that decide the shape and the start of a model."""

    tokens: int = 1
    """The size of the docid vocabulary."""
    length: int = 1
    """The number of tokens of the longest docid."""
    nodes: int = 1
    """The number of trie nodes, for the hierarchical softmax head."""
    siblings: float = 1.0
    """The mean number of children to choose from at a docid token, for the hierarchical softmax head."""
    sizes: list[int] = field(default_factory=list)
    """The number of docid tokens of each position, for PAWA."""
    text_token_ids: list[int] = field(default_factory=list)
    """The text token whose embedding each docid token starts from, -1 for none; empty if no docid token has one."""

    @classmethod
    def of(cls, docids: Docids, head: str) -> Self:
        """The shape of `docids` for a model with the docid head `head`."""
        vocabulary = docids.vocabulary
        nodes, siblings = 1, 1.0
        if head == "hierarchical_softmax":
            nodes = len(docids.trie.token)
            siblings = float(docids.trie.siblings(docids.paths)[1][docids.paths >= 0].mean())
        return cls(vocabulary.tokens, vocabulary.length, nodes, siblings, vocabulary.sizes, vocabulary.text_token_ids)


def build_model(
    config: ModelConfig, tokenizer_folder: Path, seed: int, docids: DocidShape
) -> DifferentiableSearchIndex:
    """The model before training, in float32: random weights or those of the checkpoint.

    Raises:
        DsiError: the checkpoint cannot be loaded, is not a T5, lacks weights or has other sizes than the configuration.
    """
    set_seed(seed)
    docid_keys = {
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
        shape = random_shape(config, len(open_tokenizer(tokenizer_folder)))
        model = DifferentiableSearchIndex(DsiConfig(**shape, **docid_keys))
    else:
        changes = {"dropout_rate": config.dropout, **docid_keys}
        model = from_checkpoint(DifferentiableSearchIndex, DsiConfig, config, changes, NEW_PARTS)
    trained = _index_config(config.checkpoint)
    if trained is not None and trained.docid_inputs == model.config.docid_inputs:
        return model  # its docid embeddings came with the checkpoint
    with torch.no_grad():
        rows, text = model.docid_embedding.weight, model.shared.weight
        rows[START] = text[model.config.decoder_start_token_id] if trained is None else _start_row(config.checkpoint)
        if docids.length > 1 and docids.text_token_ids:
            token_ids = torch.tensor(docids.text_token_ids)
            rows[START + 1 :][token_ids >= 0] = text[token_ids[token_ids >= 0]]
    return model


def random_shape(config: BackboneConfig | GeneratorConfig, vocabulary: int) -> dict[str, Any]:
    """The keys of T5's configuration for a model from random weights: T5.1.1 with the sizes of `config`."""
    return {
        **{size: getattr(config, size) for size in T5Sizes.model_fields},
        "vocab_size": vocabulary,
        "dropout_rate": config.dropout,
        "feed_forward_proj": "gated-gelu",
        "decoder_start_token_id": 0,
    }


def build_backbone(config: BackboneConfig, tokenizer_folder: Path, seed: int) -> DifferentiableSearchIndex:
    """The untrained model without docids, for document states; whole on every process."""
    with whole_on_every_process():
        return build_model(ModelConfig(**config.model_dump()), tokenizer_folder, seed, DocidShape())


@contextmanager
def whole_on_every_process() -> Iterator[None]:
    """Load checkpoints on every process, also under FSDP."""
    key = "FSDP_CPU_RAM_EFFICIENT_LOADING"  # with it, only the first process of a machine would read the checkpoint
    before = os.environ.pop(key, None)
    try:
        yield
    finally:
        if before is not None:
            os.environ[key] = before


def from_checkpoint(
    model_class: Any, config_class: type[T5Config], start: BackboneConfig, changes: dict[str, Any], new: Sequence[str]
) -> Any:
    """A `model_class` with the weights of the T5 `start.checkpoint`, in float32, and `changes` to its configuration.

    Raises:
        DsiError: the checkpoint cannot be loaded, is not a T5, has other sizes than `start` asks for, or lacks a weight
            of a part that is not in `new`.
    """
    assert start.checkpoint is not None
    config = _t5_config(start.checkpoint, config_class, changes)
    return load_weights(model_class, start.checkpoint, config, KEY, new=new, asked=start)


def check_checkpoint(config: ModelConfig) -> None:
    """Check `model.checkpoint`, if there is one, without reading its weights: files, sizes, and that none is missing.

    Raises:
        DsiError: as `build_model`, and if its tokenizer does not fit.
    """
    if config.checkpoint is None:
        return
    head = {"docid_head": config.head, "pawa_layers": config.pawa_layers}
    t5 = _t5_config(config.checkpoint, DsiConfig, head)
    checkpoint_tokenizer(config.checkpoint, KEY)
    check_weights(DifferentiableSearchIndex, config.checkpoint, t5, KEY, NEW_PARTS, config)


def open_index(folder: Path) -> DifferentiableSearchIndex:
    """The trained index that was saved in `folder`, in float32; DsiError if a file is damaged or a weight missing."""
    config = DsiConfig(**read_config(str(folder), "index").to_dict())
    weights = check_checkpoint_files(str(folder), "index") or set()
    if config.num_layers + config.num_decoder_layers + config.pawa_layers > len(weights):  # which would be made first
        raise DsiError(f"index: {folder / CONFIG_FILE} says there are more layers than {len(weights)} weights can fill")
    # sizes are compared first, as room would be made for those of config.json
    check_weights(DifferentiableSearchIndex, str(folder), config, "index")
    return load_weights(DifferentiableSearchIndex, str(folder), config, "index")


def _t5_config(checkpoint: str, config_class: type[T5Config], changes: dict[str, Any]) -> T5Config:
    """The configuration of a T5 checkpoint, with `changes`; DsiError if it is none."""
    t5 = read_config(checkpoint, KEY)
    for key in OBSOLETE_KEYS:
        t5.__dict__.pop(key, None)
    if t5.model_type not in ("t5", "mt5"):
        raise DsiError(f"{KEY}: {checkpoint!r} is a {t5.model_type}; T5, T5.1.1 or mT5 is needed")
    check_token_ids(t5, checkpoint, KEY, "pad_token_id", "decoder_start_token_id")
    return config_class(**{**t5.to_dict(), **changes})


def _index_config(checkpoint: str | None) -> DsiConfig | None:
    """The configuration of a checkpoint that is a trained index; None if there is none or it is a T5 without docids."""
    if checkpoint is None or not hasattr(
        AutoConfig.from_pretrained(checkpoint, trust_remote_code=False), "docid_tokens"
    ):
        return None
    return DsiConfig.from_pretrained(checkpoint)


def _start_row(checkpoint: str | None) -> Tensor:
    """The docid embedding START of a trained index, (d_model,), read without the other rows, which may be millions;
    DsiError if it lacks them."""
    name = "docid_embedding.weight"
    file = cached_file(checkpoint, SAFE_WEIGHTS_NAME, _raise_exceptions_for_missing_entries=False)
    try:
        if file is None:  # the checkpoint is so large that it is in parts
            parts = json.loads(Path(cached_file(checkpoint, SAFE_WEIGHTS_INDEX_NAME)).read_text(encoding="utf-8"))
            file = cached_file(checkpoint, parts["weight_map"][name])
        with safe_open(file, "pt") as weights:
            return weights.get_slice(name)[START].float()
    except (KeyError, SafetensorError):  # other parts of the docids may be missing: those here are new
        raise DsiError(f"{KEY}: {checkpoint!r} is an index without {name}") from None
