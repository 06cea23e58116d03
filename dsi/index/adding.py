"""Documents added to an index without training: what the model, which stays as it is, says of them gives their rows.

A new row is half the document's state and half the mean state of its synthetic queries, both centred as the documents
and queries of the training are and of unit length (6,000 MS MARCO passages, 1,000 of them new, RR@10 of the new ones'
queries: states .666, queries .623, both .687; docs/log.md), at a length that is right beside trained rows (see
dsi.index.row_strength). A document's queries and row depend on the document alone, not on those added with it.
"""

from collections.abc import Iterator, Sequence
from itertools import chain, islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dsi.config import CorpusConfig
from dsi.corpus.checks import check_text, id_hash
from dsi.corpus.documents import OwnDocuments
from dsi.corpus.handed_over import existing, handed_over
from dsi.corpus.records import documents_of
from dsi.corpus.source import Where
from dsi.corpus.store import Document
from dsi.corpus.words import nfc
from dsi.doc2query.expand import Generator
from dsi.doc2query.t5 import T5Generator
from dsi.docids.kind import NewDocument
from dsi.docids.later import later_docids
from dsi.errors import DsiError
from dsi.index.generations import SEGMENT, Claim, Generation
from dsi.index.growth import GENERATOR, has_document_rows, row_directions
from dsi.index.later_docids import FOLDER, write_later_docids
from dsi.index.opened import Opened, write_deleted
from dsi.index.segments import NewSegment, absorbed_by, write_segment
from dsi.lexical.later_terms import LaterPostings, later_postings
from dsi.model.build import open_index
from dsi.model.document_states import states_of
from dsi.runtime.printable import printable
from dsi.runtime.progress import progress
from dsi.tokenizer import open_tokenizer

AT_ONCE = 1_000
"""The number of documents whose queries are encoded at once."""


def documents_to_add(given: Any) -> list[Document]:
    """The documents to be added, in NFC: those of a file or folder, or handed over.

    Raises:
        DsiError: an id or a text cannot be stored, a document is empty or has no id, or two have the same id.
    """
    documents: dict[str, Document] = {}
    for where, document in _read(given):
        check_text(where, "document", *document)
        if not document.content().strip():
            raise DsiError(f"{where}: document {document.doc_id!r:.60} has neither title nor text; leave it out")
        if document.doc_id in documents:
            raise DsiError(f"{where}: document id {document.doc_id!r:.60} is given twice; give one another id")
        documents[document.doc_id] = Document(document.doc_id, nfc(document.title), nfc(document.text))
    if not documents:
        raise DsiError("documents: there are none")
    return list(documents.values())


def _read(given: Any) -> Iterator[tuple[Where, Document]]:
    if not isinstance(given, str | Path):
        return documents_of(handed_over("documents", "document", given), need_ids=True)
    return OwnDocuments(CorpusConfig(source="documents", path=str(existing(given)))).documents(need_ids=True)


def add(index: Opened, claim: Claim, documents: Sequence[Document], replace: bool) -> Generation:
    """Publish a generation that has these documents, too, or with `replace` in place of those with their ids.

    Raises:
        DsiError: an id is there already, or the index lacks something that later documents need.
    """
    there = index.corpus.doc_indexes({document.doc_id for document in documents})
    if there and not replace:
        some = ", ".join(map(printable, sorted(there)[:5]))
        raise DsiError(
            f"{index.parts.folder} has {len(there):,} of these documents already ({some:.200}); replace them"
            " (--replace), or leave them out"
        )
    index.growth.check()
    first, trained = len(index.corpus), index.trained.searcher
    queries = synthetic_queries(index, documents)
    facts = {"added": len(documents), "replaced": len(there)}
    made_of: dict[str, Any] = {}
    if not trained.docids.is_atomic:
        facts["sharing"] = _assign_docids(index, claim, documents, first)
        made_of["docids"] = claim.number
    rows = rows_of(index, documents, queries) if has_document_rows(trained.model, trained.docids) else None
    new = NewSegment(documents, queries, rows, _postings(index, documents, queries, first))
    kept = len(index.segments) - absorbed_by(index.segments, len(documents))
    write_segment(claim.folder / SEGMENT, new, first, index.segments[kept:])
    deleted = np.union1d(index.deleted, np.fromiter(there.values(), dtype=np.int64))
    write_deleted(claim.folder, deleted)
    return claim.publish(
        "add",
        facts,
        segments=(*(claim.before.segments[:kept] if claim.before else ()), claim.number),
        rows=first + len(documents),
        deleted=len(deleted),
        base_hash=index.parts.base_hash,
        **made_of,
    )


def synthetic_queries(index: Opened, documents: Sequence[Document]) -> list[list[str]]:
    """The synthetic queries of each document, drawn as those that the index was trained on.

    Raises:
        DsiError: they were not drawn but given.
    """
    growth, config = index.growth, index.growth.doc2query
    generators: list[Generator] = [growth.known_item] if growth.known_item is not None else []
    if config.t5.queries:
        checkpoint = growth.drawn.get("generator") or str(growth.folder / GENERATOR)
        generators.append(T5Generator.load(config.t5, checkpoint))
    queries = list[list[str]]()
    for document in progress(documents, "expand"):  # each alone, so that it draws the same whatever it is added with
        randoms = (np.random.default_rng([config.seed, place, id_hash(document.doc_id)]) for place in range(2))
        drawn = (generate([document], random)[0] for generate, random in zip(generators, randoms, strict=False))
        queries.append(list(chain.from_iterable(drawn)))
    if growth.drawn.get("predictions") and not any(queries):
        raise DsiError(
            f"{growth.folder}: the queries that this index was trained on were given, not generated, so that none can"
            " be made for other documents"
        )
    return queries


@torch.inference_mode()
def rows_of(index: Opened, documents: Sequence[Document], queries: Sequence[Sequence[str]]) -> Tensor:
    """The output rows of new documents, (documents, d_model) float32 on the CPU."""
    trained, growth, known = index.trained, index.growth, index.growth.tensors
    model, tokenizer = trained.searcher.model, open_tokenizer(index.parts.folders.tokenizer)  # it keeps where it cuts
    if index.parts.search.precision == "int8" or model.dtype != torch.float32:  # rows are made by the model as trained
        model = open_index(index.parts.folders.model).to(model.device)

    def states(texts: list[str], length: int) -> Tensor:
        ids: Any = tokenizer(texts, truncation=True, max_length=length)["input_ids"] if texts else []
        return torch.from_numpy(states_of(model, ids))

    rows, shown = list[Tensor](), progress(zip(documents, queries, strict=True), "encode", total=len(documents))
    while block := list(islice(shown, AT_ONCE)):
        of_documents = states([document.content() for document, _ in block], growth.model.document_length)
        of_queries = states(list(chain.from_iterable(texts for _, texts in block)), trained.query_length)
        owner = torch.repeat_interleave(torch.arange(len(block)), torch.tensor([len(texts) for _, texts in block]))
        directions = row_directions(known, of_documents, of_queries, owner)
        rows.append(directions * known["row_length"] + known["row_centre"])
    return torch.cat(rows)


def _assign_docids(index: Opened, claim: Claim, documents: Sequence[Document], first: int) -> int:
    """Write the docids of an index with these documents; return how many got the docid of another document."""
    docids, kind = index.assigned
    encode = index.growth.encode
    vectors = encode([document.content() for document in documents]) if encode is not None else None

    def vectors_of(numbers: NDArray[np.int64]) -> NDArray[np.float32]:
        assert encode is not None
        return np.asarray(encode([index.corpus[number].content() for number in numbers.tolist()]), dtype=np.float32)

    new = [
        NewDocument(first + place, document.doc_id, None if vectors is None else vectors[place])
        for place, document in enumerate(documents)
    ]
    is_tree = index.trained.searcher.model.config.docid_head == "hierarchical_softmax"
    gone = frozenset(index.deleted.tolist())
    found = later_docids(docids, kind, new, vectors_of, has_node_rows=is_tree, deleted=gone)
    trained = index.trained.searcher.docids
    write_later_docids(claim.folder / FOLDER, trained, found.joined(docids), found.kind)
    return found.shared


def _postings(
    index: Opened, documents: Sequence[Document], queries: Sequence[Sequence[str]], first: int
) -> LaterPostings | None:
    """The postings of new documents; None of an index without a prior."""
    if (stored := index.stored_terms) is None:
        return None
    has_queries = index.parts.indexes_queries
    pairs = zip(documents, queries, strict=True)
    contents = (" ".join([document.content(), *(texts if has_queries else ())]) for document, texts in pairs)
    return later_postings(contents, first, stored.language)
