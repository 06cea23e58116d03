"""The quality of synthetic queries: do they repeat each other, copy the document, resemble real queries?"""

from pathlib import Path
from typing import Any

import numpy as np

from dsi.config import DEV
from dsi.corpus.store import Corpus
from dsi.corpus.words import words_of
from dsi.doc2query.shards import read_queries_of

SAMPLED_DOCUMENTS = 2_000
"""The number of documents, evenly spaced, whose queries are measured."""
DEV_QUERIES = 2_000
"""The number of real queries that synthetic ones are compared with."""
BUCKETS = 5
"""The number of equal parts into which the Jaccard similarity from 0 to 1 is divided."""


def quality_sheet(corpus: Corpus, folder: Path, split: str = DEV) -> dict[str, Any]:
    """Measure the queries in the shards of `folder` (Pradeep et al. 2023, figure 1).

    Returns:
        Over a sample of documents, `unique`: the share of queries that differ from all earlier ones of their document;
        `words`: their mean length; `copied`: the share of their words that the document has. Over real queries of
        `split`, `max_jaccard`: the Jaccard similarity to the closest synthetic query of their relevant documents, its
        mean and the number of real queries per bucket.
    """
    sample = range(0, len(corpus), -(-len(corpus) // SAMPLED_DOCUMENTS))
    queries = read_queries_of(folder, sample)
    texts = repeats = words = copied = 0
    for number in sample:
        document_words = set(words_of(corpus[number].content(), pairs=True))
        repeats += len(queries[number]) - len(set(queries[number]))
        for text in queries[number]:
            query_words = words_of(text, pairs=True)
            texts, words = texts + 1, words + len(query_words)
            copied += sum(word in document_words for word in query_words)
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
    """The Jaccard similarity of each real query, by query_id, to the closest synthetic query of its relevant documents.

    Similarities are those of sets of words. `limit` restricts them to the first queries of the split.
    """
    pairs = list(corpus.relevant(split, limit))
    synthetic = read_queries_of(folder, {number for _, number in pairs})
    closest: dict[str, float] = {}
    for query, number in pairs:
        words = set(words_of(query.text, pairs=True))
        others = [set(words_of(text, pairs=True)) for text in synthetic[number]]
        similarities = (len(words & other) / max(len(words | other), 1) for other in others)
        closest[query.query_id] = max(closest.get(query.query_id, 0.0), *similarities, 0.0)
    return closest


def bucket(similarity: float) -> int:
    """The number of the bucket that a similarity falls into; a bucket contains its lower bound.

    >>> bucket(0.6), bucket(0.59), bucket(1.0)
    (3, 2, 4)
    """
    return min(int(round(similarity * BUCKETS, 9)), BUCKETS - 1)
