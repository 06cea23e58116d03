"""Section `model`: the T5 and its docid head."""

from typing import Any, Literal

from pydantic import model_validator

from dsi.config.scalars import PathOrName, is_null
from dsi.config.section import Count, Section, Share

RANDOM_SIZES = {"d_model": 256, "num_layers": 1, "num_decoder_layers": 1, "num_heads": 4, "d_kv": 64, "d_ff": 512}
"""The sizes of a T5 from random weights, where the configuration has none. They suit two CPU cores: a second encoder
layer costs more in steps than it brings."""


class T5Sizes(Section):
    """The sizes of a T5 that starts from random weights; a checkpoint has its own, and null stands for these."""

    d_model: Count | None = None
    """Width of the hidden states. This and the next five keys are sizes of a T5 that starts from random weights; null
    for those of a checkpoint. Given with a checkpoint, they must be its own."""
    num_layers: Count | None = None
    """Encoder layers."""
    num_decoder_layers: Count | None = None
    """Decoder layers."""
    num_heads: Count | None = None
    """Attention heads per layer."""
    d_kv: Count | None = None
    """Width of an attention head."""
    d_ff: Count | None = None
    """Width of the feed-forward layers."""

    @model_validator(mode="before")
    @classmethod
    def _sizes_of_random_weights(cls, values: Any) -> Any:
        if not isinstance(values, dict):
            return values
        checkpoint = values.get("checkpoint", cls.model_fields["checkpoint"].default)
        if not is_null(checkpoint):
            return values
        return values | {key: size for key, size in RANDOM_SIZES.items() if is_null(values.get(key))}


class BackboneConfig(T5Sizes):
    """What an index and the dual encoder that it is compared with have in common."""

    checkpoint: PathOrName | None = None
    """A T5, T5.1.1 or mT5 checkpoint, a name on the Hugging Face hub or a folder. Null starts from random weights with
    the sizes above. A trained index, runs/NAME/model, gives its backbone, whose document states start the rows."""
    dropout: Share = 0.0
    """Dropout rate in training."""
    query_length: Count = 32
    """Longest query, in tokens; the rest is cut."""
    document_length: Count = 96
    """Longest document, in tokens; the rest is cut."""


class ModelConfig(BackboneConfig):
    """The model: a T5 and a head that predicts docid tokens."""

    head: Literal["plain", "hierarchical_softmax", "pawa"] = "plain"
    """plain: one output row per docid token. hierarchical_softmax: one row per node of the docid trie, softmax over
    siblings. pawa: rows that depend on the docid tokens before (for docids.kind semantic_2d and residual)."""
    pawa: Literal["additive", "matrix"] = "additive"
    """pawa: how a row depends on the tokens before. additive: a vector is added to it (NCI's released code). matrix: it
    is multiplied by a matrix (as in the paper)."""
    pawa_layers: Count = 1
    """pawa: layers of the decoder that reads the query and the docid tokens before."""
    warm_start: bool = True
    """docids.kind=atomic or head=hierarchical_softmax: whether each output row starts from the states of its documents,
    which the model computes before it is trained."""

    @property
    def backbone(self) -> BackboneConfig:
        """The keys that do not concern the head."""
        return BackboneConfig(**{key: getattr(self, key) for key in BackboneConfig.model_fields})
