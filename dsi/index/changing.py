"""What changes a saved index: documents deleted, the index written anew, an earlier generation restored.

Each publishes a generation (see dsi.index.generations); adding is dsi.index.adding, training again
dsi.index.consolidating.
"""

import shutil
from collections.abc import Iterable
from typing import Any

import numpy as np

from dsi.errors import DsiError
from dsi.index.compacting import write_living
from dsi.index.generations import (
    BASE,
    DELETED,
    MADE_OF,
    Claim,
    Generation,
    generation_folder,
    read_generation,
)
from dsi.index.opened import Opened, write_deleted
from dsi.index.parts import base_hash
from dsi.index.saved import open_at
from dsi.index.saving import describe
from dsi.runtime.printable import printable


def delete(index: Opened, claim: Claim, doc_ids: Iterable[str]) -> Generation:
    """Publish a generation without the documents with these ids.

    Raises:
        DsiError: there is no document with one of the ids, or none at all would be left.
    """
    given = list(doc_ids)
    if strange := [each for each in given if not isinstance(each, str)]:
        raise DsiError(f"doc_ids: the id of a document is a string, not {type(strange[0]).__name__} {strange[0]!r:.60}")
    wanted = set(given)
    try:
        there = index.corpus.doc_indexes(wanted)
    except UnicodeEncodeError as error:
        raise DsiError(f"doc_ids: {printable(error.object):.60} has half a surrogate pair, which no id has") from None
    if missing := sorted(wanted - there.keys()):
        some = ", ".join(f"{printable(each)!r:.60}" for each in missing[:5])
        raise DsiError(f"{index.parts.folder}: there is no document {some}; nothing was deleted")
    if not wanted:
        raise DsiError("there is no document to delete")
    deleted = np.union1d(index.deleted, np.fromiter(there.values(), dtype=np.int64))
    if len(deleted) == len(index.corpus):
        raise DsiError(f"{index.parts.folder}: no document would be left, and an index has at least one")
    write_deleted(claim.folder, deleted)
    made_of = {"rows": len(index.corpus), "deleted": len(deleted), "base_hash": index.parts.base_hash}
    return claim.publish("delete", {"deleted": len(there)}, **made_of)


def compact(index: Opened, claim: Claim) -> Generation:
    """Publish a generation that is written anew, without its deleted documents.

    Raises:
        DsiError: as `write_living`.
    """
    folder = claim.folder / BASE
    write_living(index, folder)
    files = describe(index, folder)
    return claim.publish(
        "compact",
        {"documents": len(index), "removed": len(index.deleted)},
        base=claim.number,
        segments=(),
        docids=0,
        rows=len(index),
        deleted=0,
        base_hash=base_hash(files),
    )


def restore(index: Opened, claim: Claim, number: int) -> Generation:
    """Publish a generation that is as an earlier one was; 0 is the index as it was saved.

    Raises:
        DsiError: it is not there any more, or is damaged.
    """
    folder = index.parts.folder
    earlier = read_generation(folder, number) if number else None
    if not (earlier and earlier.base) and not (folder / "model").is_dir():
        raise DsiError(f"{folder}: generation 0 was pruned; `dsi log` shows the generations that are there")
    parts = open_at(folder, earlier, {})
    if earlier is None:
        assert parts.saved is not None
        fields: dict[str, Any] = {"base": 0, "segments": (), "docids": 0, "rows": parts.saved["documents"]}
        return claim.publish("restore", {"restored": 0}, base_hash=parts.base_hash, deleted=0, **fields)
    if earlier.deleted:
        shutil.copyfile(generation_folder(folder, number) / DELETED, claim.folder / DELETED)
    fields = {name: getattr(earlier, name) for name in MADE_OF}
    return claim.publish("restore", {"restored": number}, **fields)
