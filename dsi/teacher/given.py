"""The teacher `run`: scores of one's own, gathered once in a SQLite file, so that memory does not grow with them."""

import json
import math
import re
import sqlite3
import sys
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby, islice
from pathlib import Path
from reprlib import repr as short
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from dsi.config import TRAIN
from dsi.corpus.checks import check_unicode
from dsi.corpus.files import TextFile, json_records, split_fields
from dsi.corpus.source import Where
from dsi.corpus.store import Corpus
from dsi.corpus.words import nfc
from dsi.errors import DsiError
from dsi.runtime.progress import progress, say
from dsi.teacher.queries import TrainingQueries

KEY = "teacher.path"
COLUMNS = ("query id", "Q0", "document id", "rank", "score", "tag")

NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?", re.ASCII)
MAX = sys.float_info.max
QUERIES_AT_ONCE = 1 << 14
CHECKED = 100
"""The number of queries that `check_scores` reads."""


class Given(NamedTuple):
    """The scores of a query, which is named by its id in a TREC run, and by its text in JSON lines."""

    where: Where
    query_id: str | None
    text: str | None
    scores: Mapping[str, float]


class GivenScores:
    """Looks queries up by their text in the SQLite file that `gather_scores` writes."""

    def __init__(self, path: Path) -> None:
        self.database = sqlite3.connect(path)

    def best(self, texts: Sequence[str], count: int) -> tuple[NDArray[np.uint32], NDArray[np.float64]]:
        """The doc_index and the score of the `count` best documents for each text, each (texts, count), best first;
        -inf where there are fewer, or the text is none of those that have scores."""
        doc_index = np.zeros((len(texts), count), dtype=np.uint32)
        scores = np.full((len(texts), count), -np.inf)
        for row, text in enumerate(texts):
            found = self.database.execute("SELECT scores FROM given WHERE query = ?", [text]).fetchone()
            hits = json.loads(found[0])[:count] if found else []
            for column, (number, score) in enumerate(hits):
                doc_index[row, column], scores[row, column] = number, score
        return doc_index, scores


def gather_scores(source: str, corpus: Corpus, queries: TrainingQueries, path: Path) -> None:
    """Write the scores in the file `source` to the SQLite file `path`, and warn of those that no training query has.

    Raises:
        DsiError: a line is malformed, a document or a query of a TREC run is unknown, or a query comes twice.
    """
    numbers = {doc_id: number for number, doc_id in enumerate(corpus.doc_ids(range(len(corpus))))}
    texts = {query.query_id: query.text for query in corpus.queries(TRAIN)} if TRAIN in corpus.splits else {}
    path.unlink(missing_ok=True)
    database = sqlite3.connect(path)
    database.execute("CREATE TABLE given (query TEXT PRIMARY KEY, scores TEXT, line INT, used INT) WITHOUT ROWID")
    for given in progress(read_scores(source), "read scores", unit="queries"):
        text = given.text if given.query_id is None else texts.get(given.query_id)
        if text is None:
            raise DsiError(
                f"{given.where}: split {TRAIN} has no query {given.query_id!r}; the scores of synthetic queries are"
                " given as JSON lines with their texts"
            )
        for doc_id in given.scores:
            if doc_id not in numbers:
                raise DsiError(f"{given.where}: the corpus has no document {doc_id!r}")
        best = sorted(given.scores.items(), key=lambda each: -each[1])
        hits = json.dumps([(numbers[doc_id], score) for doc_id, score in best])
        database.execute("INSERT OR IGNORE INTO given VALUES (?, ?, ?, 0)", [nfc(text), hits, given.where.number])
        if database.execute("SELECT scores FROM given WHERE query = ?", [nfc(text)]).fetchone() != (hits,):
            hint = "; the lines of a query must stand together, and queries of one text have the same scores"
            of_run = hint if given.query_id is not None else ""
            raise DsiError(f"{given.where}: the query {text!r:.80} comes again, with other scores{of_run}")
    for start in range(0, len(queries), QUERIES_AT_ONCE):
        _, asked = queries.rows(range(start, min(start + QUERIES_AT_ONCE, len(queries))))
        database.executemany("UPDATE given SET used = 1 WHERE query = ?", ([text] for text in asked))
    unused, line = database.execute("SELECT count(*), min(line) FROM given WHERE NOT used").fetchone()
    if unused:
        say(
            f"dsi: warning: {KEY}: {unused:,} queries of {source} are no training queries, the first on line {line};"
            " their scores are not used"
        )
    database.commit()
    database.close()


def check_scores(source: str) -> bool:
    """Read the first scores; DsiError if there is no such file, it is empty, or a line is malformed.

    Returns:
        Whether the queries are those of split train, by their ids.
    """
    first, *_ = islice(read_scores(source), CHECKED)
    return first.query_id is not None


def read_scores(source: str) -> Iterator[Given]:
    """The queries of a file of scores; its first line says of which format it is.

    Raises:
        DsiError: there is no such file, it is empty, or a line is malformed.
    """
    path = Path(source)
    if not path.is_file():
        raise DsiError(f"{KEY}: {source} is a folder" if path.is_dir() else f"{KEY}: there is no file {source}")
    _, line = next(TextFile(path).lines(), (None, ""))
    if not line:
        raise DsiError(f"{KEY}: {source} is empty")
    if line.lstrip().startswith("["):
        raise DsiError(f"{KEY}: {source} is a JSON list; give JSON lines, each query's object on a line of its own")
    yield from (_of_json if line.lstrip().startswith("{") else _of_run)(TextFile(path))


def _of_json(file: TextFile) -> Iterator[Given]:
    for where, record in json_records(file):
        query, scores = record.get("query"), record.get("scores")
        if not isinstance(query, str) or not isinstance(scores, dict):
            wanted = '{"query": text, "scores": {doc_id: score, ...}}'
            raise DsiError(f"{where}: expected {wanted}, found {short(record)}")
        check_unicode(where, "the query", query, *scores)
        for doc_id, score in scores.items():
            if isinstance(score, bool) or not isinstance(score, int | float) or not -MAX <= score <= MAX:
                raise DsiError(f"{where}: the score of document {doc_id!r} must be a finite number, found {score!r}")
        yield Given(where, None, query, scores)


def _of_run(file: TextFile) -> Iterator[Given]:
    rows = ((where, split_fields(where, line, COLUMNS, separator=None)) for where, line in file.lines())
    for query_id, hits in groupby(rows, key=lambda row: row[1][0]):
        scores: dict[str, float] = {}
        for where, (_, _, doc_id, _, written, _) in hits:
            score = float(written) if NUMBER.fullmatch(written) else math.nan
            if not math.isfinite(score):
                header = ", or is this a header?" if where.number == 1 else ""
                raise DsiError(f"{where}: the score must be a finite number, found {written!r}{header}")
            if doc_id in scores:
                raise DsiError(f"{where}: document {doc_id!r} comes twice for query {query_id!r}")
            scores[doc_id] = score
        yield Given(where, query_id, None, scores)
