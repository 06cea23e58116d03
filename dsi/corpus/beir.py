"""The source `beir`: a folder in the layout of the BEIR benchmark.

corpus.jsonl        {"_id": ..., "title": ..., "text": ...} per line
queries.jsonl       {"_id": ..., "text": ...} per line, the queries of all splits together
qrels/SPLIT.tsv     query-id, corpus-id, score, separated by tabs, under a header
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from reprlib import repr as short
from typing import Any

from dsi.config import CorpusConfig
from dsi.corpus.files import Folder, json_records, parse_relevance
from dsi.corpus.source import Source, Where, choose_splits
from dsi.corpus.store import Document, Qrel, Query
from dsi.corpus.tables import DOCUMENT_ID, QUERY_ID, RELEVANCE, Table
from dsi.errors import DsiError


def open_source(config: CorpusConfig) -> Source:
    """Open the folder `config.path`; DsiError if a file is missing."""
    assert config.path is not None  # CorpusConfig checks it
    return Beir(Folder(config.path), config.splits)


class Beir:
    """The source in a folder; `splits` are our names of splits, and the names of their files."""

    def __init__(self, folder: Folder, splits: dict[str, str]) -> None:
        self._folder = folder
        self._corpus = folder.get("corpus.jsonl")
        self.splits = choose_splits(splits, lambda split: folder.present(f"qrels/{split}.tsv"))
        self._queries = folder.get("queries.jsonl") if self.splits else None
        self._qrels = {
            split: Table(folder.get(f"qrels/{name}.tsv"), (QUERY_ID, DOCUMENT_ID, RELEVANCE), headed=True)
            for split, name in self.splits.items()
        }

    @property
    def files(self) -> Mapping[str, Path]:
        queries = [] if self._queries is None else [self._queries]
        return self._folder.paths(self._corpus, *queries, *(table.file for table in self._qrels.values()))

    def documents(self) -> Iterator[tuple[Where, Document]]:
        for where, record in json_records(self._corpus):
            doc_id, text = _string(where, record, "_id"), _string(where, record, "text")
            yield where, Document(doc_id, _string(where, record, "title", default=""), text)

    def queries(self, split: str) -> Iterator[tuple[Where, Query]]:
        """The queries that the judgements of the split name: nothing else says to which split a query belongs."""
        assert self._queries is not None
        judged = {qrel.query_id for _, qrel in self.qrels(split)}
        for where, record in json_records(self._queries):
            query = Query(_string(where, record, "_id"), _string(where, record, "text"))
            if query.query_id in judged:
                yield where, query

    def qrels(self, split: str) -> Iterator[tuple[Where, Qrel]]:
        for where, (query_id, doc_id, relevance) in self._qrels[split].rows():
            yield where, Qrel(query_id, doc_id, parse_relevance(where, relevance))


def _string(where: Where, record: dict[str, Any], key: str, default: str | None = None) -> str:
    value = default if record.get(key) is None else record[key]
    if not isinstance(value, str):
        found = f"found {short(value)}" if key in record else "there is none"
        raise DsiError(f"{where}: {key} must be a string, {found}")
    return value
