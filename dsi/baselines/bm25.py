"""BM25: Lucene through pyserini, with its English analyzer (Porter stems, stop words removed).

The searcher's Java class is used directly. `pyserini.search.lucene` wraps it, but imports every neural encoder first:
that takes longer than indexing a small corpus, and fails where the key of a web service is not set.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

from dsi.baselines.java import start_java
from dsi.config import BaselinesConfig, Bm25Config
from dsi.corpus.store import Query
from dsi.runtime.progress import progress
from dsi.search.answering import Hits, ask

THREADS = os.cpu_count() or 1
DOCUMENTS_A_BATCH = 1_000
QUERIES_A_BATCH = 100
"""Searched together; Java holds all their hits."""
BUFFER_MB = 256
"""Of postings in memory before they go to disk. The default is 4 GB, which Java may not have."""


class Bm25System:
    """The Lucene index in `folder`, searched with BM25, `depth` documents a query."""

    def __init__(self, folder: Path, config: Bm25Config, depth: int) -> None:
        start_java()
        self.searcher, self.depth = open_index(folder, config), depth

    def answer(self, texts: Sequence[str]) -> Iterator[Hits]:
        """On all threads; nothing where nothing is found."""
        for first in range(0, len(texts), QUERIES_A_BATCH):
            batch = texts[first : first + QUERIES_A_BATCH]
            found = _find(self.searcher, batch, self.depth, THREADS)
            for number in range(len(batch)):
                yield [(hit.docid, hit.score) for hit in found.get(str(number))]

    def answer_alone(self, text: str) -> object:
        """On one thread. The hits stay in Java: to hand them to Python takes longer than finding them."""
        return _find(self.searcher, [text], self.depth, threads=1)


def bm25(
    out_folder: Path,
    name: str,
    contents: Iterable[tuple[str, str]],
    documents: int,
    queries: list[Query],
    config: BaselinesConfig,
    latency_queries: int,
) -> dict[str, Any]:
    """Write `NAME.run`: the answers to `queries` over so many (doc_id, text) pairs. The index is not kept.

    Returns:
        What it cost: seconds_index, index_bytes, and what `ask` measures; and the number of documents indexed.

    Raises:
        DsiError: there is no Java to run Lucene on.
    """
    start_java()
    index = out_folder / f"{name}.index"
    shutil.rmtree(index, ignore_errors=True)  # of an interrupted attempt
    try:
        start = time.monotonic()
        build_index(index, progress(contents, f"{name} index", total=documents))
        seconds = time.monotonic() - start
        opened = partial(Bm25System, index, config.bm25, config.depth)
        system, measured = ask(out_folder, name, opened, queries, latency_queries)
        facts = {
            "seconds_index": round(seconds, 2),
            "index_bytes": sum(file.stat().st_size for file in index.iterdir()),
            "documents": system.searcher.get_total_num_docs(),
            **measured,
        }
        system.searcher.close()
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


def _find(searcher: Any, texts: Sequence[str], depth: int, threads: int) -> Any:
    """A Java map from the number of a text, as a string, to its hits."""
    from pyserini.pyclass import JArrayList

    queries, numbers = JArrayList(), JArrayList()
    for number, text in enumerate(texts):
        queries.add(text)
        numbers.add(str(number))
    return searcher.batch_search(queries, numbers, depth, threads)
