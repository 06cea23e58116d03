"""The source `documents`: one's own texts, with queries and judgements or without.

NAME.jsonl, .ndjson      a mapping a line (see dsi.corpus.records)
NAME.csv, NAME.tsv       a table under a header; fields of .csv may be in quotes, those of .tsv are as they stand
NAME.parquet             a table
NAME.txt, NAME.md        one document
a folder                 text files, also in folders below: a document each; or parts of one of the formats above
a name of the hub        split train of a Hugging Face dataset (corpus.dataset)

All but Parquet may be compressed, .gz or .zst. `corpus.queries` and `corpus.qrels` are files of their own; a hash of
the query's id decides whether it is in split dev or test.
"""

import csv
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from dsi.config import DEV, TEST, CorpusConfig
from dsi.corpus.checks import id_hash
from dsi.corpus.files import COMPRESSED, DAMAGE, TextFile, json_records, parse_relevance
from dsi.corpus.records import KEYS, documents_of, file_document
from dsi.corpus.source import Source, Where
from dsi.corpus.store import MAX_TEXT, Document, Qrel, Query
from dsi.corpus.tables import DOCUMENT_ID, ITERATION, QUERY_ID, RELEVANCE, TEXT, Table
from dsi.errors import DsiError, first_line

SPLITS = (DEV, TEST)
ROWS_AT_ONCE = 1_000
"""The number of rows of a Parquet file that are held."""
TEXT_FILES = (".txt", ".md")
Records = Iterator[tuple[Where, Any]]


def open_source(config: CorpusConfig) -> Source:
    """Open the file, folder or dataset; DsiError if it is missing or of no known format."""
    return OwnDocuments(config)


class OwnDocuments:
    """Documents of the user's own."""

    def __init__(self, config: CorpusConfig) -> None:
        self._dataset, self._paragraphs = config.dataset, config.passages == "paragraph"
        self._root = Path(config.path) if config.path is not None else None
        self._files = _files(self._root) if self._root is not None else []
        self._queries = _existing("corpus.queries", config.queries)
        self._qrels = _existing("corpus.qrels", config.qrels)
        judged = _judgements(self._qrels) if self._qrels is not None else ()
        found = {_split_of(query_id) for _, (query_id, *_) in judged}
        self.splits = [split for split in SPLITS if split in found]

    @property
    def files(self) -> Mapping[str, Path]:
        if self._root is None:
            return {}
        return {path.relative_to(self._root).as_posix(): path for path in self._files}  # "." is the file itself

    def documents(self, need_ids: bool = False) -> Iterator[tuple[Where, Document]]:
        return documents_of(self._records(), self._paragraphs, need_ids)

    def queries(self, split: str) -> Iterator[tuple[Where, Query]]:
        for where, query in self._all_queries():
            if _split_of(query.query_id) == split:
                yield where, query

    def qrels(self, split: str) -> Iterator[tuple[Where, Qrel]]:
        assert self._qrels is not None  # CorpusConfig wants both
        for where, (query_id, doc_id, relevance) in _judgements(self._qrels):
            if _split_of(query_id) == split:
                yield where, Qrel(query_id, doc_id, parse_relevance(where, relevance))

    def _all_queries(self) -> Iterator[tuple[Where, Query]]:
        assert self._queries is not None
        if _suffix(self._queries.path) in (".jsonl", ".ndjson"):
            for where, document in documents_of(json_records(self._queries)):  # a query has an id and a text, too
                yield where, Query(document.doc_id, document.text)
        else:
            for where, (query_id, text) in Table(self._queries, (QUERY_ID, TEXT)).rows():
                yield where, Query(query_id, text)

    def _records(self) -> Records:
        if self._dataset is not None:
            yield from _of_dataset(self._dataset)
        for path in self._files:
            if _suffix(path) not in TEXT_FILES:
                yield from READERS[_suffix(path)](path)
                continue
            assert self._root is not None
            name = path.name if path == self._root else path.relative_to(self._root).as_posix()
            lines = [line for _, line in TextFile(path).lines(blank=True)]
            yield Where(str(path), 1), file_document(_plain(name), "\n".join(lines))


def _json_lines(path: Path) -> Records:
    return json_records(TextFile(path))


def _table(path: Path) -> Records:
    """The rows of a .csv or .tsv file as mappings; a row without a value for a column is at fault."""
    where, is_tsv = Where(str(path), 1), _suffix(path) == ".tsv"
    lines = (f"{line}\n" for _, line in TextFile(path).lines(blank=True))
    csv.field_size_limit(MAX_TEXT)
    if is_tsv:
        rows = csv.reader(lines, delimiter="\t", quoting=csv.QUOTE_NONE, strict=True)
    else:
        rows = csv.reader(lines, strict=True)
    try:
        header = [name.strip().casefold() for name in next(filter(any, rows), [])]
        if len(header) == 1 and (between := next((each for each in ";\t|" if each in header[0]), None)):
            raise DsiError(
                f"{path}: its columns are divided by {between!r}; write them as .csv with commas, or as .tsv"
            )
        if repeated := [name for name in header if name and header.count(name) > 1]:
            raise DsiError(f"{path}: the header has {repeated[0]!r} twice; name each column otherwise")
        for row in rows:
            where = Where(str(path), rows.line_num)
            if not row:
                continue
            if len(row) != len(header):
                raise DsiError(f"{where}: {len(row)} fields, where the header has {len(header)}: {', '.join(header)}")
            yield where, dict(zip(header, row, strict=True))
    except csv.Error as error:
        raise DsiError(f"{Where(str(path), rows.line_num)}: not a table of this kind: {error}") from None


def _parquet(path: Path) -> Records:
    number = 0
    try:
        with pq.ParquetFile(path) as table:
            columns = [name for name in table.schema_arrow.names if name in KEYS] or None  # None: to say what is there
            for batch in table.iter_batches(ROWS_AT_ONCE, columns=columns):
                for row in batch.to_pylist():
                    number += 1
                    yield Where(str(path), number, "row"), row
    except (*DAMAGE, pa.ArrowException) as error:
        raise DsiError(f"{path}: cannot be read after row {number}: {first_line(error)}") from None


READERS: dict[str, Callable[[Path], Records]] = {
    ".jsonl": _json_lines,
    ".ndjson": _json_lines,
    ".csv": _table,
    ".tsv": _table,
    ".parquet": _parquet,
}
"""The reader of each format by the ending of a file's name."""


def _of_dataset(name: str) -> Records:
    """The rows of a Hugging Face dataset, which is downloaded once."""
    import datasets

    try:
        for number, row in enumerate(datasets.load_dataset(name, split="train"), start=1):
            yield Where(name, number, "row"), row
    except DsiError:
        raise
    except Exception as error:  # of many kinds, according to what is wrong
        raise DsiError(f"corpus.dataset: cannot read {name!r}: {first_line(error)}") from None


def _files(root: Path) -> list[Path]:
    """The files to read, in order: the file itself, or those of one format below a folder.

    Raises:
        DsiError: there is no such file or folder, or it has files of no format, or of several.
    """
    formats = ", ".join((*READERS, *TEXT_FILES))
    if root.is_file():
        if _suffix(root) not in (*READERS, *TEXT_FILES):
            raise DsiError(f"{root}: unknown format; names of files end in {formats}, or in these with .gz or .zst")
        return [root]
    if not root.is_dir():
        raise DsiError(f"corpus.path: {root} does not exist")
    by_format: dict[str, list[Path]] = {}
    for path in sorted(root.rglob("*")):
        is_hidden = any(part.startswith(".") for part in path.relative_to(root).parts)
        if path.is_file() and not is_hidden and (suffix := _suffix(path)) in (*READERS, *TEXT_FILES):
            by_format.setdefault("text" if suffix in TEXT_FILES else suffix, []).append(path)
    if not by_format:
        raise DsiError(f"corpus.path: {root} holds no file whose name ends in {formats}")
    if len(by_format) > 1:
        raise DsiError(f"corpus.path: {root} holds files of several formats ({', '.join(by_format)}); name one file")
    return next(iter(by_format.values()))


def _existing(key: str, path: str | None) -> TextFile | None:
    if path is not None and not Path(path).is_file():
        raise DsiError(f"{key}: there is no file {path}")
    return TextFile(Path(path)) if path is not None else None


def _judgements(file: TextFile) -> Iterator[tuple[Where, list[str]]]:
    """The query, the document and the relevance of each judgement: three columns, as in BEIR, or TREC's four."""
    _, first = next(iter(file.lines()), (None, ""))
    if len(first.split()) != 4:
        yield from Table(file, (QUERY_ID, DOCUMENT_ID, RELEVANCE), separator=None).rows()
        return
    columns = QUERY_ID, ITERATION, DOCUMENT_ID, RELEVANCE
    for where, (query_id, _, doc_id, relevance) in Table(file, columns, separator=None).rows():
        yield where, [query_id, doc_id, relevance]


def _split_of(query_id: str) -> str:
    return SPLITS[id_hash(query_id) % 2]


def _plain(name: str) -> str:
    """The name of a file without the ending that says that it is compressed."""
    return next((name.removesuffix(ending) for ending in COMPRESSED if name.endswith(ending)), name)


def _suffix(path: Path) -> str:
    return Path(_plain(path.name)).suffix.lower()
