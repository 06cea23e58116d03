"""The quality sheet of synthetic queries: do they repeat themselves, do they copy, do they resemble real queries?"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from dsi.corpus.store import Corpus
from dsi.doc2query.known_item import words_of
from dsi.doc2query.shards import read_queries_of

SAMPLED_DOCUMENTS = 2_000
"""Evenly spaced."""
DEV_QUERIES = 2_000
BUCKETS = 5
"""Equal parts of the Jaccard similarity from 0 to 1."""


def quality_sheet(corpus: Corpus, shards: Sequence[Path], shard_size: int, split: str = "dev") -> dict[str, Any]:
    """Measures of the queries in `shards` of `shard_size` documents each.

    `unique`: share of a document's queries that are the first of their kind; `words`: mean length; `copied`: share of
    their words that occur in the document; both over a sample of documents. `max_jaccard`: similarity, as sets of
    words, of a real query of `split` to the closest synthetic query of its documents: the mean, and how many real
    queries fall into each bucket (Pradeep et al. 2023, figure 1).
    """
    sample = range(0, len(corpus), -(-len(corpus) // SAMPLED_DOCUMENTS))
    real = defaultdict[str, list[int]](list)
    for query, number in corpus.relevant(split, DEV_QUERIES) if split in corpus.splits else ():
        real[query.text].append(number)
    wanted = sorted({*sample, *(number for numbers in real.values() for number in numbers)})
    queries = read_queries_of(shards, shard_size, wanted)
    texts = repeats = words = copied = 0
    for number in sample:
        own = set(words_of(corpus[number].content()))
        repeats += len(queries[number]) - len(set(queries[number]))
        for text in queries[number]:
            drawn = words_of(text)
            texts, words, copied = texts + 1, words + len(drawn), copied + sum(word in own for word in drawn)
    sheet: dict[str, Any] = {
        "sampled_queries": texts,
        "unique": round(1 - repeats / max(texts, 1), 4),
        "words": round(words / max(texts, 1), 2),
        "copied": round(copied / max(words, 1), 4),
    }
    closest = []
    for text, numbers in real.items():
        asked = set(words_of(text))
        similar = (_jaccard(asked, set(words_of(query))) for number in numbers for query in queries[number])
        closest.append(max(similar, default=0.0))
    if closest:
        counts, _ = np.histogram(closest, bins=BUCKETS, range=(0.0, 1.0))
        sheet["max_jaccard"] = {"mean": round(float(np.mean(closest)), 4), "buckets": counts.tolist()}
    return sheet


def _jaccard(one: set[str], other: set[str]) -> float:
    return len(one & other) / max(len(one | other), 1)
