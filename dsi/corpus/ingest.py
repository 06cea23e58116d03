"""From a source to the corpus on disk, in one pass over the documents, or two where a subset is to be chosen."""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Iterator, Set
from hashlib import sha256
from itertools import compress
from pathlib import Path
from typing import Any

from dsi.config import TRAIN, CorpusConfig
from dsi.corpus.checks import check_unique
from dsi.corpus.source import Source
from dsi.corpus.splits import Split
from dsi.corpus.store import Document, Qrel, Query, write_rows
from dsi.corpus.subset import Survey
from dsi.errors import DsiError
from dsi.runtime.progress import progress

SOURCES = {
    "pydoc": "dsi.corpus.docstrings",
    "msmarco": "dsi.corpus.msmarco",
    "beir": "dsi.corpus.beir",
    "ir_datasets": "dsi.corpus.irds",
}


def ingest(out_folder: Path, *, corpus: CorpusConfig) -> dict[str, Any]:
    """Write the documents, queries and judgements (see `dsi.corpus.store`) and return their numbers.

    Memory grows with the judgements, and by nine bytes a document.

    Raises:
        DsiError: the source is faulty; the message names the place.
    """
    source = open_source(corpus)
    splits = [Split(source, name, None if name == TRAIN else corpus.evaluation_queries) for name in source.splits]
    judged = {split.name: split.judged_documents for split in splits}
    training = judged.pop(TRAIN, set())
    survey = Survey(set().union(*judged.values()), training, corpus.seed)
    writer = Writer(judged=training.union(*judged.values()))

    if corpus.size is None:
        writer.write(out_folder, survey.watch(progress(source.documents(), "ingest")))
    else:
        for _ in survey.watch(progress(source.documents(), "choose documents")):
            pass
    ids = ((where, document.doc_id) for where, document in source.documents())
    check_unique("document", survey.hashes, ids, corpus.seed)
    in_source = len(survey.hashes)
    if survey.empty == in_source:
        name = corpus.path or corpus.dataset or corpus.source
        raise DsiError(f"{name}: the corpus is empty: none of its {in_source} documents has a title or text")
    if corpus.size is not None:
        keep = survey.subset(corpus.size)
        chosen = compress(progress(source.documents(), "ingest", total=in_source), keep)
        writer.write(out_folder, (document for _, document in chosen))

    return {
        "documents": writer.documents,
        "documents_in_source": in_source,
        "empty_documents": survey.empty,
        "documents_sha256": writer.digest.hexdigest(),
        "splits": {split.name: _write_split(out_folder, split, survey.found, writer.kept, corpus) for split in splits},
    }


def open_source(config: CorpusConfig) -> Source:
    """The source that the configuration names.

    Raises:
        DsiError: it is not there.
    """
    source: Source = importlib.import_module(SOURCES[config.source]).open_source(config)
    return source


class Writer:
    """Writes the documents while noting what the manifest and the judgements need to know of them."""

    def __init__(self, judged: Set[str]) -> None:
        self._judged = judged
        self.documents = 0
        self.kept: set[str] = set()
        """Judged documents that were written."""
        self.digest = sha256()
        """Of the ids that were written, joined by line ends: tells whether two corpora are the same list."""

    def write(self, out_folder: Path, documents: Iterable[Document]) -> None:
        self.documents = write_rows(out_folder / "documents.arrow", Document, self._noted(documents))

    def _noted(self, documents: Iterable[Document]) -> Iterator[Document]:
        separator = ""
        for document in documents:
            self.digest.update(f"{separator}{document.doc_id}".encode())
            separator = "\n"
            if document.doc_id in self._judged:
                self.kept.add(document.doc_id)
            yield document


def _write_split(
    out_folder: Path, split: Split, known: Set[str], kept: Set[str], config: CorpusConfig
) -> dict[str, int]:
    queries, qrels = split.restrict(known, kept, config.max_unknown)
    write_rows(out_folder / f"queries.{split.name}.arrow", Query, queries)
    write_rows(out_folder / f"qrels.{split.name}.arrow", Qrel, qrels)
    return dict(split.counts)
