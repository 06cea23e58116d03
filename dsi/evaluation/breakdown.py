"""Breakdowns by kinds of queries: does a system do well on all of them?

training     whether a query of the training split shares a document with it (DSI finds the others badly: GenRet)
words        the number of its words
similarity   to the closest synthetic query of its documents, Jaccard of sets of words (Pradeep et al. 2023, figure 1)
"""

from collections.abc import Mapping
from pathlib import Path

from dsi.config import TRAIN
from dsi.corpus.store import Corpus
from dsi.corpus.words import words_of
from dsi.doc2query.quality import BUCKETS, bucket, max_jaccard

LENGTHS = {10: "10 and more", 7: "7 to 9", 4: "4 to 6", 0: "1 to 3"}
"""The kinds of queries by length, by the fewest words of each, the longest first."""


def kinds(corpus: Corpus, split: str, doc2query_folder: Path) -> dict[str, dict[str, str]]:
    """For each breakdown, the kind of every query of the split that has a relevant document, by query_id."""
    pairs = list(corpus.relevant(split))
    breakdowns: dict[str, dict[str, str]] = {}
    if TRAIN in corpus.splits and split != TRAIN:
        seen = {number for _, number in corpus.relevant(TRAIN)}
        breakdowns["training"] = dict.fromkeys((query.query_id for query, _ in pairs), "no document seen")
        breakdowns["training"] |= {query.query_id: "a document seen" for query, number in pairs if number in seen}
    lengths = {query.query_id: len(words_of(query.text, pairs=True)) for query, _ in pairs}
    breakdowns["words"] = {
        query_id: next(kind for fewest, kind in LENGTHS.items() if words >= fewest)
        for query_id, words in lengths.items()
    }
    similarities = max_jaccard(corpus, doc2query_folder, split)
    breakdowns["similarity"] = {query_id: bucket_names()[bucket(value)] for query_id, value in similarities.items()}
    return breakdowns


def by_kind(kind_of: Mapping[str, str], values: Mapping[str, Mapping[str, float]]) -> dict[str, dict[str, float]]:
    """The number of queries of each kind, and the mean of each system over them; `values` are by system and query_id.

    >>> by_kind({"q1": "short", "q2": "long", "q3": "long"}, {"bm25": {"q1": 0.5, "q2": 1.0, "q3": 0.0}})
    {'long': {'queries': 2, 'bm25': 0.5}, 'short': {'queries': 1, 'bm25': 0.5}}
    """
    table: dict[str, dict[str, float]] = {}
    for kind in sorted(set(kind_of.values()), key=_order):
        members = [query_id for query_id in kind_of if kind_of[query_id] == kind]
        means = {system: sum(measure[q] for q in members) / len(members) for system, measure in values.items()}
        table[kind] = {"queries": len(members), **means}
    return table


def bucket_names() -> list[str]:
    """The names of the kinds of queries by similarity, the lowest first.

    >>> bucket_names()[0]
    '0.0 to 0.2'
    """
    return [f"{number / BUCKETS:.1f} to {(number + 1) / BUCKETS:.1f}" for number in range(BUCKETS)]


def _order(kind: str) -> tuple[float, str]:
    """A key that sorts kinds which begin with a number by that number."""
    first = kind.partition(" ")[0]
    return (float(first) if first[0].isdigit() else 0.0), kind
