"""The ingested corpus on disk: Arrow files, memory-mapped when read.

    documents.arrow         doc_id, title, text    (a document's row number is its `doc_index`)
    queries.SPLIT.arrow     query_id, text
    qrels.SPLIT.arrow       query_id, doc_id, relevance

The files are Arrow streams, so `datasets.Dataset.from_file` opens each as a Hugging Face dataset.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Set
from itertools import chain, islice
from pathlib import Path
from typing import NamedTuple

import datasets
import pyarrow as pa

from dsi.config import DEV, TEST
from dsi.errors import DsiError

ROWS_A_BATCH = 1_000


class Document(NamedTuple):
    doc_id: str
    title: str
    text: str

    def content(self) -> str:
        """What every system indexes: the title, a blank, the text (BEIR's convention)."""
        return f"{self.title} {self.text}".strip()


class Query(NamedTuple):
    query_id: str
    text: str


class Qrel(NamedTuple):
    query_id: str
    doc_id: str
    relevance: int


SCHEMAS: dict[type[NamedTuple], pa.Schema] = {
    Document: pa.schema({"doc_id": pa.string(), "title": pa.string(), "text": pa.string()}),
    Query: pa.schema({"query_id": pa.string(), "text": pa.string()}),
    Qrel: pa.schema({"query_id": pa.string(), "doc_id": pa.string(), "relevance": pa.int32()}),
}


def write_rows(path: Path, kind: type[NamedTuple], rows: Iterable[NamedTuple]) -> int:
    """Stream records of one kind to an Arrow file and return their number. Holds one batch in memory."""
    schema, rows, count = SCHEMAS[kind], iter(rows), 0
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_stream(sink, schema) as writer:
        while batch := list(islice(rows, ROWS_A_BATCH)):
            writer.write_batch(pa.record_batch(list(zip(*batch, strict=True)), schema=schema))
            count += len(batch)
    return count


class Corpus:
    """Read access to the `corpus` stage folder. Documents are addressed by `doc_index`, their row number."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.documents = datasets.Dataset.from_file(str(folder / "documents.arrow"))
        """Columns doc_id, title, text; memory-mapped."""
        self._ids = self.documents.select_columns("doc_id")

    def __len__(self) -> int:
        return len(self.documents)

    def __iter__(self) -> Iterator[Document]:
        return self.rows(0, len(self))

    def __getitem__(self, doc_index: int) -> Document:
        return Document(**self.documents[doc_index])

    def rows(self, start: int, stop: int) -> Iterator[Document]:
        """Documents `start` to `stop` in order, read a batch at a time."""
        stop = min(stop, len(self))
        for first in range(start, stop, ROWS_A_BATCH):
            columns = self.documents[first : min(first + ROWS_A_BATCH, stop)]
            yield from map(Document, columns["doc_id"], columns["title"], columns["text"])

    def contents(self) -> Iterator[str]:
        """`Document.content()` of every document in order."""
        return (document.content() for document in self)

    def doc_ids(self, numbers: Iterable[int]) -> list[str]:
        """`doc_id` of each of these row numbers."""
        ids: list[str] = self._ids[list(numbers)]["doc_id"]
        return ids

    def doc_indexes(self, doc_ids: Set[str]) -> dict[str, int]:
        """`doc_index` of each of these ids that the corpus has."""
        rows = enumerate(chain.from_iterable(batch["doc_id"].to_pylist() for batch in self._id_batches()))
        return {doc_id: number for number, doc_id in rows if doc_id in doc_ids}

    def _id_batches(self) -> Iterator[pa.Table]:
        return self._ids.with_format("arrow").iter(ROWS_A_BATCH)

    @property
    def splits(self) -> list[str]:
        """Names of the query splits, sorted."""
        return sorted(path.name.split(".", 1)[1].removesuffix(".arrow") for path in self.folder.glob("queries.*.arrow"))

    def queries(self, split: str) -> list[Query]:
        return [Query(**row) for row in self._split("queries", split)]

    def qrels(self, split: str) -> list[Qrel]:
        return [Qrel(**row) for row in self._split("qrels", split)]

    def relevant(self, split: str, limit: int | None = None) -> Iterator[tuple[Query, int]]:
        """Each of the split's queries, or of its first `limit`, with the `doc_index` of each relevant document."""
        queries = {query.query_id: query for query in self.queries(split)[:limit]}
        qrels = [qrel for qrel in self.qrels(split) if qrel.relevance > 0 and qrel.query_id in queries]
        numbers = self.doc_indexes({qrel.doc_id for qrel in qrels})
        for qrel in qrels:
            yield queries[qrel.query_id], numbers[qrel.doc_id]

    def evaluation_split(self, split: str | None) -> str:
        """The split to report: the one asked for, else test, else dev.

        Raises:
            DsiError: the corpus has no such split.
        """
        if split is None:
            split = TEST if TEST in self.splits else DEV
        self.check_split("evaluation.split", split)
        return split

    def check_split(self, key: str, split: str) -> None:
        """Raise unless there is such a split; `key` names it in the configuration.

        Raises:
            DsiError: the corpus has no such split.
        """
        if split not in self.splits:
            raise DsiError(
                f"{key}: the corpus has no split {split!r}; it has: {', '.join(self.splits) or 'none'}"
                " (name one, or add it under corpus.splits)"
            )

    def _split(self, what: str, split: str) -> datasets.Dataset:
        return datasets.Dataset.from_file(str(self.folder / f"{what}.{split}.arrow"))
