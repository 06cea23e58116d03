"""BM25: Lucene through pyserini, with its English analyzer (Porter stems, stop words removed).

The searcher's Java class is used directly. `pyserini.search.lucene` wraps it, but imports every neural encoder first:
that takes longer than indexing a small corpus, and fails where the key of a web service is not set.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from dsi.baselines.java import start_java
from dsi.config import BaselinesConfig, Bm25Config
from dsi.corpus.store import Query
from dsi.latency import milliseconds, percentiles
from dsi.progress import progress
from dsi.runfile import write_run

Hits = list[tuple[str, float]]
"""(doc_id, score) of the documents found, best first."""

THREADS = os.cpu_count() or 1
DOCUMENTS_A_BATCH = 1_000
QUERIES_A_BATCH = 100
"""Searched together; Java holds all their hits."""
BUFFER_MB = 256
"""Of postings in memory before they go to disk. The default is 4 GB, which Java may not have."""
LATENCY_QUERIES = 100


def bm25(
    out: Path,
    name: str,
    contents: Iterable[tuple[str, str]],
    documents: int,
    queries: list[Query],
    config: BaselinesConfig,
) -> dict[str, Any]:
    """Write `NAME.run`: the answers to `queries` over so many (doc_id, text) pairs, none where nothing is found.
    The index is not kept.

    Returns:
        What it cost: seconds_index, index_bytes, latency_ms (p50 and p95 of the first 100 queries, asked again one at a
        time); and the numbers of documents indexed and of queries.

    Raises:
        DsiError: there is no Java to run Lucene on.
    """
    start_java()
    index = out / f"{name}.index"
    shutil.rmtree(index, ignore_errors=True)  # of an interrupted attempt
    try:
        start = time.monotonic()
        build_index(index, progress(contents, f"{name} index", total=documents))
        facts: dict[str, Any] = {
            "seconds_index": round(time.monotonic() - start, 2),
            "index_bytes": sum(file.stat().st_size for file in index.iterdir()),
        }
        searcher = open_index(index, config.bm25)
        found = search(searcher, [query.text for query in queries], config.depth)
        answers = zip((query.query_id for query in queries), found, strict=True)
        write_run(out / f"{name}.run", name, progress(answers, f"{name} search", total=len(queries), unit="queries"))
        facts |= {
            "latency_ms": latency_ms(searcher, queries[:LATENCY_QUERIES], config.depth),
            "documents": searcher.get_total_num_docs(),
            "queries": len(queries),
        }
        searcher.close()
        return facts
    finally:
        shutil.rmtree(index, ignore_errors=True)


def build_index(folder: Path, contents: Iterable[tuple[str, str]]) -> None:
    """Index (doc_id, text) pairs as they come. Lucene leaves out a document without text."""
    from pyserini.index.lucene import LuceneIndexer

    indexer = LuceneIndexer(args=["-index", str(folder), "-memoryBuffer", str(BUFFER_MB)], threads=THREADS)
    contents = iter(contents)
    while batch := list(islice(contents, DOCUMENTS_A_BATCH)):
        indexer.add_batch_dict([{"id": doc_id, "contents": text} for doc_id, text in batch])
    indexer.close()


def open_index(folder: Path, config: Bm25Config) -> Any:
    """The Java object that searches the index in `folder` by BM25. Equal scores are in the order of the doc_ids."""
    from pyserini.pyclass import autoclass

    # The default refuses a query of more than 1,024 different words.
    autoclass("org.apache.lucene.search.IndexSearcher").setMaxClauseCount(2**31 - 1)
    searcher = autoclass("io.anserini.search.SimpleSearcher")(str(folder))
    searcher.set_bm25(float(config.k1), float(config.b))
    return searcher


def search(searcher: Any, texts: list[str], depth: int) -> Iterator[Hits]:
    """The `depth` best documents for each text, found on all threads."""
    for first in range(0, len(texts), QUERIES_A_BATCH):
        batch = texts[first : first + QUERIES_A_BATCH]
        found = _find(searcher, batch, depth, THREADS)
        for number in range(len(batch)):
            yield [(hit.docid, hit.score) for hit in found.get(str(number))]


def latency_ms(searcher: Any, queries: list[Query], depth: int) -> dict[str, float]:
    """Milliseconds of a search, one query and one thread at a time: the median and the 95th percentile.

    Lucene's hits are not handed to Python here, which would take longer than finding them.
    """
    return percentiles(milliseconds(lambda query: _find(searcher, [query.text], depth, threads=1), queries))


def _find(searcher: Any, texts: list[str], depth: int, threads: int) -> Any:
    """A Java map from the number of a text, as a string, to its hits."""
    from pyserini.pyclass import JArrayList

    queries, numbers = JArrayList(), JArrayList()
    for number, text in enumerate(texts):
        queries.add(text)
        numbers.add(str(number))
    return searcher.batch_search(queries, numbers, depth, threads)
