"""Kinds of queries: does a system do well on all of them?

training     whether a query of the training split shares a document with it (DSI finds the others badly: GenRet)
words        its length
similarity   to the closest synthetic query of its documents, Jaccard of sets of words (Pradeep et al. 2023, figure 1)
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping
from pathlib import Path

from dsi.config import TRAIN
from dsi.corpus.store import Corpus
from dsi.corpus.words import words_of
from dsi.doc2query.quality import BUCKETS, bucket, max_jaccard

LENGTHS = {1: "1 to 3", 4: "4 to 6", 7: "7 to 9", 10: "10 and more"}
"""Fewest words of a kind, and its name."""


def kinds(corpus: Corpus, split: str, doc2query_folder: Path) -> dict[str, dict[str, str]]:
    """For each breakdown, the kind of every query of the split that has a relevant document, by query_id."""
    pairs = list(corpus.relevant(split))
    found: dict[str, dict[str, str]] = {}
    if TRAIN in corpus.splits and split != TRAIN:
        seen = {number for _, number in corpus.relevant(TRAIN)}
        found["training"] = dict.fromkeys((query.query_id for query, _ in pairs), "no document seen")
        found["training"] |= {query.query_id: "a document seen" for query, number in pairs if number in seen}
    lengths = {query.query_id: len(words_of(query.text)) for query, _ in pairs}
    found["words"] = {query: LENGTHS[_floor(list(LENGTHS), words)] for query, words in lengths.items()}
    similarities = max_jaccard(corpus, doc2query_folder, split)
    found["similarity"] = {query: bucket_names()[bucket(similarity)] for query, similarity in similarities.items()}
    return found


def by_kind(kind_of: Mapping[str, str], values: Mapping[str, Mapping[str, float]]) -> dict[str, dict[str, float]]:
    """The number of queries of each kind, and the mean of each system over them; `values` is by system, then query."""
    members: dict[str, list[str]] = {}
    for query, kind in kind_of.items():
        members.setdefault(kind, []).append(query)
    return {
        kind: {
            "queries": len(queries),
            **{system: sum(of[query] for query in queries) / len(queries) for system, of in values.items()},
        }
        for kind, queries in sorted(members.items(), key=lambda item: _order(item[0]))
    }


def bucket_names() -> list[str]:
    """
    >>> bucket_names()[0]
    '0.0 to 0.2'
    """
    return [f"{number / BUCKETS:.1f} to {(number + 1) / BUCKETS:.1f}" for number in range(BUCKETS)]


def _floor(bounds: list[int], value: int) -> int:
    return bounds[max(bisect_right(bounds, value) - 1, 0)]


def _order(kind: str) -> tuple[float, str]:
    """Kinds of numbers by number."""
    first = kind.partition(" ")[0]
    return (float(first) if first[0].isdigit() else 0.0), kind
