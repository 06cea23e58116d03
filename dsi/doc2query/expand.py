"""The stage `doc2query`: synthetic queries for every document, shard by shard.

The central finding of Pradeep et al. 2023 (section 6.1): as the corpus grows, training on synthetic queries is the one
thing that matters.
"""

from collections.abc import Callable, Sequence
from itertools import chain, islice
from pathlib import Path
from typing import Any

import numpy as np

from dsi.artifacts import WORK
from dsi.config import Doc2QueryConfig
from dsi.corpus.known_item import KnownItemGenerator, read_collection
from dsi.corpus.store import Corpus, Document
from dsi.doc2query.predictions import Predictions, read_predictions
from dsi.doc2query.quality import quality_sheet
from dsi.doc2query.shards import SUFFIX, count_queries, write_shard
from dsi.doc2query.t5 import T5Generator
from dsi.errors import DsiError
from dsi.runtime.processes import is_first_process, rank
from dsi.runtime.progress import progress
from dsi.runtime.shards import Shards

Generator = Callable[[Sequence[Document], np.random.Generator], list[list[str]]]
"""A function that generates the queries of each of the given documents."""
PREDICTIONS = "predictions.sqlite"
DOCUMENTS_AT_ONCE = 1_000
"""Documents that a generator gets in one call, so that it can batch texts of similar length."""


def expand(
    out_folder: Path,
    *,
    doc2query: Doc2QueryConfig,
    corpus_folder: Path,
    checkpoint: str | None = None,
    generator_folder: Path | None = None,
) -> dict[str, Any]:
    """Write the missing shards and return, in the first process, the number of queries and their quality.

    The unit of randomness is the shard: its queries depend on the configuration, the seed and its number only. The T5
    is read from `generator_folder` if a fine-tuned one is there, else from `checkpoint`.

    Raises:
        DsiError: no generator is turned on, or one of them cannot be opened.
    """
    documents = Corpus(corpus_folder)
    shards = Shards(out_folder, len(documents), doc2query.shard_size, SUFFIX, rank())
    unfinished = shards.unfinished()
    counts: dict[str, Any] = {}
    predictions_file = out_folder / WORK / PREDICTIONS
    if doc2query.predictions.path is not None:
        counts["predictions"] = read_predictions(doc2query.predictions.path, documents, predictions_file)
    if unfinished:
        generators = open_generators(doc2query, documents, checkpoint, generator_folder, predictions_file)
        ranges = [shards.range(shard) for shard in unfinished]
        rows = progress(
            chain.from_iterable(documents.rows(numbers.start, numbers.stop) for numbers in ranges),
            "expand",
            total=sum(map(len, ranges)),
        )
        for shard, numbers in zip(unfinished, ranges, strict=True):
            shard_documents = islice(rows, shards.size)
            randoms = [np.random.default_rng([doc2query.seed, shard, number]) for number in range(len(generators))]
            queries: list[list[str]] = []
            while block := list(islice(shard_documents, DOCUMENTS_AT_ONCE)):
                parts = [generate(block, random) for generate, random in zip(generators, randoms, strict=True)]
                queries += [list(chain(*texts)) for texts in zip(*parts, strict=True)]
            write_shard(shards.path(shard), numbers.start, queries)
    paths = shards.wait()
    if not is_first_process():
        return {}
    queries_written = sum(map(count_queries, paths))
    quality = quality_sheet(documents, out_folder)
    return {"queries": queries_written, "shards": len(shards), **counts, "quality": quality}


def open_generators(
    config: Doc2QueryConfig, documents: Corpus, checkpoint: str | None, generator_folder: Path | None, predictions: Path
) -> list[Generator]:
    """The generators that are turned on, in a fixed order; DsiError if there is none or one cannot be loaded."""
    generators: list[Generator] = []
    if config.known_item.queries:
        contents = progress(documents.contents(), "count words", total=len(documents))
        generators.append(KnownItemGenerator(config.known_item, read_collection(contents, len(documents))))
    if config.t5.queries:
        if generator_folder is not None and (generator_folder / "config.json").exists():
            checkpoint = str(generator_folder)
        assert checkpoint is not None  # the configuration checks it
        generators.append(T5Generator.load(config.t5, checkpoint))
    if config.predictions.path is not None:
        generators.append(Predictions(predictions, config.predictions.queries))
    if not generators:
        raise DsiError(
            "doc2query: no generator is on; set doc2query.known_item.queries or doc2query.t5.queries above 0, or"
            " doc2query.predictions.path"
        )
    return generators
