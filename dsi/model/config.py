"""The configuration of an index: T5's and the shape of its docids."""

from __future__ import annotations

from transformers import T5Config


class DsiConfig(T5Config):
    """T5's configuration and the shape of the docids.

    Args:
        docid_tokens: size of the docid vocabulary.
        docid_length: tokens of the longest docid; 1 for atomic docids, which need no docid input embeddings.
        query_length: text tokens of a query, the rest is cut.
        docid_head: plain, hierarchical_softmax or pawa (see dsi.model.heads).
        docid_nodes: hierarchical_softmax: nodes of the docid trie.
        docid_siblings: hierarchical_softmax: mean number of children to choose from at a docid token.
        docid_sizes: pawa: tokens of each position.
        pawa: pawa: additive or matrix.
        pawa_layers: pawa: layers of the prefix decoder.
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
        """Docid tokens that the decoder can read."""
        return self.docid_tokens if self.docid_length > 1 else 0
