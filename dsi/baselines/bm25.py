"""BM25: Lucene through pyserini, with its analyzer for the language (English: Porter stems, stop words removed).

Languages of `OWN_WORDS` have no analyzer that works with every Java; they are split into the words of
`dsi.corpus.words`.

The Java class of the searcher is used directly. `pyserini.search.lucene` wraps it, but imports every neural encoder
first, which takes longer than indexing a small corpus and fails where the key of a web service is not set.
"""

import os
import shutil
import time
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

from dsi.baselines.java import start_java
from dsi.baselines.tuning import Tuning
from dsi.config import BaselinesConfig, Bm25Config
from dsi.corpus.words import words_of
from dsi.runtime.progress import progress
from dsi.search.answering import Hits, Questions, ask

THREADS = os.cpu_count() or 1
DOCUMENTS_PER_BATCH = 1_000
QUERIES_PER_BATCH = 100
"""The number of queries that are searched together; Java holds all their hits."""
BUFFER_MB = 256
"""The postings in memory before they go to disk, in MB. The default is 4 GB, which Java may not have."""
OWN_WORDS = ("km", "lo", "my", "th", "other")
"""The languages whose words Lucene gets with blanks between them."""


class Bm25System:
    """The Lucene index in `folder`, searched with BM25 for `depth` documents per query."""

    def __init__(self, folder: Path, config: Bm25Config, depth: int, language: str) -> None:
        start_java()
        self.searcher, self.depth, self.language = open_index(folder, language), depth, language
        self.set_parameters(config)

    def set_parameters(self, config: Bm25Config) -> None:
        """Search with this k1 and b from now on."""
        self.searcher.set_bm25(float(config.k1), float(config.b))

    def answer(self, texts: Sequence[str]) -> Iterator[Hits]:
        """The ranking for each text, found on all threads; it is empty where no document matches."""
        for start in range(0, len(texts), QUERIES_PER_BATCH):
            batch = [_prepared(text, self.language) for text in texts[start : start + QUERIES_PER_BATCH]]
            hits = _search(self.searcher, batch, self.depth, THREADS)
            for number in range(len(batch)):
                yield [(hit.docid, hit.score) for hit in hits.get(str(number))]

    def answer_alone(self, text: str) -> object:
        """The ranking for one text, found on one thread. It stays in Java: to hand it to Python takes longer."""
        return _search(self.searcher, [_prepared(text, self.language)], self.depth, threads=1)


def bm25(
    out_folder: Path,
    name: str,
    contents: Iterable[tuple[str, str]],
    documents: int,
    questions: Questions,
    config: BaselinesConfig,
    language: str = "en",
    tuning: Tuning | None = None,
) -> dict[str, Any]:
    """Write `NAME.run`: the answers to `questions` over `contents`, the doc_id and text of so many `documents`. The
    index is not kept. k1 and b are those of the configuration, or chosen by `tuning`.

    Returns:
        What the system costs: seconds_index, index_bytes, what `ask` measures; the number of documents indexed; the
        language, k1 and b; and how these two were chosen, `tuned`, if they were.

    Raises:
        DsiError: there is no Java to run Lucene on.
    """
    start_java()
    index = out_folder / f"{name}.index"
    shutil.rmtree(index, ignore_errors=True)  # left by an interrupted attempt
    try:
        start = time.monotonic()
        build_index(index, progress(contents, f"{name} index", total=documents), language)
        seconds, size = time.monotonic() - start, sum(file.stat().st_size for file in index.iterdir())
        parameters, tuned = config.bm25, dict[str, Any]()
        if tuning is not None:
            system = Bm25System(index, parameters, tuning.depth(config.depth), language)
            parameters, tuned["tuned"] = tuning.choose(system, parameters, name)
            system.searcher.close()
        opened = partial(Bm25System, index, parameters, language=language)
        system, measured = ask(out_folder, name, opened, config.depth, questions)
        indexed = system.searcher.get_total_num_docs()
        system.searcher.close()
        facts = {"documents": indexed, "language": language, "k1": parameters.k1, "b": parameters.b, **tuned}
        return {"seconds_index": round(seconds, 2), "index_bytes": size, **facts, **measured}
    finally:
        shutil.rmtree(index, ignore_errors=True)


def build_index(folder: Path, contents: Iterable[tuple[str, str]], language: str = "en") -> None:
    """Write a Lucene index of (doc_id, text) pairs, as they come, to `folder`; a document without text is left out."""
    from pyserini.index.lucene import LuceneIndexer

    analyzer = ["-pretokenized"] if language in OWN_WORDS else ["-language", language]
    indexer = LuceneIndexer(args=["-index", str(folder), "-memoryBuffer", str(BUFFER_MB), *analyzer], threads=THREADS)
    contents = iter(contents)
    while batch := list(islice(contents, DOCUMENTS_PER_BATCH)):
        indexer.add_batch_dict([{"id": doc_id, "contents": _prepared(text, language)} for doc_id, text in batch])
    indexer.close()


def open_index(folder: Path, language: str = "en") -> Any:
    """The Java object that searches the index in `folder`; documents of equal score come by doc_id."""
    from pyserini.pyclass import autoclass

    # The default refuses a query of more than 1,024 different words.
    autoclass("org.apache.lucene.search.IndexSearcher").setMaxClauseCount(2**31 - 1)
    searcher = autoclass("io.anserini.search.SimpleSearcher")(str(folder))
    if language in OWN_WORDS:
        searcher.set_analyzer(autoclass("org.apache.lucene.analysis.core.WhitespaceAnalyzer")())
    else:
        searcher.set_language(language)
    return searcher


def _prepared(text: str, language: str) -> str:
    """What Lucene gets of a text."""
    return " ".join(words_of(text, pairs=True)) if language in OWN_WORDS else text


def _search(searcher: Any, texts: Sequence[str], depth: int, threads: int) -> Any:
    """The hits of each text: a Java map from the number of the text, as a string."""
    from pyserini.pyclass import JArrayList

    queries, numbers = JArrayList(), JArrayList()
    for number, text in enumerate(texts):
        queries.add(text)
        numbers.add(str(number))
    return searcher.batch_search(queries, numbers, depth, threads)
