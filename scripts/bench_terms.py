"""The lexical stage: seconds, memory and bytes to index a million documents, and the time of a query, against Lucene.

Documents are texts of 40 words drawn by Zipf's law from 200,000; queries are four words of one of them. Each engine
works in a process of its own, whose peak memory is that of indexing.

python scripts/bench_terms.py [THOUSANDS]
"""

import argparse
from collections.abc import Callable, Iterator
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from timing import timed

from dsi.baselines.bm25 import Bm25System, build_index
from dsi.baselines.java import start_java
from dsi.config import Bm25Config
from dsi.corpus.store import Document, write_rows
from dsi.lexical.index_terms import POSTINGS, Terms, index_terms
from dsi.report.tables import text_table
from dsi.runtime.system import process_peak

WORDS, VOCABULARY, BLOCK = 40, 200_000, 10_000
QUERIES, DEPTHS = 2_000, (32, 1_000)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("thousands", nargs="?", type=int, default=1_000, help="thousands of documents (default: 1000)")
    documents = 1_000 * parser.parse_args().thousands
    with TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "corpus").mkdir()
        write_rows(folder / "corpus/documents.arrow", Document, (Document(f"d{n}", "", t) for n, t in texts(documents)))
        measured = {}
        for engine in (tantivy, lucene):
            with get_context("spawn").Pool(1) as pool:
                measured[engine.__name__] = pool.apply(engine, (folder, documents))
    print(f"{documents:,} documents of {WORDS} words; queries of four words, one at a time")
    header = ["", "seconds to index", "peak GB", "MB on disk", *(f"ms a query, best {depth:,}" for depth in DEPTHS)]
    print(text_table(header, [[name, *(f"{value:.2f}" for value in row.values())] for name, row in measured.items()]))
    print(" ".join(f"{name}_{key}={value:.3f}" for name, row in measured.items() for key, value in row.items()))


def texts(documents: int) -> Iterator[tuple[int, str]]:
    """The number and the words of each document."""
    for start in range(0, documents, BLOCK):
        random = np.random.default_rng(start)
        for number, row in enumerate(random.zipf(1.2, (min(BLOCK, documents - start), WORDS)) % VOCABULARY, start):
            yield number, " ".join(f"w{word}" for word in row)


def queries(documents: int) -> list[str]:
    """Four words of the first documents."""
    return [" ".join(text.split()[5:9]) for _, text in texts(min(documents, QUERIES))]


def tantivy(folder: Path, documents: int) -> dict[str, float]:
    """What the stage costs."""
    out = folder / "lexical"
    out.mkdir()
    seconds, _ = timed(lambda: index_terms(out, language="other", corpus_folder=folder / "corpus"))
    terms = Terms(out)
    return facts(seconds, out / POSTINGS, [partial(ask_tantivy, terms, depth) for depth in DEPTHS], documents)


def ask_tantivy(terms: Terms, depth: int, text: str) -> Any:
    return terms.best([text], depth)


def lucene(folder: Path, documents: int) -> dict[str, float]:
    """What the baseline's index costs, on the same number of cores."""
    start_java()
    out = folder / "lucene"
    seconds, _ = timed(lambda: build_index(out, ((f"d{n}", text) for n, text in texts(documents)), "other"))
    systems = [Bm25System(out, Bm25Config(), depth, "other") for depth in DEPTHS]
    return facts(seconds, out, [system.answer_alone for system in systems], documents)


def facts(seconds: float, index: Path, asks: list[Callable[[str], object]], documents: int) -> dict[str, float]:
    """The costs of an engine: `asks` answers a query at each depth."""
    peak, size = (process_peak() or float("nan")) / 1e9, sum(file.stat().st_size for file in index.rglob("*")) / 1e6
    asked = queries(documents)
    times = {}
    for depth, ask in zip(DEPTHS, asks, strict=True):
        for text in asked[: QUERIES // 10]:  # Java compiles what has run often
            ask(text)
        taken, _ = timed(lambda ask=ask: [ask(text) for text in asked])  # type: ignore[misc]
        times[f"ms_{depth}"] = 1e3 * taken / len(asked)
    return {"seconds": seconds, "peak_gb": peak, "mb": size, **times}


if __name__ == "__main__":
    main()
