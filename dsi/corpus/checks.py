"""Checks of the records of every source: ids without white space, valid Unicode, no id used twice."""

from __future__ import annotations

from array import array
from collections.abc import Iterable
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

from dsi.corpus.source import Where
from dsi.errors import DsiError

MAX_SUSPECTS = 1_000
INVISIBLE = {"\0": "NUL, which ends a string in other programs", "\ufeff": "a byte order mark"}
"""Characters of ids that nobody sees, so that equal ids look different elsewhere."""


def id_hash(identifier: str, seed: int = 0) -> int:
    """A 64-bit hash of an id, the same in every process and on every machine."""
    return int.from_bytes(blake2b(f"{seed} {identifier}".encode(), digest_size=8).digest(), "big")


def check_text(where: Where, what: str, identifier: str, *texts: str) -> None:
    """Refuse ids that a TREC file cannot hold and strings that are not valid Unicode.

    Raises:
        DsiError: the id is empty or contains white space, NUL or a byte order mark, or a JSON escape has left half of a
            surrogate pair.
    """
    if not identifier:
        raise DsiError(f"{where}: the {what} id is empty; give it one")
    if identifier.split() != [identifier]:
        raise DsiError(
            f"{where}: {what} id {identifier[:60]!r} contains white space, which TREC files cannot hold; rename it"
        )
    for character, name in INVISIBLE.items():
        if character in identifier:
            raise DsiError(f"{where}: {what} id {identifier[:60]!r} contains {name}; remove it")
    check_unicode(where, f"{what} {identifier[:60]!r}", identifier, *texts)


def check_unicode(where: Where, what: str, *texts: str) -> None:
    """Refuse strings in which a JSON escape has left half of a surrogate pair, with a DsiError."""
    for text in texts:
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise DsiError(
                f"{where}: {what} contains {text[error.start]!r}, half of a surrogate pair; correct the text"
            ) from None


def check_unique(
    what: str, hashes: NDArray[np.uint64] | array[int], ids: Iterable[tuple[Where, str]], seed: int
) -> None:
    """Refuse an id that is used twice. Memory holds only a hash of each id, so that large collections fit.

    Args:
        what: "document" or "query", for the message.
        hashes: the `id_hash` of every id, with `seed`.
        ids: all ids with their places, which are read only if two hashes are equal.
        seed: the seed of the hashes.

    Raises:
        DsiError: an id occurs twice.
    """
    ordered = np.sort(np.asarray(hashes, dtype=np.uint64))
    # Different ids have equal hashes in fewer than one of a thousand collections, so the first suspects are enough.
    suspects = set(ordered[1:][ordered[1:] == ordered[:-1]][:MAX_SUSPECTS].tolist())
    if not suspects:
        return
    first: dict[str, Where] = {}
    for where, identifier in ids:
        if id_hash(identifier, seed) in suspects:
            if identifier in first:
                raise DsiError(
                    f"{where}: {what} id {identifier!r} is used already: {first[identifier]}; give one another id or"
                    " remove it"
                )
            first[identifier] = where
