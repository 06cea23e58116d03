"""The `docids` stage folder.

codes.npy          (documents, length) int32: each document's docid tokens, padded at the end with -1
vocabulary.json    kind, number of docid tokens, and per token its string and the text piece it resembles
trie.*.npy         the trie over the codes (see dsi.docids.trie); none for atomic docids, whose only token is
                   the document's row number
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


@dataclass(frozen=True)
class Vocabulary:
    """The docid tokens, numbered from 0. The text vocabulary is another one and never grows."""

    kind: str
    tokens: int
    """Number of docid tokens."""
    length: int
    """Tokens of the longest docid."""
    strings: list[str] = field(default_factory=list)
    """What each token stands for; empty where its number says it all."""
    pieces: list[int] = field(default_factory=list)
    """Text piece whose embedding each token starts from, -1 for none; empty if none has one."""


@dataclass(frozen=True)
class Docids:
    """Read access to the `docids` stage folder."""

    folder: Path

    @cached_property
    def vocabulary(self) -> Vocabulary:
        return Vocabulary(**json.loads((self.folder / "vocabulary.json").read_text(encoding="utf-8")))

    @cached_property
    def codes(self) -> NDArray[np.int32]:
        codes: NDArray[np.int32] = np.load(self.folder / "codes.npy", mmap_mode="r")
        return codes

    @cached_property
    def trie(self) -> Trie:
        return Trie.load(self.folder)

    @property
    def is_atomic(self) -> bool:
        return self.vocabulary.kind == "atomic"


def write_docids(folder: Path, vocabulary: Vocabulary, codes: NDArray[np.integer[Any]]) -> int:
    """Write a stage folder and return the number of different docids."""
    np.save(folder / "codes.npy", codes.astype(np.int32))
    write_json(folder / "vocabulary.json", asdict(vocabulary))
    if vocabulary.kind == "atomic":
        return len(codes)
    trie = build_trie(codes)
    trie.save(folder)
    return len(trie.leaf_start) - 1
