"""The docids on disk, the stage folder `docids`.

codes.npy          (documents, length): the docid tokens of each document, padded at the end with -1, in the smallest
                   signed integer type that holds them
vocabulary.json    the kind of docids and their tokens (see `Vocabulary`)
trie.*.npy         the trie over the codes (see dsi.docids.trie); none for atomic docids, whose only token is the row
                   number of the document
other files        what assigned the docids (see dsi.docids.kinds)
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from dsi.artifacts import write_json
from dsi.docids.trie import Trie, build_trie

Codes = NDArray[np.integer[Any]]
"""The docid tokens of each document, (documents, length), padded at the end with -1."""


@dataclass(frozen=True)
class Vocabulary:
    """The docid tokens, numbered from 0. They are not part of the text vocabulary, which never grows."""

    kind: str
    tokens: int
    """The number of docid tokens."""
    length: int
    """The number of tokens in the longest docid."""
    end: int | None = None
    """The token that ends every docid, None if there is no such token."""
    strings: list[str] = field(default_factory=list)
    """The string that each token stands for; empty if tokens are mere numbers."""
    text_token_ids: list[int] = field(default_factory=list)
    """The text token whose embedding each docid token starts from, -1 for none; empty if no docid token has one."""
    sizes: list[int] = field(default_factory=list)
    """The number of tokens of each position if no two positions share a token; else empty."""
    later: list[list[int]] = field(default_factory=list)
    """The position and the number there of each token that later documents needed beyond `sizes`, in token order."""
    largest_leaf: int = 0
    """The most documents that one leaf cluster had before later ones came; 0 until then, and without clusters."""

    @cached_property
    def _later(self) -> dict[tuple[int, ...], int]:
        return {tuple(pair): sum(self.sizes) + place for place, pair in enumerate(self.later)}

    def token(self, position: int, number: int) -> int:
        """The token of a number, counted from 0, on a position of a docid; -1 if there is none yet.

        >>> vocabulary = Vocabulary("semantic_2d", tokens=5, length=2, sizes=[2, 3])
        >>> vocabulary.token(1, 2), vocabulary.token(1, 3), vocabulary.with_numbers([(1, 3)]).token(1, 3)
        (4, -1, 5)
        """
        if not self.sizes:
            return number if number < self.tokens else -1
        if position < len(self.sizes) and number < self.sizes[position]:
            return sum(self.sizes[:position]) + number
        return self._later.get((position, number), -1)

    def with_numbers(self, pairs: Sequence[tuple[int, int]]) -> Self:
        """The same tokens, then one for each pair of a position and a number that has none yet."""
        later = [list(pair) for pair in pairs] if self.sizes else []
        return replace(self, tokens=self.tokens + len(pairs), later=[*self.later, *later])


@dataclass(frozen=True, eq=False)
class Docids:
    """Read access to the stage folder `docids`."""

    folder: Path

    @cached_property
    def vocabulary(self) -> Vocabulary:
        return Vocabulary(**json.loads((self.folder / "vocabulary.json").read_text(encoding="utf-8")))

    @cached_property
    def codes(self) -> NDArray[np.signedinteger[Any]]:
        """The memory-mapped codes, (documents, length), padded at the end with -1."""
        return np.load(self.folder / "codes.npy", mmap_mode="r")

    @cached_property
    def trie(self) -> Trie:
        return Trie.load(self.folder)

    @cached_property
    def paths(self) -> NDArray[np.int32]:
        """The trie node that each token of each document leads to, (documents, length), padded with -1."""
        return self.trie.paths(self.codes)

    @property
    def is_atomic(self) -> bool:
        return self.vocabulary.kind == "atomic"


@dataclass(frozen=True, eq=False)
class DocidsInMemory(Docids):
    """Docids that are in no folder yet, as those with later documents; `folder` is that of the docids before."""

    given_vocabulary: Vocabulary
    given_codes: Codes
    """The docid tokens of each document, (documents, length), padded at the end with -1."""

    @cached_property
    def vocabulary(self) -> Vocabulary:
        return self.given_vocabulary

    @cached_property
    def codes(self) -> NDArray[np.signedinteger[Any]]:
        return self.given_codes.astype(smallest_signed(self.vocabulary.tokens - 1))

    @cached_property
    def trie(self) -> Trie:
        return build_trie(self.codes)


def write_docids(folder: Path, vocabulary: Vocabulary, codes: Codes) -> int:
    """Write codes, vocabulary and trie to the stage folder `folder`; return the number of distinct docids."""
    codes = codes.astype(smallest_signed(vocabulary.tokens - 1))
    np.save(folder / "codes.npy", codes)
    write_json(folder / "vocabulary.json", asdict(vocabulary))
    if vocabulary.kind == "atomic":
        return len(codes)
    trie = build_trie(codes)
    trie.save(folder)
    return len(trie.leaf_start) - 1 if len(trie.leaf_start) else len(codes)


def smallest_signed(largest: int) -> np.dtype[np.signedinteger[Any]]:
    """The smallest integer type for numbers from -1 to `largest`.

    >>> str(smallest_signed(127)), str(smallest_signed(128))
    ('int8', 'int16')
    """
    return np.dtype(np.min_scalar_type(-largest - 1))
