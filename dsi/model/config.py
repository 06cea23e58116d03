"""The configuration of a model: T5's keys and the shape of the docids."""

from __future__ import annotations

from transformers import T5Config


class DsiConfig(T5Config):
    """T5's configuration with the keys of the docids and of the docid head.

    Args:
        docid_tokens: size of the docid vocabulary.
        docid_length: number of tokens of the longest docid; 1 for atomic docids, which need no docid input embeddings.
        query_length: number of text tokens that are read of a query.
        docid_head: plain, hierarchical_softmax or pawa (see dsi.model.heads).
        docid_nodes: number of nodes of the docid trie; for hierarchical_softmax.
        docid_siblings: mean number of children to choose from at a docid token; for hierarchical_softmax.
        docid_sizes: number of docid tokens of each position; for pawa.
        pawa: additive or matrix.
        pawa_layers: number of layers of PAWA's prefix decoder.
    """

    docid_tokens: int = 1
    docid_length: int = 1
    query_length: int = 32
    docid_head: str = "plain"
    docid_nodes: int = 1
    docid_siblings: float = 1.0
    docid_sizes: list[int] | None = None
    pawa: str = "additive"
    pawa_layers: int = 1

    @property
    def docid_inputs(self) -> int:
        """The number of docid tokens that the decoder can read."""
        return self.docid_tokens if self.docid_length > 1 else 0
