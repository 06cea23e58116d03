"""The kinds of docids.

A kind does two things: it assigns a docid to every document of a corpus, and it finds the way of one document that
comes later. What it has learnt from the corpus is kept in the stage folder. A new kind is a class here, or in a file of
its own, and a line in `KINDS`.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from dsi.artifacts import write_json
from dsi.config import DocidsConfig
from dsi.corpus.store import Corpus
from dsi.corpus.vectors import Vectors
from dsi.docids.naive import END, Alphabet, letters, spell
from dsi.docids.residual import Codebooks, residual_codes
from dsi.docids.semantic import ClusterTree, tree_codes
from dsi.docids.store import Codes, Docids, Vocabulary

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


class Newcomer(NamedTuple):
    """A document that comes later."""

    doc_index: int
    """Its row number, behind those of the corpus."""
    doc_id: str
    vector: NDArray[np.floating[Any]] | None = None
    """(width,) as those of the corpus were made; for the kinds that cluster."""


class Kind(Protocol):
    """A kind of docids, as it has been assigned to a corpus."""

    @classmethod
    def assign(
        cls, config: DocidsConfig, corpus: Corpus, vectors: Vectors | None, tokenizer_folder: Path | None
    ) -> tuple[Self, Vocabulary, Codes]:
        """The kind, its docid vocabulary and the docid of every document: (documents, length) tokens, padded with -1.

        `vectors` are given to the kinds that cluster, the folder of the text tokenizer to naive docids.
        """

    def way(self, newcomer: Newcomer) -> list[int]:
        """The docid tokens of a document that comes later, as far as itself decides them: where several documents
        share this beginning, a number among them follows."""

    def save(self, folder: Path) -> None:
        """Write what `way` needs into the stage folder."""

    @classmethod
    def load(cls, folder: Path, vocabulary: Vocabulary) -> Self:
        """What `save` wrote; arrays are memory-mapped."""


class Atomic:
    """One token a document: its row number."""

    @classmethod
    def assign(
        cls, config: DocidsConfig, corpus: Corpus, vectors: Vectors | None, tokenizer_folder: Path | None
    ) -> tuple[Self, Vocabulary, Codes]:
        codes = np.arange(len(corpus), dtype=np.int32)[:, None]
        return cls(), Vocabulary("atomic", tokens=len(corpus), length=1), codes

    def way(self, newcomer: Newcomer) -> list[int]:
        return [newcomer.doc_index]

    def save(self, folder: Path) -> None:
        """Nothing is learnt from the corpus."""

    @classmethod
    def load(cls, folder: Path, vocabulary: Vocabulary) -> Self:
        return cls()


class Naive:
    """The collection's own id, spelled out; the text tokenizer is kept with it, which may have to take an id apart."""

    def __init__(self, strings: Sequence[str], alphabet: Alphabet, tokenizer: PreTrainedTokenizerBase) -> None:
        self.strings, self.alphabet, self.tokenizer = strings, alphabet, tokenizer

    @classmethod
    def assign(
        cls, config: DocidsConfig, corpus: Corpus, vectors: Vectors | None, tokenizer_folder: Path | None
    ) -> tuple[Self, Vocabulary, Codes]:
        assert tokenizer_folder is not None
        tokenizer = _tokenizer(tokenizer_folder)
        strings, token_ids, codes = spell((document.doc_id for document in corpus), config.alphabet, tokenizer)
        vocabulary = Vocabulary("naive", len(strings), codes.shape[1], END, strings, token_ids)
        return cls(strings, config.alphabet, tokenizer), vocabulary, codes

    def way(self, newcomer: Newcomer) -> list[int]:
        """Raises ValueError where the id has a letter that no id of the corpus has."""
        own = letters(newcomer.doc_id, self.alphabet, self.tokenizer)
        return [*(self.strings.index(letter, END + 1) for letter in own), END]

    def save(self, folder: Path) -> None:
        write_json(folder / "naive.json", {"alphabet": self.alphabet})
        self.tokenizer.save_pretrained(folder / "tokenizer")

    @classmethod
    def load(cls, folder: Path, vocabulary: Vocabulary) -> Self:
        alphabet = json.loads((folder / "naive.json").read_text(encoding="utf-8"))["alphabet"]
        return cls(vocabulary.strings, alphabet, _tokenizer(folder / "tokenizer"))


class Semantic:
    """The path through a tree of k-means clusters, the same tokens on every level."""

    own_tokens = False
    """Whether every level has tokens of its own."""

    def __init__(self, tree: ClusterTree, sizes: Sequence[int]) -> None:
        self.tree, self.sizes = tree, sizes

    @classmethod
    def assign(
        cls, config: DocidsConfig, corpus: Corpus, vectors: Vectors | None, tokenizer_folder: Path | None
    ) -> tuple[Self, Vocabulary, Codes]:
        assert vectors is not None
        values, tree = tree_codes(vectors, config.clusters, config.leaf_size, config.seed)
        codes, vocabulary = _numbered(config.kind, values, cls.own_tokens)
        return cls(tree, vocabulary.sizes), vocabulary, codes

    def way(self, newcomer: Newcomer) -> list[int]:
        assert newcomer.vector is not None
        return _shifted(self.tree.way(newcomer.vector), self.sizes)

    def save(self, folder: Path) -> None:
        self.tree.save(folder)

    @classmethod
    def load(cls, folder: Path, vocabulary: Vocabulary) -> Self:
        return cls(ClusterTree.load(folder), vocabulary.sizes)


class Semantic2d(Semantic):
    """The same with tokens of its own on every level (NCI, Wang et al. 2022; Pradeep et al. 2023)."""

    own_tokens = True


class Residual:
    """Residual quantisation, with tokens of its own on every level."""

    def __init__(self, codebooks: Codebooks, sizes: Sequence[int]) -> None:
        self.codebooks, self.sizes = codebooks, sizes

    @classmethod
    def assign(
        cls, config: DocidsConfig, corpus: Corpus, vectors: Vectors | None, tokenizer_folder: Path | None
    ) -> tuple[Self, Vocabulary, Codes]:
        assert vectors is not None
        values, codebooks = residual_codes(vectors, config.levels, config.codebook, config.seed)
        codes, vocabulary = _numbered(config.kind, values, own_tokens=True)
        return cls(codebooks, vocabulary.sizes), vocabulary, codes

    def way(self, newcomer: Newcomer) -> list[int]:
        assert newcomer.vector is not None
        return _shifted(self.codebooks.way(newcomer.vector), self.sizes)

    def save(self, folder: Path) -> None:
        self.codebooks.save(folder)

    @classmethod
    def load(cls, folder: Path, vocabulary: Vocabulary) -> Self:
        return cls(Codebooks.load(folder), vocabulary.sizes)


KINDS: dict[str, type[Kind]] = {
    "atomic": Atomic,
    "naive": Naive,
    "semantic": Semantic,
    "semantic_2d": Semantic2d,
    "residual": Residual,
}


def opened(folder: Path) -> Kind:
    """The kind whose docids a stage folder holds."""
    vocabulary = Docids(folder).vocabulary
    return KINDS[vocabulary.kind].load(folder, vocabulary)


def by_position(codes: Codes) -> Codes:
    """A token for each pair of position and value, where `codes` have one for a value whatever its position.

    >>> by_position(np.array([[0, 1], [1, -1]])).tolist()
    [[0, 3], [1, -1]]
    """
    sizes = codes.max(axis=0) + 1
    return np.where(codes < 0, -1, codes + np.cumsum(sizes) - sizes)


def _tokenizer(folder: Path) -> PreTrainedTokenizerBase:
    from transformers import AutoTokenizer  # takes seconds to import, and naive docids alone need it

    return AutoTokenizer.from_pretrained(folder)


def _numbered(kind: str, values: Codes, own_tokens: bool) -> tuple[Codes, Vocabulary]:
    """Docid tokens for the values of each position, and their vocabulary."""
    sizes = (values.max(axis=0) + 1).tolist() if own_tokens else []
    codes = by_position(values) if sizes else values
    return codes, Vocabulary(kind, int(codes.max()) + 1, codes.shape[1], sizes=sizes)


def _shifted(values: Sequence[int], sizes: Sequence[int]) -> list[int]:
    """The tokens of values by position; `sizes` are the tokens of each position, or nothing where they share them."""
    return [value + sum(sizes[:position]) for position, value in enumerate(values)]
