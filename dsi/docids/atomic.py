"""Atomic docids: one token per document, its row number (Tay et al. 2022, section 3.2)."""

from pathlib import Path
from typing import Self

import numpy as np

from dsi.config import DocidsConfig
from dsi.corpus.store import Corpus
from dsi.corpus.vectors import Vectors
from dsi.docids.kind import NewDocument
from dsi.docids.store import Codes, Vocabulary


class Atomic:
    """One token per document: its row number."""

    @classmethod
    def assign(
        cls, config: DocidsConfig, corpus: Corpus, vectors: Vectors | None, tokenizer_folder: Path | None
    ) -> tuple[Self, Vocabulary, Codes]:
        codes = np.arange(len(corpus), dtype=np.int32)[:, None]
        return cls(), Vocabulary("atomic", tokens=len(corpus), length=1), codes

    def way(self, document: NewDocument) -> list[int]:
        return [document.doc_index]

    def save(self, folder: Path) -> None:
        """Write nothing: nothing is learnt from the corpus."""

    @classmethod
    def load(cls, folder: Path, vocabulary: Vocabulary) -> Self:
        return cls()
