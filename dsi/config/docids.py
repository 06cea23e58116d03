"""Section `docids`: the identifiers."""

from typing import Annotated, Literal

from pydantic import Field

from dsi.config.section import Count, Section, Seed


class DocidsConfig(Section):
    """The identifiers of the documents, which the model generates."""

    kind: Literal["atomic", "naive", "semantic", "semantic_2d", "residual"] = "atomic"
    """atomic: one token per document. naive: the collection's own id as a string. semantic: the path through a tree of
    k-means clusters, with the same k tokens on every level. semantic_2d: the same path, with other tokens on every
    level. residual: the codes of residual quantisation, as in RIPOR and TIGER."""
    alphabet: Literal["characters", "tokens"] = "characters"
    """naive: one docid token per character of the id, or per token of the text tokenizer (as in the paper)."""
    clusters: Annotated[int, Field(ge=2)] = 10
    """semantic, semantic_2d: k, the number of children of an inner node."""
    leaf_size: Count = 100
    """semantic, semantic_2d: c, the size of the largest cluster that is not split further."""
    levels: Count = 3
    """residual: codes per document (RIPOR: 32, TIGER: 3). Documents whose codes are all the same get one more."""
    codebook: Annotated[int, Field(ge=2)] = 256
    """residual: centroids per level."""
    seed: Seed = 0
    """Seed of k-means."""

    @property
    def is_clustered(self) -> bool:
        """Whether docids of this kind are made of vectors (section `embeddings`)."""
        return self.kind not in ("atomic", "naive")
