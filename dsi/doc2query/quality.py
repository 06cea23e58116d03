"""The quality sheet of synthetic queries: do they repeat themselves, do they copy, do they resemble real queries?"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from dsi.config import DEV
from dsi.corpus.store import Corpus
from dsi.corpus.words import words_of
from dsi.doc2query.shards import read_queries_of

SAMPLED_DOCUMENTS = 2_000
"""Evenly spaced."""
DEV_QUERIES = 2_000
BUCKETS = 5
"""Equal parts of the Jaccard similarity from 0 to 1."""


def quality_sheet(corpus: Corpus, folder: Path, split: str = DEV) -> dict[str, Any]:
    """Measures of the queries in the shards of `folder`.

    `unique`: share of a document's queries that are the first of their kind; `words`: mean length; `copied`: share of
    their words that occur in the document; both over a sample of documents. `max_jaccard`: similarity, as sets of
    words, of a real query of `split` to the closest synthetic query of its documents: the mean, and how many real
    queries fall into each bucket (Pradeep et al. 2023, figure 1).
    """
    sample = range(0, len(corpus), -(-len(corpus) // SAMPLED_DOCUMENTS))
    queries = read_queries_of(folder, sample)
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
    closest = list(max_jaccard(corpus, folder, split, DEV_QUERIES).values()) if split in corpus.splits else []
    if closest:
        counts = np.bincount([bucket(similarity) for similarity in closest], minlength=BUCKETS)
        sheet["max_jaccard"] = {"mean": round(float(np.mean(closest)), 4), "buckets": counts.tolist()}
    return sheet


def max_jaccard(corpus: Corpus, folder: Path, split: str, limit: int | None = None) -> dict[str, float]:
    """Similarity, as sets of words, of each real query to the closest synthetic query of its relevant documents, by
    query_id; of the first `limit` relevant pairs."""
    pairs = list(corpus.relevant(split, limit))
    synthetic = read_queries_of(folder, {number for _, number in pairs})
    closest: dict[str, float] = {}
    for query, number in pairs:
        asked = set(words_of(query.text))
        similar = (_jaccard(asked, set(words_of(text))) for text in synthetic[number])
        closest[query.query_id] = max(closest.get(query.query_id, 0.0), *similar, 0.0)
    return closest


def bucket(similarity: float) -> int:
    """Number of the bucket; a bucket holds its lower bound.

    >>> bucket(0.6), bucket(0.59), bucket(1.0)
    (3, 2, 4)
    """
    return min(int(round(similarity * BUCKETS, 9)), BUCKETS - 1)


def _jaccard(one: set[str], other: set[str]) -> float:
    return len(one & other) / max(len(one | other), 1)
