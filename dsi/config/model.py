"""Section `model`: the T5 and its docid head."""

from __future__ import annotations

from typing import Literal

from dsi.config.section import Count, Section, Share


class T5Sizes(Section):
    """Of a T5 that starts from random weights. The defaults suit two CPU cores: a second encoder layer costs more in
    steps than it brings."""

    d_model: Count = 256
    num_layers: Count = 1
    num_decoder_layers: Count = 1
    num_heads: Count = 4
    d_kv: Count = 64
    d_ff: Count = 512


class BackboneConfig(T5Sizes):
    """What an index and the dual encoder that it is compared with have in common."""

    checkpoint: str | None = None
    """A T5, T5.1.1 or mT5 checkpoint (hub name or folder). Null starts from random weights with the sizes above. Or
    runs/NAME/model, a trained index: it passes on its backbone, whose document states then start the output rows."""
    dropout: Share = 0.0
    query_length: Count = 32
    """Input tokens of a query, the rest is cut."""
    document_length: Count = 96
    """Input tokens of a document, the rest is cut."""


class ModelConfig(BackboneConfig):
    head: Literal["plain", "hierarchical_softmax", "pawa"] = "plain"
    """plain: an output row a docid token. hierarchical_softmax: a row a node of the docid trie, softmax over siblings.
    pawa: rows that change with the prefix (docids.kind semantic_2d or residual)."""
    pawa: Literal["additive", "matrix"] = "additive"
    """pawa: how (see dsi.model.heads)."""
    pawa_layers: Count = 1
    """pawa: layers of the decoder that reads the prefix and the query."""
    warm_start: bool = True
    """atomic, or head=hierarchical_softmax: start each output row from the model's states for its documents before any
    training."""

    @property
    def backbone(self) -> BackboneConfig:
        return BackboneConfig(**{key: getattr(self, key) for key in BackboneConfig.model_fields})
