"""Synthetic queries for every document, shard by shard.

The paper's central finding: as the corpus grows, training on synthetic queries is the one thing that matters
(Pradeep et al. 2023, section 6.1).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from dsi.config import Doc2QueryConfig
from dsi.corpus.store import Corpus, Document
from dsi.doc2query.known_item import KnownItemGenerator, read_collection
from dsi.doc2query.shards import count_queries, shard_path, write_shard
from dsi.errors import DsiError
from dsi.progress import progress

Generator = Callable[[Sequence[Document], np.random.Generator], list[list[str]]]
"""Queries for each of the given documents, drawn with the given source of randomness."""


def expand(out: Path, *, doc2query: Doc2QueryConfig, corpus: Path) -> dict[str, Any]:
    """Write the shards that are not there yet and return the number of queries.

    Raises:
        DsiError: no generator is turned on.
    """
    documents = Corpus(corpus)
    generators = open_generators(doc2query, documents)
    if not generators:
        raise DsiError("doc2query: no generator is on; set doc2query.known_item.queries above 0")
    starts = range(0, len(documents), doc2query.shard_size)
    queries = 0
    for shard, start in enumerate(progress(starts, "expand", unit="shards", total=len(starts))):
        path = shard_path(out, shard)
        if path.exists():
            queries += count_queries(path)
            continue
        rows = list(documents.rows(start, start + doc2query.shard_size))
        random = np.random.default_rng([doc2query.seed, shard])
        parts = [generate(rows, random) for generate in generators]
        queries += write_shard(path, start, [list(chain(*texts)) for texts in zip(*parts, strict=True)])
    return {"queries": queries, "shards": len(starts)}


def open_generators(config: Doc2QueryConfig, documents: Corpus) -> list[Generator]:
    """The generators that are turned on, ready to be called."""
    generators: list[Generator] = []
    if config.known_item.queries:
        contents = progress(documents.contents(), "count words", total=len(documents))
        generators.append(KnownItemGenerator(config.known_item, read_collection(contents, len(documents))))
    return generators
