"""Section `docids`: the identifiers."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from dsi.config.section import Count, Section, Seed


class DocidsConfig(Section):
    kind: Literal["atomic", "naive", "semantic", "semantic_2d", "residual"] = "atomic"
    """atomic: one token a document; naive: the collection's own id as a string; semantic: the path through a tree of
    k-means clusters, the same k tokens on every level; semantic_2d: the same with tokens of its own on every level;
    residual: residual quantisation, as RIPOR and TIGER."""
    alphabet: Literal["characters", "tokens"] = "characters"
    """naive: one docid token a character of the id, or the tokens of the text tokenizer (as the paper)."""
    clusters: Annotated[int, Field(ge=2)] = 10
    """semantic, semantic_2d: k, children of an inner node."""
    leaf_size: Count = 100
    """semantic, semantic_2d: c, the largest cluster that is not split further."""
    levels: Count = 3
    """residual: codes a document (RIPOR: 32, TIGER: 3), and one more for documents whose codes are the same."""
    codebook: Annotated[int, Field(ge=2)] = 256
    """residual: centroids of a level."""
    seed: Seed = 0

    @property
    def is_clustered(self) -> bool:
        """Whether this kind is made of vectors (section `embeddings`)."""
        return self.kind not in ("atomic", "naive")
