"""The interface through which `ingest` reads a source of documents, queries and judgements."""

import re
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple, Protocol

from dsi.config import USUAL_SPLITS
from dsi.corpus.store import Document, Qrel, Query
from dsi.errors import DsiError


class Where(NamedTuple):
    """The place of a record in a source, as error messages name it.

    >>> str(Where("collection.tsv", 3))
    'collection.tsv, line 3'
    """

    name: str
    """File or dataset."""
    number: int
    """Number of the line or record, from 1."""
    unit: str = "line"

    def __str__(self) -> str:
        return f"{self.name}, {self.unit} {self.number}"


class Source(Protocol):
    """A collection as it was published. Every method starts from the beginning whenever it is called."""

    @property
    def splits(self) -> Collection[str]:
        """Our names of the splits to read."""

    @property
    def files(self) -> Mapping[str, Path]:
        """The files on disk that are read, by their names in the folder `corpus.path`, which are the same in any copy
        of it; "." is an archive given as `corpus.path` itself. Empty for a source that is not read from files."""

    def documents(self) -> Iterator[tuple[Where, Document]]:
        """All documents with their places, always in the same order."""

    def queries(self, split: str) -> Iterator[tuple[Where, Query]]:
        """The queries of a split with their places; they need not have judgements."""

    def qrels(self, split: str) -> Iterator[tuple[Where, Qrel]]:
        """The relevance judgements of a split with their places."""


def choose_splits(named: Mapping[str, str], parts: Callable[[str], Mapping[str, bool]]) -> dict[str, str]:
    """The splits to read, our name -> the source's: those `named`, and of train, dev and test those that are there.

    Args:
        named: the key `corpus.splits` of the configuration.
        parts: gives for a split name of the source all that the split needs (e.g. file names), and whether it is there.

    Raises:
        DsiError: a named split is not there, or any split is there in part only.
    """
    chosen = {}
    for split, theirs in ({usual: usual for usual in USUAL_SPLITS} | dict(named)).items():
        if not re.fullmatch(r"[\w-]+", split):
            raise DsiError(f"corpus.splits: {split!r} cannot be a split name; use letters, digits, - and _")
        present = parts(theirs)
        missing = [part for part, is_there in present.items() if not is_there]
        if missing and split in named:
            raise DsiError(f"corpus.splits.{split}: there is no {missing[0]}")
        if len(missing) == len(present):
            continue
        if missing:
            found = next(part for part in present if part not in missing)
            raise DsiError(
                f"there is {found} but no {missing[0]}; add it, or say under corpus.splits what split {split} is"
                f" called there, e.g. {{{split}: {split}.small}}"
            )
        chosen[split] = theirs
    return chosen
