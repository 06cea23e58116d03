"""The docids of the documents added to an index since it was trained, on disk: the folder `docids` of a generation.

codes.npy          (documents added, length): the docids of all documents added since, padded with -1
moved.npy          (documents, 1 + length): row number and docid of trained documents whose leaf was divided since
vocabulary.json    the docid tokens that there are since (see dsi.docids.store)
other files        what assigns docids since, as in the stage folder `docids`
"""

from dataclasses import asdict
from pathlib import Path

import numpy as np

from dsi.artifacts import write_json
from dsi.docids.kind import Kind
from dsi.docids.kinds import KINDS
from dsi.docids.later import joined
from dsi.docids.store import Docids, DocidsInMemory, Vocabulary
from dsi.runtime.checkpoint_files import read_object

FOLDER = "docids"
CODES, MOVED, VOCABULARY = "codes.npy", "moved.npy", "vocabulary.json"


def write_later_docids(folder: Path, trained: Docids, now: Docids, kind: Kind) -> None:
    """Write the docids of all documents `now`, as far as they are not those of the `trained` ones, to a new folder."""
    folder.mkdir()
    known, length = len(trained.codes), now.codes.shape[1]
    before = np.full((known, length), -1, dtype=now.codes.dtype)
    before[:, : trained.codes.shape[1]] = trained.codes
    moved = np.flatnonzero((before != now.codes[:known]).any(axis=1))
    np.save(folder / CODES, now.codes[known:])
    np.save(folder / MOVED, np.concatenate([moved[:, None], now.codes[moved].astype(np.int64)], axis=1))
    write_json(folder / VOCABULARY, asdict(now.vocabulary))
    kind.save(folder)


def read_later_docids(folder: Path, trained: Docids) -> tuple[DocidsInMemory, Kind]:
    """The docids of all documents, and what assigns them."""
    vocabulary = Vocabulary(**read_object(folder / VOCABULARY, "index"))
    later, moved = np.load(folder / CODES), np.load(folder / MOVED)
    now = joined(trained, vocabulary, later, moved[:, 0], moved[:, 1:])
    return now, KINDS[vocabulary.kind].load(folder, vocabulary)
