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
    RECORD,
    Claim,
    Generation,
    generation_folder,
    read_generation,
)
from dsi.index.opened import Opened, write_deleted
from dsi.index.parts import model_hash
from dsi.index.saved import read_config
from dsi.index.saving import describe
from dsi.runtime.printable import printable


def delete(index: Opened, claim: Claim, doc_ids: Iterable[str]) -> Generation:
    """Publish a generation without the documents with these ids.

    Raises:
        DsiError: there is no document with one of the ids, or none at all would be left.
    """
    wanted = set(doc_ids)
    there = index.corpus.doc_indexes(wanted)
    if missing := sorted(wanted - there.keys()):
        some = ", ".join(map(printable, missing[:5]))
        raise DsiError(f"{index.parts.folder}: there is no document {some:.200}; nothing was deleted")
    if not wanted:
        raise DsiError("there is no document to delete")
    deleted = np.union1d(index.deleted, np.fromiter(there.values(), dtype=np.int64))
    if len(deleted) == len(index.corpus):
        raise DsiError(f"{index.parts.folder}: no document would be left, and an index has at least one")
    write_deleted(claim.folder, deleted)
    made_of = {"rows": len(index.corpus), "deleted": len(deleted), "model": index.parts.model}
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
        model=model_hash(files),
    )


def restore(claim: Claim, number: int) -> Generation:
    """Publish a generation that is as an earlier one was; 0 is the index as it was saved.

    Raises:
        DsiError: it is not there any more.
    """
    folder, fields = claim.index_folder, dict[str, Any]()
    if number == 0:
        if not (folder / "model").is_dir():
            raise DsiError(f"{folder}: generation 0 was pruned; `dsi log` shows the generations that are there")
        saved = read_config(folder)
        fields = {"base": 0, "segments": (), "docids": 0, "rows": saved["documents"], "deleted": 0}
        return claim.publish("restore", {"restored": 0}, model=model_hash(saved["files"]), **fields)
    earlier = read_generation(folder, number)
    if gone := [each for each in earlier.reads if not (generation_folder(folder, each) / RECORD).is_file()]:
        raise DsiError(f"{folder}: generation {number} needs generation {gone[0]}, which was pruned")
    if earlier.deleted:
        shutil.copyfile(generation_folder(folder, number) / DELETED, claim.folder / DELETED)
    fields = {name: getattr(earlier, name) for name in MADE_OF}
    return claim.publish("restore", {"restored": number}, **fields)
