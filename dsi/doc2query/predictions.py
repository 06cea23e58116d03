"""Queries that others have generated and released, matched to our documents by id.

They are gathered once into a SQLite file: memory does not grow with them, and shards can be written in any order.
"""

from __future__ import annotations

import heapq
import json
import re
import sqlite3
import sys
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any

import datasets
import numpy as np

from dsi.corpus.files import TextFile, json_records
from dsi.corpus.store import Corpus, Document
from dsi.errors import DsiError, first_line
from dsi.runtime.processes import is_first_process, wait_until
from dsi.runtime.progress import progress

SAMPLE = re.compile(r"(.*sample\d+)")
"""docTTTTTquery: what the names of the parts of one sample begin with."""
NAMED = 5
"""Ids named in a complaint."""
COLUMNS = "id", "predicted_queries"


class Predictions:
    """The first `queries` released queries of each document, from the file that `read_predictions` made."""

    def __init__(self, path: Path, queries: int) -> None:
        self.database = sqlite3.connect(path)
        self.queries = queries

    def __call__(self, documents: Sequence[Document], random: np.random.Generator) -> list[list[str]]:
        """Queries for each document; none where there is no prediction. Nothing is random."""
        return [self._of(document.doc_id) for document in documents]

    def _of(self, doc_id: str) -> list[str]:
        [[texts]] = self.database.execute("SELECT queries FROM predictions WHERE doc_id = ?", [doc_id])
        return json.loads(texts)[: self.queries] if texts else []


def read_predictions(source: str, corpus: Corpus, path: Path) -> dict[str, Any]:
    """Gather the predictions of the corpus's documents in the SQLite file `path`, unless it is there already.

    The first process does; the others wait.

    Returns:
        Numbers and first ids of documents without a prediction, and of predictions without a document.

    Raises:
        DsiError: the source cannot be read, or it has nothing for any of the documents.
    """
    sheet = path.with_suffix(".json")
    if is_first_process() and not sheet.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        counts = _gather(source, corpus, path)
        if counts["documents_without"] == len(corpus):
            raise DsiError(
                f"doc2query.predictions: {source} has nothing for any document; its ids are like"
                f" {', '.join(counts['unknown_ids']) or '(none)'}, the corpus's like {corpus[0].doc_id}"
            )
        for key, what in (
            ("documents_without", "documents have no"),
            ("unknown", "ids are not the corpus's among the"),
        ):
            if counts[key]:
                ids = ", ".join(counts[f"{key}_ids"])
                print(f"{source}: {counts[key]:,} {what} predictions: {ids}, ...", file=sys.stderr)
        sheet.write_text(json.dumps(counts))
    wait_until(sheet.exists)
    return dict(json.loads(sheet.read_text()))


def open_source(source: str) -> Iterator[tuple[str, list[str]]]:
    """Document ids and their queries.

    Raises:
        DsiError: there is no such file, folder or dataset, or a line is malformed.
    """
    path = Path(source)
    if not path.exists():
        yield from _dataset(source)
        return
    files = [file for file in (sorted(path.iterdir()) if path.is_dir() else [path]) if file.is_file()]
    records = [file for file in files if file.name.removesuffix(".gz").endswith((".jsonl", ".json"))]
    texts = [file for file in files if ".txt" in file.name]
    if records:
        yield from _json_lines(records)
    elif texts:
        yield from _text_lines(texts)
    else:
        raise DsiError(f"doc2query.predictions.path: {source} has neither .jsonl nor .txt files")


def _gather(source: str, corpus: Corpus, path: Path) -> dict[str, Any]:
    database = sqlite3.connect(path)
    database.execute("CREATE TABLE predictions (doc_id TEXT PRIMARY KEY, queries TEXT) WITHOUT ROWID")
    database.executemany("INSERT INTO predictions VALUES (?, NULL)", ([document.doc_id] for document in corpus))
    unknown, unknown_ids = 0, list[str]()
    for doc_id, queries in progress(open_source(source), "read predictions", unit="docs"):
        found = database.execute("UPDATE predictions SET queries = ? WHERE doc_id = ?", [json.dumps(queries), doc_id])
        if not found.rowcount:
            unknown += 1
            unknown_ids += [doc_id] if len(unknown_ids) < NAMED else []
    database.commit()
    without = database.execute("SELECT doc_id FROM predictions WHERE queries IS NULL")
    missing = [doc_id for (doc_id,) in without.fetchmany(NAMED)]
    number = database.execute("SELECT count(*) FROM predictions WHERE queries IS NULL").fetchone()[0]
    database.close()
    return {
        "documents_without": number,
        "documents_without_ids": missing,
        "unknown": unknown,
        "unknown_ids": unknown_ids,
    }


def _json_lines(files: Iterable[Path]) -> Iterator[tuple[str, list[str]]]:
    for file in files:
        for where, record in json_records(TextFile(file)):
            yield _checked(str(where), record)


def _dataset(name: str) -> Iterator[tuple[str, list[str]]]:
    try:
        rows = datasets.load_dataset(name, split="train", streaming=True)
    except Exception as error:  # the library raises many kinds
        raise DsiError(
            f"doc2query.predictions.path: {name} is neither a file, a folder, nor a Hugging Face dataset that can be"
            f" loaded: {first_line(error)}"
        ) from None
    for number, row in enumerate(rows):
        yield _checked(f"{name}, row {number}", row)


def _checked(where: str, record: dict[str, Any]) -> tuple[str, list[str]]:
    doc_id, queries = (record.get(column) for column in COLUMNS)
    if not isinstance(doc_id, (str, int)):
        raise DsiError(f"{where}: {COLUMNS[0]} must be a string or a number, found {doc_id!r:.60}")
    if not isinstance(queries, list) or not all(isinstance(query, str) for query in queries):
        raise DsiError(f"{where}: {COLUMNS[1]} must be a list of strings, found {queries!r:.60}")
    return str(doc_id), queries


def _text_lines(files: Iterable[Path]) -> Iterator[tuple[str, list[str]]]:
    samples = [list(parts) for _, parts in groupby(files, key=_sample)]
    lines = heapq.merge(*map(_numbered, samples), key=itemgetter(0))
    for number, queries in groupby(lines, key=itemgetter(0)):
        yield str(number), [query for _, query in queries]


def _sample(file: Path) -> str:
    match = SAMPLE.match(file.name)
    return match[1] if match else file.name


def _numbered(parts: Iterable[Path]) -> Iterator[tuple[int, str]]:
    """Lines of files that follow each other, with numbers from 0."""
    offset = 0
    for part in parts:
        number = 0
        for where, line in TextFile(part).lines():
            number = where.number
            yield offset + number - 1, line
        offset += number
