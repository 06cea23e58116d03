"""Section `embeddings`: a vector for every document."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import model_validator

from dsi.config.section import Section, Seed


class EmbeddingsConfig(Section):
    """A vector a document, which all docid kinds but atomic and naive cluster. The baseline `dense` uses them too where
    they are its model's."""

    kind: Literal["tfidf", "document_states", "sentence_transformers", "file"] = "tfidf"
    """TF-IDF + truncated SVD, the untrained model's own document states (section `model`), a sentence-transformers
    model, or a file."""
    model: str = "sentence-transformers/sentence-t5-base"
    """sentence_transformers: name or folder of the model."""
    file: str | None = None
    """file: a .npy file of floating-point numbers, a row a document in corpus order; it may be larger than memory."""
    seed: Seed = 0

    @model_validator(mode="after")
    def _file_is_named(self) -> Self:
        if self.kind == "file" and self.file is None:
            raise ValueError("embeddings.file is needed with embeddings.kind=file")
        return self
