"""Segments: the documents that a generation has added, with all that searching and later training need of them.

documents.arrow    doc_id, title, text
queries.parquet    doc_index, text: their synthetic queries
rows.safetensors   rows (documents, d_model): their output rows, of heads that have one for each document
later.*.npy        the postings of their words, for an index with a prior (dsi.lexical.later_terms)

Segments follow each other: the first document of one has the row number after the last of the one before. Docids of
several tokens are those of the whole index (see dsi.index.later_docids).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from dsi.corpus.store import DOCUMENTS, Corpus, Document, write_rows
from dsi.corpus.words import nfc
from dsi.doc2query.shards import SCHEMA
from dsi.index.growth import ROWS
from dsi.lexical.later_terms import LaterPostings

QUERIES = "queries.parquet"
ABSORBED = 10
"""A segment is merged with the next one as soon as that is a tenth of it or more."""


@dataclass(frozen=True)
class Segment:
    """Read access to a segment."""

    folder: Path
    first: int
    """The row number of its first document."""

    @cached_property
    def corpus(self) -> Corpus:
        return Corpus(self.folder)

    def __len__(self) -> int:
        return len(self.corpus)

    @cached_property
    def queries(self) -> pa.Table:
        """The columns doc_index and text."""
        return pq.read_table(self.folder / QUERIES, schema=SCHEMA)

    @cached_property
    def rows(self) -> Tensor | None:
        """The output rows, (documents, d_model) float32; None of heads without."""
        path = self.folder / ROWS
        return load_file(path)["rows"] if path.exists() else None

    @cached_property
    def terms(self) -> LaterPostings | None:
        """The postings of the words; None of an index without a prior."""
        return LaterPostings.load(self.folder) if (self.folder / "later.term.npy").exists() else None


@dataclass(frozen=True)
class NewSegment:
    """The documents of a segment to be written."""

    documents: Sequence[Document]
    queries: list[list[str]]
    """The synthetic queries of each document."""
    rows: Tensor | None
    terms: LaterPostings | None


def write_segment(folder: Path, new: NewSegment, first: int, absorbed: Sequence[Segment]) -> None:
    """Write a segment to a new folder, with the documents of those absorbed before its own."""
    folder.mkdir()
    of_absorbed = chain.from_iterable(segment.corpus for segment in absorbed)
    write_rows(folder / DOCUMENTS, Document, chain(of_absorbed, new.documents))
    counts = [len(texts) for texts in new.queries]
    numbers = np.repeat(np.arange(first, first + len(counts), dtype=np.uint32), counts)
    queries = pa.table([numbers, [nfc(text) for texts in new.queries for text in texts]], schema=SCHEMA)
    pq.write_table(
        pa.concat_tables([*(each.queries for each in absorbed), queries]), folder / QUERIES, compression="zstd"
    )
    if new.rows is not None:
        rows = [each.rows for each in absorbed if each.rows is not None]
        save_file({"rows": torch.cat([*rows, new.rows])}, folder / ROWS)
    if new.terms is not None:
        terms = [each.terms for each in absorbed if each.terms is not None]
        LaterPostings.joined([*terms, new.terms]).save(folder)


def absorbed_by(segments: Sequence[Segment], documents: int) -> int:
    """The number of segments, of the last ones, that one of so many documents is merged with."""
    count = 0
    for segment in reversed(segments):
        if documents * ABSORBED < len(segment):
            break
        documents += len(segment)
        count += 1
    return count


def joined_rows(segments: Sequence[Segment]) -> Tensor | None:
    """The output rows of all segments, (documents, d_model); None if there are none."""
    rows = [segment.rows for segment in segments if segment.rows is not None]
    return torch.cat(rows) if rows else None
