"""Documents with their synthetic queries appended, as docTTTTTquery indexes them (Nogueira and Lin 2019)."""

from collections.abc import Iterator
from itertools import groupby
from pathlib import Path

from dsi.corpus.store import Corpus
from dsi.doc2query.shards import read_shards


def contents(
    corpus: Corpus, doc2query_folder: Path | None, documents: range | None = None
) -> Iterator[tuple[str, str]]:
    """The doc_id and text of every document, or of some that follow each other, with its synthetic queries appended if
    their folder is given."""
    numbers = range(len(corpus)) if documents is None else documents
    rows = corpus.rows(numbers.start, numbers.stop)
    if doc2query_folder is None:
        yield from ((document.doc_id, document.content()) for document in rows)
        return
    shards = read_shards(doc2query_folder, documents)
    pairs = (pair for chunk, texts in shards for pair in zip(chunk.tolist(), texts, strict=True))
    by_document = groupby((pair for pair in pairs if pair[0] >= numbers.start), key=lambda pair: pair[0])
    number, queries = next(by_document, (-1, iter(())))
    for doc_index, document in zip(numbers, rows, strict=True):
        text = document.content()
        if number == doc_index:
            text = " ".join([text, *(query for _, query in queries)])
            number, queries = next(by_document, (-1, iter(())))
        yield document.doc_id, text
