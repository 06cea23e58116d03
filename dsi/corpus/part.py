"""Some documents of a corpus as a corpus of their own, with the queries that they alone answer."""

from collections.abc import Collection
from pathlib import Path

from dsi.corpus.store import Corpus, Document, Qrel, Query, write_rows


def write_part(folder: Path, corpus: Corpus, numbers: Collection[int]) -> Corpus:
    """Write the documents with these row numbers, in the order of the corpus, and the queries all of whose relevant
    documents are among them, to an empty folder. A split of which no query is left is left out."""
    rows = sorted(numbers)
    doc_ids = set(corpus.doc_ids(rows))
    write_rows(folder / "documents.arrow", Document, (corpus[number] for number in rows))
    for split in corpus.splits:
        qrels = [qrel for qrel in corpus.qrels(split) if qrel.doc_id in doc_ids]
        answered = {query_id for query_id, relevant in relevant_ids(corpus, split).items() if relevant <= doc_ids}
        if answered:
            queries = (query for query in corpus.queries(split) if query.query_id in answered)
            write_rows(folder / f"queries.{split}.arrow", Query, queries)
            judged = (qrel for qrel in qrels if qrel.query_id in answered)
            write_rows(folder / f"qrels.{split}.arrow", Qrel, judged)
    return Corpus(folder)


def relevant_ids(corpus: Corpus, split: str) -> dict[str, set[str]]:
    """The ids of the relevant documents of each query of a split that has one."""
    relevant: dict[str, set[str]] = {}
    for qrel in corpus.qrels(split):
        if qrel.relevance > 0:
            relevant.setdefault(qrel.query_id, set()).add(qrel.doc_id)
    return relevant
