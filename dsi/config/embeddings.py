"""Section `embeddings`: a vector for every document."""

from typing import Literal, Self

from pydantic import model_validator

from dsi.config.scalars import FilePath, PathOrName
from dsi.config.section import Section, Seed


class EmbeddingsConfig(Section):
    """One vector per document: for all kinds of docids but atomic and naive, and for the baseline dense if its model
    makes them."""

    kind: Literal["tfidf", "document_states", "sentence_transformers", "file"] = "tfidf"
    """tfidf: TF-IDF and truncated SVD. document_states: the decoder state of the untrained model (section model) for
    each document. sentence_transformers: a sentence-transformers model. file: a file of vectors."""
    model: PathOrName = "sentence-transformers/sentence-t5-base"
    """sentence_transformers: the model, a name on the Hugging Face hub or a folder."""
    file: FilePath | None = None
    """file: a .npy file of floating-point numbers, one row per document in corpus order; it may exceed the memory."""
    seed: Seed = 0
    """Seed of the truncated SVD and of the untrained model."""

    @property
    def unused(self) -> set[str]:
        """The keys that other kinds use."""
        of_kind = {"model": "sentence_transformers", "file": "file"}
        return {key for key, kind in of_kind.items() if kind != self.kind}

    @model_validator(mode="after")
    def _file_is_named(self) -> Self:
        if self.kind == "file" and self.file is None:
            raise ValueError("embeddings.file is needed with embeddings.kind=file")
        return self
