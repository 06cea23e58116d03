"""Breakdowns by kinds of queries: does a system do well on all of them?

training     whether a query of the training split shares a document with it (DSI finds the others badly: GenRet)
words        the number of its words
similarity   to the closest synthetic query of its documents, Jaccard of sets of words (Pradeep et al. 2023, figure 1)
overlap      the share of its distinct words that a relevant document has, the largest of its relevant documents
position     the quarter of that document's words that has most of its distinct words, the first of several

For overlap and position, words of a script without blanks are pairs of letters, as everywhere that words are counted.
"""

import math
from collections.abc import Iterable, Mapping
from pathlib import Path

from dsi.config import TRAIN
from dsi.corpus.store import Corpus, Query
from dsi.corpus.words import words_of
from dsi.doc2query.quality import BUCKETS, bucket, max_jaccard

LENGTHS = {10: "10 and more", 7: "7 to 9", 4: "4 to 6", 0: "1 to 3"}
"""The kinds of queries by length, by the fewest words of each, the longest first."""
PARTS = 4
"""The number of equal parts of a document in which the words of a query are looked for."""
ALL, NONE = "all", "no match"
"""The kinds of queries whose relevant document has all of their words, or none."""


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
    matches = _best_matches(corpus, pairs)
    breakdowns["overlap"] = {
        query_id: ALL if share == 1 else bucket_names()[bucket(share)] for query_id, (share, _) in matches.items()
    }
    breakdowns["position"] = {
        query_id: NONE if part is None else f"{part + 1} of {PARTS}" for query_id, (_, part) in matches.items()
    }
    return breakdowns


def match(query: str, document: str) -> tuple[float, int | None]:
    """The share of the distinct words of a query that occur in a document, and which part of the document has most of
    them, from 0; the first of several such parts, None if no word occurs.

    >>> match("red fish", "a red fish in the sea is no red herring")
    (1.0, 0)
    >>> match("herring", "a red fish in the sea is no red herring"), match("cod", "a red fish")
    ((1.0, 3), (0.0, None))
    """
    wanted, words = set(words_of(query, pairs=True)), words_of(document, pairs=True)
    matched: list[set[str]] = [set() for _ in range(PARTS)]
    for place, word in enumerate(words):
        if word in wanted:
            matched[place * PARTS // len(words)].add(word)
    found = set().union(*matched)
    fullest = max(range(PARTS), key=lambda part: len(matched[part])) if found else None
    return len(found) / max(len(wanted), 1), fullest


def _best_matches(corpus: Corpus, pairs: Iterable[tuple[Query, int]]) -> dict[str, tuple[float, int | None]]:
    """By query_id, the match with the relevant document that has most of the query's words, the first of several."""
    best: dict[str, tuple[float, int | None]] = {}
    for query, number in pairs:
        found = match(query.text, corpus[number].content())
        if query.query_id not in best or found[0] > best[query.query_id][0]:
            best[query.query_id] = found
    return best


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
    """The names of the kinds of queries by a share from 0 to 1, the lowest first.

    >>> bucket_names()[0]
    '0.0 to 0.2'
    """
    return [f"{number / BUCKETS:.1f} to {(number + 1) / BUCKETS:.1f}" for number in range(BUCKETS)]


def _order(kind: str) -> tuple[float, str]:
    """A key that sorts kinds which begin with a number by that number, before the others."""
    first = kind.partition(" ")[0]
    return (float(first) if first[0].isdigit() else math.inf), kind
