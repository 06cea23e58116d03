"""Writes the corpus of a source to disk: in one pass over the documents, or in two to choose a subset."""

import importlib
import sys
from collections.abc import Iterable, Iterator
from hashlib import sha256
from itertools import compress, islice
from pathlib import Path
from typing import Any

import numpy as np

from dsi.config import DEV, TRAIN, CorpusConfig, KnownItemConfig
from dsi.corpus.checks import check_text, check_unique
from dsi.corpus.known_item import KnownItemGenerator, read_collection
from dsi.corpus.source import Source
from dsi.corpus.splits import Split
from dsi.corpus.store import Corpus, Document, Qrel, Query, write_rows
from dsi.corpus.subset import Survey
from dsi.corpus.words import words_of
from dsi.errors import DsiError
from dsi.runtime.progress import progress, say

SOURCES = {
    "pydoc": "dsi.corpus.docstrings",
    "msmarco": "dsi.corpus.msmarco",
    "beir": "dsi.corpus.beir",
    "ir_datasets": "dsi.corpus.irds",
    "documents": "dsi.corpus.documents",
}
"""The module of each source, whose `open_source(config)` returns the `Source`."""


CHECKED = 100
"""The number of records of each file that `check` reads."""
SIMULATION = 1
"""What sets the seed of simulated dev queries apart from that of the synthetic queries to train on."""


def open_source(corpus: CorpusConfig) -> Source:
    """The source that the configuration names; DsiError if a file or split of it is missing."""
    source: Source = importlib.import_module(SOURCES[corpus.source]).open_source(corpus)
    return source


def splits_of(corpus: CorpusConfig) -> list[str]:
    """The splits that the corpus will have; DsiError if a file or split of the source is missing."""
    return list(open_source(corpus).splits) or ([DEV] if corpus.simulated else [])


def ingest(out_folder: Path, *, corpus: CorpusConfig, known_item: KnownItemConfig | None = None) -> dict[str, Any]:
    """Write the documents, queries and judgements (see `dsi.corpus.store`) and return their numbers.

    Where the source has no queries, `corpus.simulated` of them are drawn from the documents as `known_item` says.
    Memory grows with the judgements, and by nine bytes per document.

    Raises:
        DsiError: the source is missing or faulty; the message names the place.
    """
    source = open_source(corpus)
    splits = [Split(source, name, None if name == TRAIN else corpus.evaluation_queries) for name in source.splits]
    judged = {split.name: split.judged_documents for split in splits}
    training = judged.pop(TRAIN, set())
    evaluation = set().union(*judged.values())
    survey = Survey(evaluation, training, corpus.seed)
    kept = set[str]()  # judged documents that are written
    digest = sha256()

    def noted(documents: Iterable[Document]) -> Iterator[Document]:
        separator = ""
        for document in documents:
            digest.update(f"{separator}{document.doc_id}".encode())
            separator = "\n"
            if document.doc_id in evaluation or document.doc_id in training:
                kept.add(document.doc_id)
            yield document

    documents_file = out_folder / "documents.arrow"
    if corpus.size is None:
        written = write_rows(documents_file, Document, noted(survey.watch(progress(source.documents(), "ingest"))))
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
        by_split = [split.ranks(corpus.seed) for split in splits if split.name != TRAIN]
        ranks = {doc_id: min(each.get(doc_id, 1.0) for each in by_split) for doc_id in evaluation}
        keep = survey.subset(corpus.size, ranks)
        chosen = compress(progress(source.documents(), "ingest", total=in_source), keep)
        written = write_rows(documents_file, Document, noted(document for _, document in chosen))

    for split in splits:
        queries, qrels = split.restrict(survey.found.keys(), kept, corpus.max_unknown)
        if split.name != TRAIN and (dropped := split.counts["queries_outside_subset"]):
            what = (
                f"corpus.size: {corpus.size} documents cannot hold the {survey.judged} that are judged for evaluation"
            )
            if not queries:
                raise DsiError(
                    f"{what} queries, not even those of one query of split {split.name}; set it to {survey.judged} or"
                    " more"
                )
            total = len(queries) + dropped
            kept_of = f"split {split.name} keeps {len(queries):,} of its {total:,} queries, drawn with corpus.seed"
            print(f"{what} queries: {kept_of}", file=sys.stderr)
        write_rows(out_folder / f"queries.{split.name}.arrow", Query, queries)
        write_rows(out_folder / f"qrels.{split.name}.arrow", Qrel, qrels)
    if corpus.ignore_identical_ids is not False:
        _write_identical(Corpus(out_folder), corpus.has_identical_ids)
    counts: dict[str, Any] = {
        "documents": written,
        "documents_in_source": in_source,
        "empty_documents": survey.empty,
        "documents_sha256": digest.hexdigest(),  # of the ids, one per line: equal for equal lists of documents
        "splits": {split.name: dict(split.counts) for split in splits},
    }
    if survey.empty:
        say(f"dsi: {survey.empty:,} of {in_source:,} documents have neither title nor text, and are left out")
    if known_item is not None and not splits:
        counts["simulated_queries"] = _simulate(Corpus(out_folder), corpus, known_item)
    return counts


def _simulate(corpus: Corpus, config: CorpusConfig, known_item: KnownItemConfig) -> int:
    """Write split dev, a known-item query for each of some documents drawn at random; return how many there are."""
    random = np.random.default_rng([config.seed, SIMULATION])
    contents = progress(corpus.contents(), "count words", total=len(corpus))
    generate = KnownItemGenerator(known_item.model_copy(update={"queries": 1}), read_collection(contents, len(corpus)))
    size = min(config.simulated, len(corpus))
    documents = [corpus[number] for number in sorted(random.choice(len(corpus), size, replace=False).tolist())]
    texts = zip(documents, generate(documents, random), strict=True)
    drawn = [(document.doc_id, text) for document, queries in texts for text in queries if text]
    if not drawn:
        raise DsiError("corpus.simulated_queries: no document has a word of which queries can be made; set it to 0")
    queries = [Query(f"known-item-{number}", text) for number, (_, text) in enumerate(drawn)]
    qrels = [Qrel(query.query_id, doc_id, 1) for query, (doc_id, _) in zip(queries, drawn, strict=True)]
    write_rows(corpus.folder / f"queries.{DEV}.arrow", Query, queries)
    write_rows(corpus.folder / f"qrels.{DEV}.arrow", Qrel, qrels)
    return len(queries)


def _write_identical(corpus: Corpus, ids_suffice: bool) -> None:
    """Note the queries that are documents (see `Corpus.identical`): those whose id is a document's, unless that one is
    relevant to them; if the id does not suffice, the document must have all words of the query, too."""
    splits = [split for split in corpus.splits if ids_suffice or split != TRAIN]
    queries = {split: {query.query_id: query.text for query in corpus.queries(split)} for split in splits}
    documents = corpus.doc_indexes({query_id for of_split in queries.values() for query_id in of_split})
    for split, texts in queries.items():
        own = {qrel.query_id for qrel in corpus.qrels(split) if qrel.relevance > 0 and qrel.query_id == qrel.doc_id}
        same = [
            query_id
            for query_id, text in texts.items()
            if query_id in documents
            and query_id not in own
            and (ids_suffice or {*words_of(text)} <= {*words_of(corpus[documents[query_id]].content())})
        ]
        if same:
            (corpus.folder / f"identical.{split}.txt").write_text("\n".join(same) + "\n", encoding="utf-8")


def check(corpus: CorpusConfig) -> None:
    """Read the first records of every file of the source, as far as it has files.

    Raises:
        DsiError: a file or split is missing, or one of these records is faulty.
    """
    source = open_source(corpus)
    if not source.files:
        return
    for where, document in islice(source.documents(), CHECKED):
        check_text(where, "document", *document)
    for split in source.splits:
        for where, query in islice(source.queries(split), CHECKED):
            check_text(where, "query", *query)
        for _ in islice(source.qrels(split), CHECKED):
            pass
