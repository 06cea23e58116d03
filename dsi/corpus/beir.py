"""A folder in the layout of the BEIR benchmark.

corpus.jsonl        {"_id": ..., "title": ..., "text": ...} a line
queries.jsonl       {"_id": ..., "text": ...} a line, of all splits together
qrels/SPLIT.tsv     query-id, corpus-id, score, separated by tabs, under a header
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from dsi.config import CorpusConfig
from dsi.corpus.files import Folder, json_records, parse_relevance, split_fields
from dsi.corpus.source import Source, Where, choose_splits
from dsi.corpus.store import Document, Qrel, Query
from dsi.errors import DsiError

QREL_FIELDS = ("query-id", "corpus-id", "score")


def open_source(config: CorpusConfig) -> Source:
    """Open the folder `config.path`.

    Raises:
        DsiError: a file is missing.
    """
    assert config.path is not None  # CorpusConfig sees to it
    return Beir(Folder(config.path), config.splits)


class Beir:
    def __init__(self, folder: Folder, splits: dict[str, str]) -> None:
        self._folder = folder
        self._corpus = folder.get("corpus.jsonl")
        self._splits = choose_splits(splits, self._parts)
        self._queries = folder.get("queries.jsonl") if self._splits else None

    @property
    def splits(self) -> list[str]:
        return list(self._splits)

    def documents(self) -> Iterator[tuple[Where, Document]]:
        for where, record in json_records(self._corpus):
            doc_id, text = _string(where, record, "_id"), _string(where, record, "text")
            yield where, Document(doc_id, _string(where, record, "title", default=""), text)

    def queries(self, split: str) -> Iterator[tuple[Where, Query]]:
        """The queries that the split's judgements name; nothing else tells whose a query is."""
        assert self._queries is not None
        judged = {qrel.query_id for _, qrel in self.qrels(split)}
        for where, record in json_records(self._queries):
            query = Query(_string(where, record, "_id"), _string(where, record, "text"))
            if query.query_id in judged:
                yield where, query

    def qrels(self, split: str) -> Iterator[tuple[Where, Qrel]]:
        lines = self._folder.get(f"qrels/{self._splits[split]}.tsv").lines()
        for where, line in lines:
            fields = split_fields(where, line, QREL_FIELDS)
            if where.number > 1:
                yield where, Qrel(fields[0], fields[1], parse_relevance(where, fields[2]))
            elif tuple(fields) != QREL_FIELDS:
                raise DsiError(f"{where}: expected the header {'<tab>'.join(QREL_FIELDS)}")

    def _parts(self, split: str) -> dict[str, bool]:
        name = f"qrels/{split}.tsv"
        return {str(self._folder.path / name): self._folder.find(name) is not None}


def _string(where: Where, record: dict[str, Any], key: str, default: str | None = None) -> str:
    value = record.get(key)
    if value is None:
        value = default
    if not isinstance(value, str):
        found = f"found {value!r:.60}" if key in record else "there is none"
        raise DsiError(f"{where}: {key} must be a string, {found}")
    return value
