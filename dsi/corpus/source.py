"""What a source of documents, queries and judgements offers to `ingest`."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple, Protocol

from dsi.config import USUAL_SPLITS
from dsi.corpus.store import Document, Qrel, Query
from dsi.errors import DsiError


class Where(NamedTuple):
    """A place in a source, as error messages name it."""

    name: str
    number: int
    unit: str = "line"

    def __str__(self) -> str:
        return f"{self.name}, {self.unit} {self.number}"


class Source(Protocol):
    """A collection as it was published. Every method may be called again and then starts anew."""

    @property
    def splits(self) -> list[str]:
        """Our names of the splits to read."""

    def documents(self) -> Iterator[tuple[Where, Document]]: ...

    def queries(self, split: str) -> Iterator[tuple[Where, Query]]: ...

    def qrels(self, split: str) -> Iterator[tuple[Where, Qrel]]: ...


def choose_splits(named: Mapping[str, str], parts: Callable[[str], Mapping[str, bool]]) -> dict[str, str]:
    """Our split name -> the source's: the splits `named` in the configuration and the usual ones that the source has.

    Args:
        named: `corpus.splits`.
        parts: for a split name of the source, all that the split needs (file names, say), and whether it is there.

    Raises:
        DsiError: a named split is not there, or any split is there in part only.
    """
    chosen = {}
    for split, theirs in ({usual: usual for usual in USUAL_SPLITS} | dict(named)).items():
        if not re.fullmatch(r"[\w-]+", split):
            raise DsiError(f"corpus.splits: {split!r} cannot be a split name; use letters, digits, - and _")
        present = parts(theirs)
        if split not in named and not any(present.values()):
            continue
        missing = [part for part, is_there in present.items() if not is_there]
        if missing and split in named:
            raise DsiError(f"corpus.splits.{split}: there is no {missing[0]}")
        if missing:
            found = next(part for part, is_there in present.items() if is_there)
            raise DsiError(
                f"there is {found} but no {missing[0]}; add it, or say under corpus.splits what split {split} is"
                f" called there, e.g. {{{split}: {split}.small}}"
            )
        chosen[split] = theirs
    return chosen
