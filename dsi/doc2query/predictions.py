"""Queries that others have generated and released, matched to the documents of the corpus by id.

They are gathered once in a SQLite file, so that memory does not grow with them and shards can be written in any order.
"""

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
"""How the names of the files that make up one sample of docTTTTTquery begin."""
NAMED = 5
"""The number of ids that a message names."""
COLUMNS = "id", "predicted_queries"


class Predictions:
    """The first `queries` released queries of each document, from the SQLite file that `read_predictions` writes."""

    def __init__(self, path: Path, queries: int) -> None:
        self.database = sqlite3.connect(path)
        self.queries = queries

    def __call__(self, documents: Sequence[Document], random: np.random.Generator) -> list[list[str]]:
        """The queries of each document, none for a document without prediction; `random` is not used."""
        select = "SELECT queries FROM predictions WHERE doc_id = ?"
        rows = [self.database.execute(select, [document.doc_id]).fetchone() for document in documents]
        return [json.loads(texts)[: self.queries] if texts else [] for (texts,) in rows]


def read_predictions(source: str, corpus: Corpus, path: Path) -> dict[str, Any]:
    """Gather the predictions for the corpus in the SQLite file `path`, unless this is already done.

    The first process does so while the others wait.

    Returns:
        The number and the first ids of documents without a prediction, and of predictions without a document.

    Raises:
        DsiError: the source cannot be read, or it has no prediction for any document.
    """
    counts_file = path.with_suffix(".json")
    if is_first_process() and not counts_file.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        counts = _gather(source, corpus, path)
        if counts["documents_without"] == len(corpus):
            raise DsiError(
                f"doc2query.predictions: {source} has nothing for any document; its ids are like"
                f" {', '.join(counts['unknown_ids']) or '(none)'}, the corpus's like {corpus[0].doc_id}"
            )
        complaints = {"documents_without": "documents have no", "unknown": "ids are not the corpus's among the"}
        for key, what in complaints.items():
            if counts[key]:
                ids = ", ".join(counts[f"{key}_ids"])
                print(f"{source}: {counts[key]:,} {what} predictions: {ids}, ...", file=sys.stderr)
        counts_file.write_text(json.dumps(counts))
    wait_until(counts_file.exists)
    return json.loads(counts_file.read_text())


def open_source(source: str) -> Iterator[tuple[str, list[str]]]:
    """Yield document ids and their queries; DsiError if there is no such source or one of its lines is malformed."""
    path = Path(source)
    if not path.exists():
        yield from _dataset(source)
        return
    files = [file for file in (sorted(path.iterdir()) if path.is_dir() else [path]) if file.is_file()]
    records = [file for file in files if file.name.removesuffix(".gz").endswith((".jsonl", ".json"))]
    texts = [file for file in files if ".txt" in file.name]
    if records:
        for file in records:
            for where, record in json_records(TextFile(file)):
                yield _checked(str(where), record)
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
        update = database.execute("UPDATE predictions SET queries = ? WHERE doc_id = ?", [json.dumps(queries), doc_id])
        if not update.rowcount:
            unknown += 1
            unknown_ids += [doc_id] if len(unknown_ids) < NAMED else []
    database.commit()
    missing = database.execute("SELECT doc_id FROM predictions WHERE queries IS NULL")
    missing_ids = [doc_id for (doc_id,) in missing.fetchmany(NAMED)]
    (count,) = database.execute("SELECT count(*) FROM predictions WHERE queries IS NULL").fetchone()
    database.close()
    without = {"documents_without": count, "documents_without_ids": missing_ids}
    return {**without, "unknown": unknown, "unknown_ids": unknown_ids}


def _dataset(name: str) -> Iterator[tuple[str, list[str]]]:
    try:
        rows = datasets.load_dataset(name, split="train", streaming=True)
    except Exception as error:  # the library raises exceptions of many types
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
    """The queries on each line number of the files of docTTTTTquery, one query per sample."""
    samples = groupby(files, key=lambda file: match[1] if (match := SAMPLE.match(file.name)) else file.name)
    lines = heapq.merge(*(_numbered(list(parts)) for _, parts in samples), key=itemgetter(0))
    for number, queries in groupby(lines, key=itemgetter(0)):
        yield str(number), [query for _, query in queries]


def _numbered(parts: Iterable[Path]) -> Iterator[tuple[int, str]]:
    """The lines of files that continue each other, with line numbers from 0."""
    offset = 0
    for part in parts:
        number = 0
        for where, line in TextFile(part).lines():
            number = where.number
            yield offset + number - 1, line
        offset += number
