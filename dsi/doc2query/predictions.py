"""Queries that others have generated and released, matched to the documents of the corpus by id.

They are gathered once in a SQLite file, so that memory does not grow with them and shards can be written in any order.
"""

import heapq
import json
import re
import sqlite3
import sys
from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import groupby, islice
from operator import itemgetter
from pathlib import Path
from reprlib import repr as short
from typing import Any

import datasets
import numpy as np

from dsi.artifacts import is_written, read_manifest, write_json
from dsi.corpus.checks import check_unicode
from dsi.corpus.files import TextFile, json_records
from dsi.corpus.source import Where
from dsi.corpus.store import Corpus, Document
from dsi.corpus.tables import NAMES, TEXT
from dsi.corpus.words import words_of
from dsi.errors import DsiError, first_line
from dsi.runtime.once import once
from dsi.runtime.progress import progress

SAMPLE = re.compile(r"(.*sample\d+)(?:(?:\.txt|[._-]?part[._-]?|[._-])(\d+))?")
"""How the names of the files that make up one sample of docTTTTTquery begin, and the number of the part."""
NAMED = 5
"""The number of ids that a message names."""
COLUMNS = "id", "predicted_queries"
CHECKED = 100
"""The number of documents that `check` reads, and of those whose words are compared with their queries'."""


class Predictions:
    """The first `queries` released queries of each document, from the SQLite file that `read_predictions` writes."""

    def __init__(self, path: Path, queries: int) -> None:
        self.database = sqlite3.connect(path)
        self.queries = queries

    def __call__(self, documents: Sequence[Document], random: np.random.Generator) -> list[list[str]]:
        """The queries of each document, none for a document without prediction; `random` is not used."""
        select = "SELECT queries FROM predictions WHERE doc_id = ?"
        rows = [self.database.execute(select, [document.doc_id]).fetchone() for document in documents]
        # a row of the source is a line here
        return [
            [text for line in (texts or "").splitlines() for text in json.loads(line)][: self.queries]
            for (texts,) in rows
        ]


def read_predictions(source: str, corpus: Corpus, path: Path) -> dict[str, Any]:
    """Gather the predictions for the corpus in the SQLite file `path`, unless this is already done.

    One process does so for all.

    Returns:
        The number and the first ids of documents without a prediction, and of predictions without a document.

    Raises:
        DsiError: the source cannot be read, it has no prediction for any document, or lines stand for documents and
            are not as many.
    """
    counts_file = path.with_suffix(".json")

    def gather() -> None:
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
        _warn_of_strangers(source, corpus, Predictions(path, CHECKED))
        write_json(counts_file, counts)

    once(lambda: is_written(counts_file), gather, path.with_suffix(".lock"))
    return json.loads(counts_file.read_text(encoding="utf-8"))


def files_of(source: str) -> list[Path]:
    """The files that hold the predictions, in the order in which they are read; none for a Hugging Face dataset.

    Raises:
        DsiError: files of several formats could be meant, one file is there twice, or a part of a sample is missing.
    """
    path = Path(source)
    if not path.exists():
        return []
    files = sorted(path.iterdir(), key=_by_numbers) if path.is_dir() else [path]
    files = [file for file in files if file.is_file() and not file.name.startswith(".")]
    records = [file for file in files if _is_json(file)]
    texts = [file for file in files if ".txt" in file.name and not _is_json(file)]
    chosen = records or texts
    if not chosen:
        raise DsiError(f"doc2query.predictions.path: {source} has neither .jsonl nor .txt files")
    if records and texts:
        raise DsiError(f"doc2query.predictions.path: {records[0]} and {texts[0]} are of two formats; keep one of them")
    plain = {file.name: file for file in chosen}
    for file in chosen:
        if file.name.endswith(".gz") and file.name.removesuffix(".gz") in plain:
            raise DsiError(f"{file} and {plain[file.name.removesuffix('.gz')]} are the same file twice; remove one")
    if texts:
        _samples(texts)
    return chosen


def check(source: str) -> None:
    """Read the first predictions; DsiError if there is no such source or one of them is faulty."""
    for _ in islice(open_source(source), CHECKED):
        pass


def open_source(source: str) -> Iterator[tuple[str, list[str]]]:
    """Yield document ids and their queries; DsiError if there is no such source or one of its lines is malformed."""
    files = files_of(source)
    if not files:
        yield from _dataset(source)
    elif _is_text(files):
        yield from _text_lines(files)
    else:
        for file in files:
            for where, record in json_records(TextFile(file)):
                yield _checked(where, record)


def _gather(source: str, corpus: Corpus, path: Path) -> dict[str, Any]:
    database = sqlite3.connect(path)
    database.execute("CREATE TABLE predictions (doc_id TEXT PRIMARY KEY, queries TEXT) WITHOUT ROWID")
    database.executemany("INSERT INTO predictions VALUES (?, NULL)", ([document.doc_id] for document in corpus))
    # An id may come again, with a row for each sample or query.
    add = "UPDATE predictions SET queries = coalesce(queries || char(10), '') || ? WHERE doc_id = ?"
    unknown, unknown_ids, last_id = 0, list[str](), ""
    for last_id, queries in progress(open_source(source), "read predictions", unit="docs"):
        if queries and not database.execute(add, [json.dumps(queries), last_id]).rowcount:
            unknown += 1
            unknown_ids += [last_id] if len(unknown_ids) < NAMED else []
    database.commit()
    missing = database.execute("SELECT doc_id FROM predictions WHERE queries IS NULL")
    missing_ids = [doc_id for (doc_id,) in missing.fetchmany(NAMED)]
    (count,) = database.execute("SELECT count(*) FROM predictions WHERE queries IS NULL").fetchone()
    database.close()
    if count < len(corpus) and _is_text(files_of(source)):
        _check_lines(source, int(last_id) + 1, corpus)
    without = {"documents_without": count, "documents_without_ids": missing_ids}
    return {**without, "unknown": unknown, "unknown_ids": unknown_ids}


def _check_lines(source: str, lines: int, corpus: Corpus) -> None:
    """Refuse files whose lines stand for the documents of a source and are not as many: some belong to others."""
    highest = max(int(doc_id) for doc_id in (document.doc_id[:18] for document in corpus) if doc_id.isdecimal())
    manifest = read_manifest(corpus.folder)
    in_source = len(corpus) if manifest is None else manifest["counts"]["documents_in_source"]
    if highest < in_source != lines:  # else the ids are not the row numbers of this source
        raise DsiError(
            f"{source}: {lines:,} lines, but the source has {in_source:,} documents; line n, from 0, is for document n,"
            " so give every document one line a file, and remove headers and line ends within queries"
        )


def _warn_of_strangers(source: str, corpus: Corpus, predictions: Predictions) -> None:
    """Say so if documents share no more words with their own queries than with those of others."""
    sample = [corpus[number] for number in range(0, len(corpus), -(-len(corpus) // CHECKED))]
    texts = predictions(sample, np.random.default_rng(0))
    words = [words_of(" ".join(queries)) for queries in texts]
    contents = [set(words_of(document.content())) for document in sample]
    pairs = [
        (sum(map(own.__contains__, asked)), sum(map(other.__contains__, asked)))
        for asked, own, other in zip(words, contents, [*contents[1:], *contents[:1]], strict=True)
        if asked
    ]
    better, worse = sum(own > other for own, other in pairs), sum(own < other for own, other in pairs)
    if len(pairs) >= 10 and better <= 2 * worse:
        print(
            f"{source}: of {len(pairs)} documents, {better} share more words with their own queries than with those of"
            f" another, and {worse} fewer; are these the queries of this corpus, and in its order?",
            file=sys.stderr,
        )


def _dataset(name: str) -> Iterator[tuple[str, list[str]]]:
    try:
        rows = datasets.load_dataset(name, split="train", streaming=True)
    except Exception as error:  # the library raises exceptions of many types
        raise DsiError(
            f"doc2query.predictions.path: {name} is neither a file, a folder, nor a Hugging Face dataset that can be"
            f" loaded: {first_line(error)}"
        ) from None
    for number, row in enumerate(rows):
        yield _checked(Where(name, number, "row"), row)


def _checked(where: Where, record: dict[str, Any]) -> tuple[str, list[str]]:
    doc_id, queries = (record.get(column) for column in COLUMNS)
    if not isinstance(doc_id, (str, int)) or isinstance(doc_id, bool):
        raise DsiError(f"{where}: {COLUMNS[0]} must be a string or a number, found {short(doc_id)}")
    if not isinstance(queries, list) or not all(isinstance(query, str) for query in queries):
        raise DsiError(f"{where}: {COLUMNS[1]} must be a list of strings, found {short(queries)}")
    check_unicode(where, "the prediction", str(doc_id), *queries)
    return str(doc_id), [query for query in queries if query.strip()]


def _is_text(files: Sequence[Path]) -> bool:
    return bool(files) and not _is_json(files[0])


def _is_json(file: Path) -> bool:
    return file.name.removesuffix(".gz").endswith((".jsonl", ".json"))


def _by_numbers(path: Path) -> list[tuple[str, int]]:
    """The order of file names in which part2 comes before part10."""
    return [(text, int(number or 0)) for text, number in re.findall(r"(\D*)(\d*)", path.name)]


def _samples(files: Sequence[Path]) -> list[list[Path]]:
    """The files of each sample, its parts in order; DsiError if the numbers of the parts have a gap."""
    samples: dict[str, list[Path]] = defaultdict(list)
    for file in files:
        samples[match[1] if (match := SAMPLE.match(file.name)) else file.name].append(file)
    for name, parts in samples.items():
        numbers = [int(match[2]) for part in parts if (match := SAMPLE.match(part.name)) and match[2]]
        if numbers and (numbers[0] > 1 or numbers != [*range(numbers[0], numbers[0] + len(parts))]):
            found = ", ".join(part.name for part in parts)
            raise DsiError(f"{parts[0].parent}: the parts of {name} must be numbered one by one from 0 or 1: {found}")
    return list(samples.values())


def _text_lines(files: Sequence[Path]) -> Iterator[tuple[str, list[str]]]:
    """The queries on each line number of the files of docTTTTTquery, one query per sample."""
    samples = _samples(files)
    sizes: dict[Path, int] = {}
    lines = heapq.merge(*(_numbered(parts, sizes) for parts in samples), key=itemgetter(0))
    for number, queries in groupby(lines, key=itemgetter(0)):
        yield str(number), [query for _, query in queries if query.strip()]
    for parts in samples[1:]:
        _compare(samples[0], parts, sizes)


def _compare(first: list[Path], parts: list[Path], sizes: dict[Path, int]) -> None:
    """Refuse two samples that do not cover the same number of documents, part by part if they have as many parts."""
    if len(parts) == len(first):
        for ours, theirs in zip(first, parts, strict=True):
            if sizes[ours] != sizes[theirs]:
                fault = f"{theirs} has {sizes[theirs]:,} lines, but {ours} has {sizes[ours]:,}"
                raise DsiError(f"{fault}; a line is a document, so they must have as many")
    totals = [sum(sizes[part] for part in sample) for sample in (first, parts)]
    if totals[0] != totals[1]:
        fault = f"{_names(parts)}: {totals[1]:,} lines, but {_names(first)}: {totals[0]:,}"
        raise DsiError(f"{fault}; a line is a document, so they must have as many")


def _names(parts: Sequence[Path]) -> str:
    return ", ".join([str(parts[0]), *(part.name for part in parts[1:])])


def _numbered(parts: Sequence[Path], sizes: dict[Path, int]) -> Iterator[tuple[int, str]]:
    """The lines of files that continue each other, with line numbers from 0; notes the number of lines of each."""
    offset = 0
    for part in parts:
        number = 0
        for where, line in TextFile(part).lines(blank=True):
            number = where.number
            if "\t" in line:
                raise DsiError(f"{where}: has a tab; give queries one a line, without ids, or as JSON lines with ids")
            if offset + number == 1 and re.sub(r"[\W_]+", "", line.casefold()) in NAMES[TEXT].split():
                raise DsiError(f"{where}: looks like a header, {line!r}; remove it: line n is for document n, from 0")
            yield offset + number - 1, line
        sizes[part] = number
        offset += number
