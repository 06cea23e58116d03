"""What a kind of docids does: it assigns one to every document of a corpus, and finds the one of a new document."""

from pathlib import Path
from typing import Any, NamedTuple, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from dsi.config import DocidsConfig
from dsi.corpus.store import Corpus
from dsi.corpus.vectors import Vectors
from dsi.docids.store import Codes, Vocabulary


class NewDocument(NamedTuple):
    """A document that is added to the corpus later."""

    doc_index: int
    """The row number of the document, above those of the corpus."""
    doc_id: str
    vector: NDArray[np.floating[Any]] | None = None
    """The vector of the document, (width,), made as those of the corpus; needed by the kinds that cluster."""


class Kind(Protocol):
    """A kind of docids that has been assigned to a corpus."""

    @classmethod
    def assign(
        cls, config: DocidsConfig, corpus: Corpus, vectors: Vectors | None, tokenizer_folder: Path | None
    ) -> tuple[Self, Vocabulary, Codes]:
        """Assign docids to a corpus; kinds that cluster need `vectors`, naive docids the folder of the text tokenizer.

        Returns:
            The kind, its docid vocabulary, and the docids: (documents, length) tokens, padded with -1.
        """

    def way(self, document: NewDocument) -> list[int]:
        """The docid tokens that the content or id of a new document decides. A number that tells apart the documents
        with the same tokens may have to follow."""

    def save(self, folder: Path) -> None:
        """Write what `way` needs into the stage folder `folder`."""

    @classmethod
    def load(cls, folder: Path, vocabulary: Vocabulary) -> Self:
        """The kind that `save` wrote; arrays are memory-mapped."""
