"""The source `msmarco`: MS MARCO's own files, or any collection in that layout.

    collection.tsv       document id <tab> text
    queries.SPLIT.tsv    query id <tab> text
    qrels.SPLIT.tsv      query id, iteration, document id, relevance, separated by white space

Each is read as it is, with .gz added, or inside a .tar.gz, as MS MARCO publishes them. The official splits are train,
dev and dev.small, a part of dev; where the queries of dev.small are not there by themselves, those of dev are read.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path

from dsi.config import USUAL_SPLITS, CorpusConfig
from dsi.corpus.files import Folder, TextFile, parse_relevance
from dsi.corpus.source import Source, Where, choose_splits
from dsi.corpus.store import Document, Qrel, Query
from dsi.corpus.tables import DOCUMENT_ID, ITERATION, QUERY_ID, RELEVANCE, TEXT, Table
from dsi.errors import DsiError
from dsi.runtime.progress import say


def open_source(config: CorpusConfig) -> Source:
    """Open the folder or .tar.gz `config.path`; DsiError if a file is missing."""
    assert config.path is not None  # CorpusConfig checks it
    return MsMarco(Folder(config.path), config.splits)


class MsMarco:
    """The source in a folder or archive; `splits` are our names of splits, and those in the names of the files."""

    def __init__(self, folder: Folder, splits: dict[str, str]) -> None:
        self._folder = folder
        self._collection = Table(folder.get("collection.tsv"), (DOCUMENT_ID, TEXT))
        named = dict(splits)
        self._small = set[str]()  # splits that are read from their small parts
        for split in USUAL_SPLITS:
            small = f"{split}.small"
            if split not in named and not all(self._parts(split).values()) and all(self._parts(small).values()):
                named[split] = small
                self._small.add(split)
        self.splits = choose_splits(named, self._parts)
        self._queries, self._qrels = dict[str, Table](), dict[str, Table]()
        for split, name in self.splits.items():
            queries, qrels = self._queries_file(name), folder.get(f"qrels.{name}.tsv")
            assert queries is not None  # choose_splits has checked it
            self._queries[split] = Table(queries, (QUERY_ID, TEXT))
            self._qrels[split] = Table(qrels, (QUERY_ID, ITERATION, DOCUMENT_ID, RELEVANCE), separator=None)

    @property
    def files(self) -> Mapping[str, Path]:
        tables = (self._collection, *self._queries.values(), *self._qrels.values())
        return self._folder.paths(*(table.file for table in tables))

    def documents(self) -> Iterator[tuple[Where, Document]]:
        for where, (doc_id, text) in self._collection.rows():
            yield where, Document(doc_id, "", text)

    def queries(self, split: str) -> Iterator[tuple[Where, Query]]:
        if split in self._small:
            say(f"{self._folder.path}: split {split} is {split}.small, whose files are all there")
        for where, (query_id, text) in self._queries[split].rows():
            yield where, Query(query_id, text)

    def qrels(self, split: str) -> Iterator[tuple[Where, Qrel]]:
        iterations, doc_ids = set[str](), set[str]()
        for where, (query_id, iteration, doc_id, relevance) in self._qrels[split].rows():
            iterations.add(iteration)
            doc_ids.add(doc_id)
            yield where, Qrel(query_id, doc_id, parse_relevance(where, relevance))
        if len(iterations) > len(doc_ids):
            raise DsiError(
                f"{self._qrels[split].file.name}: column 3 (document id) has fewer different values, {len(doc_ids)},"
                f" than column 2 (iteration), {len(iterations)}; put the columns in order"
            )

    def _parts(self, split: str) -> dict[str, bool]:
        """The files that a split needs, and whether they exist."""
        queries, qrels = self._folder.present(f"queries.{split}.tsv", f"qrels.{split}.tsv").items()
        return dict(((queries[0], queries[1] or (qrels[1] and self._queries_file(split) is not None)), qrels))

    def _queries_file(self, split: str) -> TextFile | None:
        """The queries of a split, or those of the split of which it is a part: dev.small is a part of dev."""
        whole = split.removesuffix(".small")
        return self._folder.find(f"queries.{split}.tsv") or self._folder.find(f"queries.{whole}.tsv")
