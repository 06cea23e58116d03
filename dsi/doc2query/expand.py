"""Synthetic queries for every document, shard by shard.

The paper's central finding: as the corpus grows, training on synthetic queries is the one thing that matters
(Pradeep et al. 2023, section 6.1).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import chain, islice
from pathlib import Path
from typing import Any

import numpy as np

from dsi.artifacts import WORK
from dsi.config import Doc2QueryConfig
from dsi.corpus.store import Corpus, Document
from dsi.doc2query.finetune import generator_checkpoint
from dsi.doc2query.known_item import KnownItemGenerator, read_collection
from dsi.doc2query.predictions import Predictions, read_predictions
from dsi.doc2query.quality import quality_sheet
from dsi.doc2query.shards import SUFFIX, count_queries, write_shard
from dsi.doc2query.t5 import T5Generator
from dsi.errors import DsiError
from dsi.runtime.processes import is_first_process, rank
from dsi.runtime.progress import progress
from dsi.runtime.shards import Shards

Generator = Callable[[Sequence[Document], np.random.Generator], list[list[str]]]
"""Queries for each of the given documents, drawn with the given source of randomness."""
PREDICTIONS = "predictions.sqlite"
DOCUMENTS_AT_ONCE = 1_000
"""Documents of a shard that a generator gets together; enough to sort them by length."""


def expand(
    out_folder: Path,
    *,
    doc2query: Doc2QueryConfig,
    corpus_folder: Path,
    checkpoint: str | None = None,
    generator_folder: Path | None = None,
) -> dict[str, Any]:
    """Write the shards that are not there yet and return the number of queries and their quality.

    A shard depends on the configuration, the seed and its number only: it is the unit of randomness too.

    Raises:
        DsiError: no generator is turned on, or one cannot be opened.
    """
    documents = Corpus(corpus_folder)
    shards = Shards(out_folder, len(documents), doc2query.shard_size, SUFFIX, rank())
    mine = shards.unfinished()
    counts: dict[str, Any] = {}
    if doc2query.predictions.path is not None:
        counts["predictions"] = read_predictions(doc2query.predictions.path, documents, out_folder / WORK / PREDICTIONS)
    if mine:
        generators = open_generators(
            doc2query, documents, checkpoint, generator_folder, out_folder / WORK / PREDICTIONS
        )
        rows = progress(
            chain.from_iterable(documents.rows(some.start, some.stop) for some in map(shards.range, mine)),
            "expand",
            total=sum(len(shards.range(shard)) for shard in mine),
        )
        for shard in mine:
            of_shard = islice(rows, shards.size)
            random = [np.random.default_rng([doc2query.seed, shard, number]) for number in range(len(generators))]
            queries: list[list[str]] = []
            while block := list(islice(of_shard, DOCUMENTS_AT_ONCE)):
                parts = [generate(block, own) for generate, own in zip(generators, random, strict=True)]
                queries += [list(chain(*texts)) for texts in zip(*parts, strict=True)]
            write_shard(shards.path(shard), shards.range(shard).start, queries)
    if is_first_process():
        return {
            "queries": sum(map(count_queries, shards.wait())),
            "shards": len(shards),
            **counts,
            "quality": quality_sheet(documents, out_folder),
        }
    return {}


def open_generators(
    config: Doc2QueryConfig, documents: Corpus, checkpoint: str | None, trained_folder: Path | None, predictions: Path
) -> list[Generator]:
    """The generators that are turned on, ready to be called, in a fixed order.

    Raises:
        DsiError: there is none, or the checkpoint cannot be loaded.
    """
    generators: list[Generator] = []
    if config.known_item.queries:
        contents = progress(documents.contents(), "count words", total=len(documents))
        generators.append(KnownItemGenerator(config.known_item, read_collection(contents, len(documents))))
    if config.t5.queries:
        generators.append(T5Generator.load(config.t5, generator_checkpoint(checkpoint, trained_folder)))
    if config.predictions.path is not None:
        generators.append(Predictions(predictions, config.predictions.queries))
    if not generators:
        raise DsiError(
            "doc2query: no generator is on; set doc2query.known_item.queries or doc2query.t5.queries above 0, or"
            " doc2query.predictions.path"
        )
    return generators
