"""The `docids` stage folder.

codes.npy          (documents, length): each document's docid tokens, padded at the end with -1, in the smallest signed
                   integer type that holds them
vocabulary.json    kind, number of docid tokens, and per token its string and the text token it resembles
trie.*.npy         the trie over the codes (see dsi.docids.trie); none for atomic docids, whose only token is
                   the document's row number
other files        what assigned them (see dsi.docids.kinds)
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dsi.artifacts import write_json
from dsi.docids.trie import Trie, build_trie

Codes = NDArray[np.integer[Any]]
"""(documents, length) docid tokens, padded at the end with -1."""


@dataclass(frozen=True)
class Vocabulary:
    """The docid tokens, numbered from 0. The text vocabulary is another one and never grows."""

    kind: str
    tokens: int
    """Number of docid tokens."""
    length: int
    """Tokens of the longest docid."""
    end: int | None = None
    """Token that ends every docid, if one does."""
    strings: list[str] = field(default_factory=list)
    """What each token stands for; empty where its number says it all."""
    text_token_ids: list[int] = field(default_factory=list)
    """Text token whose embedding each token starts from, -1 for none; empty if none has one."""
    sizes: list[int] = field(default_factory=list)
    """Tokens of each position, where no position shares one with another; else empty."""


@dataclass(frozen=True)
class Docids:
    """Read access to the `docids` stage folder."""

    folder: Path

    @cached_property
    def vocabulary(self) -> Vocabulary:
        return Vocabulary(**json.loads((self.folder / "vocabulary.json").read_text(encoding="utf-8")))

    @cached_property
    def codes(self) -> NDArray[np.signedinteger[Any]]:
        codes: NDArray[np.signedinteger[Any]] = np.load(self.folder / "codes.npy", mmap_mode="r")
        return codes

    @cached_property
    def trie(self) -> Trie:
        return Trie.load(self.folder)

    @cached_property
    def paths(self) -> NDArray[np.int32]:
        """(documents, length) trie nodes that the codes lead to."""
        return self.trie.paths(self.codes)

    @property
    def is_atomic(self) -> bool:
        return self.vocabulary.kind == "atomic"


def write_docids(folder: Path, vocabulary: Vocabulary, codes: Codes) -> int:
    """Write a stage folder and return the number of different docids."""
    codes = codes.astype(smallest_signed(vocabulary.tokens - 1))
    np.save(folder / "codes.npy", codes)
    write_json(folder / "vocabulary.json", asdict(vocabulary))
    if vocabulary.kind == "atomic":
        return len(codes)
    trie = build_trie(codes)
    trie.save(folder)
    return len(trie.leaf_start) - 1 if len(trie.leaf_start) else len(codes)


def smallest_signed(largest: int) -> np.dtype[np.signedinteger[Any]]:
    """Type for numbers from -1 to `largest`."""
    return np.dtype(np.min_scalar_type(-largest - 1))
