"""The source `pydoc`: the documentation of Python and of installed packages, read by `dsi.corpus.pydoc`."""

from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path

from dsi.config import DEV, TEST, CorpusConfig
from dsi.corpus.checks import id_hash
from dsi.corpus.pydoc import records, versions
from dsi.corpus.source import Source, Where, choose_splits
from dsi.corpus.store import Document, Qrel, Query

SPLITS = (DEV, TEST)


def open_source(config: CorpusConfig) -> Source:
    """The documentation; DsiError if a package is not installed or a split is neither dev nor test."""
    return Docstrings(config.packages, config.splits)


class Docstrings:
    """The documented objects. The name of an object is the id of its document and query; its hash decides the split."""

    def __init__(self, packages: list[str], splits: dict[str, str]) -> None:
        self.splits = choose_splits(splits, lambda split: {f"split {split!r} in pydoc": split in SPLITS})
        versions(packages)  # which must be installed
        self._packages = packages

    @cached_property
    def _records(self) -> list[tuple[Document, str]]:
        return list(records(self._packages))

    @property
    def files(self) -> Mapping[str, Path]:
        return {}

    def documents(self) -> Iterator[tuple[Where, Document]]:
        for number, (document, _) in enumerate(self._records, start=1):
            yield Where("pydoc", number, "document"), document

    def queries(self, split: str) -> Iterator[tuple[Where, Query]]:
        for number, (document, summary) in enumerate(self._records, start=1):
            if SPLITS[id_hash(document.doc_id) % 2] == self.splits[split]:
                yield Where("pydoc", number, "query"), Query(document.doc_id, summary)

    def qrels(self, split: str) -> Iterator[tuple[Where, Qrel]]:
        for where, query in self.queries(split):
            yield where, Qrel(query.query_id, query.query_id, 1)
