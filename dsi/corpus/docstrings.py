"""Documentation of Python and of installed packages as a source: see `dsi.corpus.pydoc`."""

from __future__ import annotations

from collections.abc import Iterator

from dsi.config import DEV, TEST, CorpusConfig
from dsi.corpus.checks import id_hash
from dsi.corpus.pydoc import records
from dsi.corpus.source import Source, Where, choose_splits
from dsi.corpus.store import Document, Qrel, Query

SPLITS = (DEV, TEST)


def open_source(config: CorpusConfig) -> Source:
    """Read the documentation.

    Raises:
        DsiError: a package is not installed, or `config.splits` names something else than dev and test.
    """
    return Docstrings(config.packages, config.splits)


class Docstrings:
    """Each summary line is a query with the name of the documented object as its id; half are for choosing (dev)."""

    def __init__(self, packages: list[str], splits: dict[str, str]) -> None:
        self._splits = choose_splits(splits, lambda split: {f"split {split!r} in pydoc": split in SPLITS})
        self._records = list(records(packages))

    @property
    def splits(self) -> list[str]:
        return list(self._splits)

    def documents(self) -> Iterator[tuple[Where, Document]]:
        for number, (document, _) in enumerate(self._records, start=1):
            yield Where("pydoc", number, "document"), document

    def queries(self, split: str) -> Iterator[tuple[Where, Query]]:
        for number, (document, summary) in enumerate(self._records, start=1):
            if SPLITS[id_hash(document.doc_id) % 2] == self._splits[split]:
                yield Where("pydoc", number, "query"), Query(document.doc_id, summary)

    def qrels(self, split: str) -> Iterator[tuple[Where, Qrel]]:
        for where, query in self.queries(split):
            yield where, Qrel(query.query_id, query.query_id, 1)
