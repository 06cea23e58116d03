"""The source `msmarco`: MS MARCO's own files, or any collection in that layout.

    collection.tsv       document id <tab> text
    queries.SPLIT.tsv    query id <tab> text
    qrels.SPLIT.tsv      query id, iteration, document id, relevance, separated by white space

Each is read as it is, with .gz added, or inside a .tar.gz, as MS MARCO publishes them.
"""

from collections.abc import Iterator

from dsi.config import CorpusConfig
from dsi.corpus.files import Folder, parse_relevance, split_fields
from dsi.corpus.source import Source, Where, choose_splits
from dsi.corpus.store import Document, Qrel, Query

DOCUMENT_FIELDS = ("document id", "text")
QUERY_FIELDS = ("query id", "text")
QREL_FIELDS = ("query id", "iteration", "document id", "relevance")


def open_source(config: CorpusConfig) -> Source:
    """Open the folder or .tar.gz `config.path`; DsiError if a file is missing."""
    assert config.path is not None  # CorpusConfig checks it
    return MsMarco(Folder(config.path), config.splits)


class MsMarco:
    """The source in a folder or archive; `splits` are our names of splits, and those in the names of the files."""

    def __init__(self, folder: Folder, splits: dict[str, str]) -> None:
        self._folder = folder
        self._collection = folder.get("collection.tsv")
        self.splits = choose_splits(splits, lambda split: folder.present(f"queries.{split}.tsv", f"qrels.{split}.tsv"))

    def documents(self) -> Iterator[tuple[Where, Document]]:
        for where, line in self._collection.lines():
            doc_id, text = split_fields(where, line, DOCUMENT_FIELDS)
            yield where, Document(doc_id, "", text)

    def queries(self, split: str) -> Iterator[tuple[Where, Query]]:
        for where, line in self._folder.get(f"queries.{self.splits[split]}.tsv").lines():
            yield where, Query(*split_fields(where, line, QUERY_FIELDS))

    def qrels(self, split: str) -> Iterator[tuple[Where, Qrel]]:
        for where, line in self._folder.get(f"qrels.{self.splits[split]}.tsv").lines():
            query_id, _, doc_id, relevance = split_fields(where, line, QREL_FIELDS, separator=None)
            yield where, Qrel(query_id, doc_id, parse_relevance(where, relevance))
