"""The ingested corpus on disk, the stage folder `corpus`: Arrow files, memory-mapped when read.

    documents.arrow         doc_id, title, text    (the row number of a document is its `doc_index`)
    identical.SPLIT.txt     ids of the queries that are documents themselves, if there are any
    queries.SPLIT.arrow     query_id, text
    qrels.SPLIT.arrow       query_id, doc_id, relevance

Titles and texts are in Unicode's normal form C, whatever the source has; ids are as they came. The files are Arrow
streams, so that `datasets.Dataset.from_file` opens each as a Hugging Face dataset.
"""

from collections.abc import Iterable, Iterator, Sequence, Set
from copy import copy
from pathlib import Path
from typing import Any, NamedTuple, Self, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from dsi.config import reported_split
from dsi.corpus.words import nfc
from dsi.errors import DsiError

DOCUMENTS = "documents.arrow"
NO_DOCUMENTS: NDArray[np.int64] = np.empty(0, dtype=np.int64)
ROWS_PER_BATCH = 1_000
TEXTS = "title", "text"
"""The columns that are text rather than ids or numbers."""
CHARACTERS_PER_BATCH = 1 << 26
"""The number of characters at which a batch ends: Arrow's offsets end at 2 GiB, and a character has up to 4 bytes."""
MAX_TEXT = 1 << 27
"""The largest number of characters of a record: a text beyond is no document, and would not fit into a batch."""


class Document(NamedTuple):
    """A document of the collection, with its own id there."""

    doc_id: str
    title: str
    text: str

    def content(self) -> str:
        """The text that every system indexes: title and text with a blank between them, as in BEIR.

        >>> Document("d1", "Fish", "They swim.").content()
        'Fish They swim.'
        """
        return f"{self.title} {self.text}".strip()


class Query(NamedTuple):
    """A query of a split."""

    query_id: str
    text: str


class Qrel(NamedTuple):
    """A relevance judgement; a document with a relevance above 0 is relevant."""

    query_id: str
    doc_id: str
    relevance: int


T = TypeVar("T")
Record = TypeVar("Record", bound=NamedTuple)

SCHEMAS: dict[type[NamedTuple], pa.Schema] = {
    Document: pa.schema({"doc_id": pa.string(), "title": pa.string(), "text": pa.string()}),
    Query: pa.schema({"query_id": pa.string(), "text": pa.string()}),
    Qrel: pa.schema({"query_id": pa.string(), "doc_id": pa.string(), "relevance": pa.int32()}),
}


def write_rows(path: Path, kind: type[NamedTuple], rows: Iterable[NamedTuple]) -> int:
    """Write records of one kind, their texts in NFC, to an Arrow file, one batch at a time; return their number.

    Raises:
        DsiError: a record has more than `MAX_TEXT` characters.
    """
    schema, count = SCHEMAS[kind], 0
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_stream(sink, schema) as writer:
        for batch in _batches(rows):
            columns = zip(schema.names, zip(*batch, strict=True), strict=True)
            arrays = [list(map(nfc, values)) if name in TEXTS else values for name, values in columns]
            writer.write_batch(pa.record_batch(arrays, schema=schema))
            count += len(batch)
    return count


def _batches(rows: Iterable[NamedTuple]) -> Iterator[list[NamedTuple]]:
    batch, characters = list[NamedTuple](), 0
    for row in rows:
        size = sum(len(value) for value in row if isinstance(value, str))
        if size > MAX_TEXT:
            name = f"{type(row).__name__.lower()} {row[0]!r:.60}"
            raise DsiError(f"{name} has {size:,} characters, and the most are {MAX_TEXT:,}; shorten or divide it")
        batch.append(row)
        characters += size
        if len(batch) == ROWS_PER_BATCH or characters >= CHARACTERS_PER_BATCH:
            yield batch
            batch, characters = [], 0
    if batch:
        yield batch


class Corpus:
    """Read access to the stage folder `corpus`: a sequence of documents by `doc_index`, their row number."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.deleted: NDArray[np.integer[Any]] = NO_DOCUMENTS
        self.documents = _table(folder / DOCUMENTS)
        """The memory-mapped columns doc_id, title and text."""
        self._columns = self.documents.columns  # held, as each column finds its batches when it is first read

    def changed(self, later: Sequence["Corpus"], deleted: NDArray[np.integer[Any]]) -> Self:
        """The same documents, of which nothing is read again, and behind them those of others that came `later`; those
        `deleted`, whose row numbers are in increasing order, have no id any more."""
        other = copy(self)
        other.deleted = deleted
        other.documents = pa.concat_tables([self.documents, *(each.documents for each in later)])
        other._columns = other.documents.columns
        return other

    def __len__(self) -> int:
        return len(self.documents)

    def __iter__(self) -> Iterator[Document]:
        return self.rows(0, len(self))

    def __getitem__(self, doc_index: int) -> Document:
        return Document(*(column[doc_index].as_py() for column in self._columns))

    def rows(self, start: int, stop: int) -> Iterator[Document]:
        """The documents from `start` up to, but not including, `stop`, read in the batches of the file."""
        for batch in self.documents.slice(start, max(min(stop, len(self)) - start, 0)).to_batches():
            yield from map(Document, *(batch[name].to_pylist() for name in Document._fields))

    def living(self) -> Iterator[Document]:
        """The documents that are not deleted."""
        return self.undeleted(self)

    def undeleted(self, rows: Iterable[T]) -> Iterator[T]:
        """Those of the rows, of which there is one for each document in order, whose documents are not deleted."""
        gone = set(self.deleted.tolist())
        return (row for number, row in enumerate(rows) if number not in gone)

    def spread(self, count: int) -> Iterator[Document]:
        """So many of the documents, at even distances."""
        total = len(self)
        return (document for n, document in enumerate(self) if (n + 1) * count // total > n * count // total)

    def contents(self) -> Iterator[str]:
        """The content of every document in order."""
        return (document.content() for document in self)

    def characters(self) -> int:
        """The number of characters of all titles and texts."""
        return sum(pc.sum(pc.utf8_length(column)).as_py() or 0 for column in self._columns[1:])

    def doc_ids(self, numbers: Iterable[int]) -> list[str]:
        """The `doc_id` of the document in each of these rows."""
        return [self._columns[0][number].as_py() for number in numbers]

    def doc_index(self, doc_id: str) -> int:
        """The `doc_index` of the document with this id.

        Raises:
            KeyError: the corpus has none; the id is named.
        """
        try:
            found = self.doc_indexes({doc_id})
        except (pa.ArrowTypeError, pa.ArrowInvalid, UnicodeEncodeError):  # no string, or none that a file can hold
            found = {}
        if doc_id not in found:
            raise KeyError(f"there is no document {doc_id!r}")
        return found[doc_id]

    def doc_indexes(self, doc_ids: Set[str]) -> dict[str, int]:
        """The `doc_index` of each of these ids that the corpus has."""
        is_asked = pc.is_in(self._columns[0], value_set=pa.array(doc_ids, pa.string()))
        rows = np.setdiff1d(pc.indices_nonzero(is_asked).to_numpy(), self.deleted, assume_unique=True).tolist()
        return dict(zip(self.doc_ids(rows), rows, strict=True))

    @property
    def splits(self) -> list[str]:
        """The names of the splits, sorted."""
        return sorted(path.name.split(".", 1)[1].removesuffix(".arrow") for path in self.folder.glob("queries.*.arrow"))

    def queries(self, split: str) -> list[Query]:
        """The queries of a split, in the order of the source."""
        return list(_records(Query, _table(self.folder / f"queries.{split}.arrow")))

    def identical(self, split: str) -> set[str]:
        """The ids of the queries that are documents of the same id, which are left out of their rankings (BEIR's
        ignore_identical_ids)."""
        path = self.folder / f"identical.{split}.txt"
        return set(path.read_text(encoding="utf-8").splitlines()) if path.exists() else set()

    def qrels(self, split: str) -> list[Qrel]:
        """The relevance judgements of a split, also those of relevance 0."""
        return list(_records(Qrel, _table(self.folder / f"qrels.{split}.arrow")))

    def relevant(self, split: str, limit: int | None = None) -> Iterator[tuple[Query, int]]:
        """Each query of the split, or of the first `limit`, with the `doc_index` of each of its relevant documents."""
        queries = {query.query_id: query for query in self.queries(split)[:limit]}
        qrels = [qrel for qrel in self.qrels(split) if qrel.relevance > 0 and qrel.query_id in queries]
        numbers = self.doc_indexes({qrel.doc_id for qrel in qrels})
        for qrel in qrels:
            yield queries[qrel.query_id], numbers[qrel.doc_id]

    def evaluation_split(self, split: str | None) -> str:
        """The split to report: `split` if given, else test if it exists, else dev; DsiError if there is none."""
        split = reported_split(split, self.splits)
        self.check_split("evaluation.split", split)
        return split

    def check_split(self, key: str, split: str) -> None:
        """Raise DsiError unless the corpus has the split that the configuration names under `key`."""
        if split not in self.splits:
            raise DsiError(
                f"{key}: the corpus has no split {split!r}; it has: {', '.join(self.splits) or 'none'}"
                " (name one, or add it under corpus.splits)"
            )


def _table(path: Path) -> pa.Table:
    """The rows of an Arrow file, memory-mapped."""
    return pa.ipc.open_stream(pa.memory_map(str(path))).read_all()


def _records(kind: type[Record], table: pa.Table) -> Iterator[Record]:
    return map(kind, *(column.to_pylist() for column in table.columns))
