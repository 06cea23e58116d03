"""BM25: Lucene through pyserini, with its English analyzer (Porter stems, stop words removed).

The Java class of the searcher is used directly. `pyserini.search.lucene` wraps it, but imports every neural encoder
first, which takes longer than indexing a small corpus and fails where the key of a web service is not set.
"""

import os
import shutil
import time
from collections.abc import Iterable, Iterator, Sequence, Set
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
DOCUMENTS_PER_BATCH = 1_000
QUERIES_PER_BATCH = 100
"""The number of queries that are searched together; Java holds all their hits."""
BUFFER_MB = 256
"""The postings in memory before they go to disk, in MB. The default is 4 GB, which Java may not have."""


class Bm25System:
    """The Lucene index in `folder`, searched with BM25 for `depth` documents per query."""

    def __init__(self, folder: Path, config: Bm25Config, depth: int) -> None:
        start_java()
        self.searcher, self.depth = open_index(folder, config), depth

    def answer(self, texts: Sequence[str]) -> Iterator[Hits]:
        """The ranking for each text, found on all threads; it is empty where no document matches."""
        for start in range(0, len(texts), QUERIES_PER_BATCH):
            batch = texts[start : start + QUERIES_PER_BATCH]
            hits = _search(self.searcher, batch, self.depth, THREADS)
            for number in range(len(batch)):
                yield [(hit.docid, hit.score) for hit in hits.get(str(number))]

    def answer_alone(self, text: str) -> object:
        """The ranking for one text, found on one thread. It stays in Java: to hand it to Python takes longer."""
        return _search(self.searcher, [text], self.depth, threads=1)


def bm25(
    out_folder: Path,
    name: str,
    contents: Iterable[tuple[str, str]],
    documents: int,
    queries: list[Query],
    identical: Set[str],
    config: BaselinesConfig,
    latency_queries: int,
) -> dict[str, Any]:
    """Write `NAME.run`: the answers to `queries` over `contents`, the doc_id and text of so many `documents`. The index
    is not kept.

    Returns:
        What the system costs: seconds_index, index_bytes, what `ask` measures; and the number of documents indexed.

    Raises:
        DsiError: there is no Java to run Lucene on.
    """
    start_java()
    index = out_folder / f"{name}.index"
    shutil.rmtree(index, ignore_errors=True)  # left by an interrupted attempt
    try:
        start = time.monotonic()
        build_index(index, progress(contents, f"{name} index", total=documents))
        seconds, size = time.monotonic() - start, sum(file.stat().st_size for file in index.iterdir())
        opened = partial(Bm25System, index, config.bm25)
        system, measured = ask(out_folder, name, opened, config.depth, queries, identical, latency_queries)
        indexed = system.searcher.get_total_num_docs()
        system.searcher.close()
        return {"seconds_index": round(seconds, 2), "index_bytes": size, "documents": indexed, **measured}
    finally:
        shutil.rmtree(index, ignore_errors=True)


def build_index(folder: Path, contents: Iterable[tuple[str, str]]) -> None:
    """Write a Lucene index of (doc_id, text) pairs, as they come, to `folder`; a document without text is left out."""
    from pyserini.index.lucene import LuceneIndexer

    indexer = LuceneIndexer(args=["-index", str(folder), "-memoryBuffer", str(BUFFER_MB)], threads=THREADS)
    contents = iter(contents)
    while batch := list(islice(contents, DOCUMENTS_PER_BATCH)):
        indexer.add_batch_dict([{"id": doc_id, "contents": text} for doc_id, text in batch])
    indexer.close()


def open_index(folder: Path, config: Bm25Config) -> Any:
    """The Java object that searches the index in `folder` by BM25; documents of equal score come by doc_id."""
    from pyserini.pyclass import autoclass

    # The default refuses a query of more than 1,024 different words.
    autoclass("org.apache.lucene.search.IndexSearcher").setMaxClauseCount(2**31 - 1)
    searcher = autoclass("io.anserini.search.SimpleSearcher")(str(folder))
    searcher.set_bm25(float(config.k1), float(config.b))
    return searcher


def _search(searcher: Any, texts: Sequence[str], depth: int, threads: int) -> Any:
    """The hits of each text: a Java map from the number of the text, as a string."""
    from pyserini.pyclass import JArrayList

    queries, numbers = JArrayList(), JArrayList()
    for number, text in enumerate(texts):
        queries.add(text)
        numbers.add(str(number))
    return searcher.batch_search(queries, numbers, depth, threads)
