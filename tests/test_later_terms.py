"""Documents that come after the postings were written, and deleted ones: BM25 with the statistics of the first ones."""

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import fields
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_lexical import K1, B, hits, indexed, rounded

from dsi.lexical.analysis import terms_of
from dsi.lexical.bm25 import LENGTHS, length_classes
from dsi.lexical.index_terms import Terms
from dsi.lexical.later_terms import LaterPostings, later_postings

LETTERS = "abcdefgh"
BASE = ["a b c", "a a b", "", "c d e f g", "a " * 50, "b c " * 170, "h", "a b c", "d", "d d d"]
"""The documents of the folder; some are longer than 40 and than 300 terms, two are the same."""
TEXTS = st.lists(st.lists(st.sampled_from(LETTERS + "xyz"), max_size=60).map(" ".join), max_size=12)
QUERIES = st.lists(st.sampled_from(LETTERS + "xyz!"), max_size=6).map(" ".join)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Terms:
    return indexed(tmp_path_factory.mktemp("base"), BASE)


def numbers(of: Iterable[int]) -> np.ndarray:
    return np.array(sorted(of), dtype=np.int64)


def segments(contents: Sequence[str], cuts: Iterable[int], first: int, language: str = "other") -> list[LaterPostings]:
    """The postings of documents that are cut at some places."""
    ends = [0, *sorted(min(cut, len(contents)) for cut in cuts), len(contents)]
    return [later_postings(contents[start:stop], first + start, language) for start, stop in pairwise(ends)]


def by_hand(base: list[str], later: list[str], query: str, language: str = "other") -> dict[int, float]:
    """The score of each document, the first ones and those that came later, with the statistics of the first ones."""
    known = [terms_of(content, language) for content in base]
    mean = sum(map(len, known)) / len(known)
    scores: dict[int, float] = {}
    for term in terms_of(query, language):
        having = sum(term in terms for terms in known)
        idf = math.log(1 + (len(known) - having + 0.5) / (having + 0.5))
        for number, terms in enumerate([*known, *(terms_of(content, language) for content in later)]):
            if count := terms.count(term):
                norm = K1 * (1 - B + B * rounded(len(terms)) / mean)
                scores[number] = scores.get(number, 0) + idf * count * (K1 + 1) / (count + norm)
    return scores


def best(terms: Terms, query: str, count: int) -> dict[int, float]:
    """What is found for a query, best first; of equal documents the earlier first."""
    doc_index, scores = terms.best([query], count)
    order = np.lexsort((doc_index[0], -scores[0]))
    np.testing.assert_array_equal(order[scores[0] > -np.inf], np.flatnonzero(scores[0] > -np.inf))
    return hits(doc_index[0], scores[0])


def same(one: LaterPostings, other: LaterPostings) -> bool:
    pairs = ((getattr(one, field.name), getattr(other, field.name)) for field in fields(LaterPostings))
    return all(np.array_equal(a, b) and np.asarray(a).dtype == np.asarray(b).dtype for a, b in pairs)


def test_lengths_are_those_of_the_byte_of_tantivy() -> None:
    assert len(LENGTHS) == 256
    assert LENGTHS[-1] == 2_013_265_944
    lengths = np.array([*range(3_000), 10**5, 10**6 + 1, 10**9])
    assert LENGTHS[length_classes(lengths)].tolist() == [rounded(length) for length in lengths.tolist()]


@settings(max_examples=60)
@given(later=TEXTS, query=QUERIES)
def test_scores_are_those_by_hand(base: Terms, later: list[str], query: str) -> None:
    terms = base.changed(segments(later, [], len(BASE)), numbers([]))
    assert len(terms) == len(BASE) + len(later)
    found = best(terms, query, len(terms))
    assert found == pytest.approx(by_hand(BASE, later, query), rel=1e-6)
    for number in (0, 5, len(BASE), len(terms) - 1)[: 4 if later else 2]:
        of_terms = terms.scores_of(query, number)
        assert [(score.term, score.documents) for score in of_terms] == [
            (term, sum(term in content.split() for content in BASE)) for term in dict.fromkeys(terms_of(query, "other"))
        ]
        assert sum(score.score for score in of_terms) == pytest.approx(found.get(number, 0), rel=1e-6)


def test_the_same_document_has_the_same_score_and_comes_later(base: Terms) -> None:
    long = [*BASE, "a " * 41, "b c d " * 2_000]
    terms = base.changed([later_postings(long, len(BASE), "other")], numbers([]))
    for letter in LETTERS:
        found = best(terms, letter, 30)
        for number in range(len(BASE)):
            assert found.get(number) == found.get(len(BASE) + number)  # to the last bit, for one term
        assert set(found) == {n for n, content in enumerate(BASE + long) if letter in content.split()}


@settings(max_examples=60)
@given(
    later=TEXTS,
    cuts=st.lists(st.integers(0, 12), max_size=5),
    query=QUERIES,
    count=st.integers(1, 25),
    gone=st.sets(st.integers(0, len(BASE) + 11)),
)
def test_segments_and_deleted_documents(
    base: Terms, later: list[str], cuts: list[int], query: str, count: int, gone: set[int]
) -> None:
    parts, total = segments(later, cuts, len(BASE)), len(BASE) + len(later)
    whole = later_postings(later, len(BASE), "other")
    assert same(LaterPostings.joined(parts), whole)
    assert same(LaterPostings.joined([LaterPostings.joined(parts[:1]), *parts[1:]]), whole)
    everything = best(base.changed([whole], numbers([])), query, total)
    assert best(base.changed(parts, numbers([])), query, total) == everything
    gone = {number for number in gone if number < total}
    living = {number: score for number, score in everything.items() if number not in gone}
    found = best(base.changed(parts, numbers(gone)), query, count)
    assert len(found) == min(count, len(living))
    assert list(found.values()) == pytest.approx(list(living.values())[: len(found)], rel=1e-6)
    assert found == pytest.approx({number: living[number] for number in found}, rel=1e-6)
    added_and_deleted = base.changed(parts, np.arange(len(BASE), total))
    np.testing.assert_array_equal(added_and_deleted.best([query], count), base.best([query], count))


def test_as_many_are_found_as_there_are(tmp_path: Path) -> None:
    base = indexed(tmp_path, ["common " * (1 + number % 7) for number in range(400)])
    scores = best(base, "common", 400)
    gone = list(scores)[:350]
    for count in (1, 7, 50, 400):
        found = best(base.changed([], numbers(gone)), "common", count)
        assert found == dict(list(scores.items())[350 : 350 + count])
    later = later_postings(["nothing", "common"] * 30, 400, "other")
    changed = base.changed([later], numbers([*gone, *range(400, 440)]))
    for count in (5, 60, 100):
        found = best(changed, "common", count)
        assert len(found) == min(count, 60)
        assert not found.keys() & {*gone, *range(400, 440)}
        assert list(found.values()) == sorted(found.values(), reverse=True)


def test_what_only_later_documents_have(tmp_path: Path) -> None:
    first = ["ships sail", "a ship, ships", "rivers"]
    terms = indexed(tmp_path / "en", first, "en")
    later = ["The canoe ships rivers", "canoes, a canoe", "the"]
    changed = terms.changed(segments(later, [1, 1], 3, "en"), numbers([]))
    for query in ("canoes", "the ship of canoes", "canoe river canoe", "the", "zebra", ""):  # the first is unknown
        assert best(changed, query, 6) == pytest.approx(by_hand(first, later, query, "en"), rel=1e-6)
    numbered = indexed(tmp_path / "numbered", ["page 12", "of a long book"], "en")
    found = best(numbered.changed([later_postings(later, 2, "en")], numbers([])), "canoe", 5)
    assert found == pytest.approx(by_hand(["page 12", "of a long book"], later, "canoe", "en"), rel=1e-6)
    nothing = indexed(tmp_path / "nothing", ["", "the"], "en")
    found = best(nothing.changed([later_postings(later, 2, "en")], numbers([])), "canoe", 5)
    assert list(found) == [3, 2]


def test_terms_that_tantivy_leaves_out(tmp_path: Path) -> None:
    contents = ["x" * 65_530 + " a", "é" * 32_766 + " a", "a b"]
    base = indexed(tmp_path, contents)
    found = best(base.changed([later_postings(contents, 3, "other")], numbers([])), "a", 6)
    assert [found[number] for number in range(3)] == [found[number + 3] for number in range(3)]
    assert found[1] > found[0] == found[2]


def test_nothing_changed_and_the_wrong_order(base: Terms) -> None:
    first, second = segments(["a", "b", "z"], [2], len(BASE))
    changed = base.changed([first, second], numbers([0]))
    again = changed.changed([], numbers([]))
    assert (len(base), len(changed), len(again)) == (10, 13, 10)
    np.testing.assert_array_equal(again.best(["a b", "z"], 12), base.best(["a b", "z"], 12))
    for wrong in ([second], [second, first], [first, first]):
        with pytest.raises(ValueError, match="follow each other"):
            base.changed(wrong, numbers([]))


@settings(max_examples=20)
@given(contents=TEXTS)
def test_saved_postings_are_the_same(tmp_path_factory: pytest.TempPathFactory, contents: list[str]) -> None:
    folder = tmp_path_factory.mktemp("later")
    postings = later_postings(contents, 7, "other")
    counted = [Counter(content.split()) for content in contents]
    assert len(postings.term) == len(set().union(*counted))
    assert postings.frequency.sum() == sum(count.total() for count in counted)
    postings.save(folder)
    assert same(LaterPostings.load(folder), postings)
