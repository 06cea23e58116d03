"""The lexical stage: terms of languages, and BM25 over them against sums written out by hand."""

import math
import os
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import tantivy
from conftest import Stages
from hypothesis import given, settings
from hypothesis import strategies as st

from dsi.corpus.store import Corpus, Document, write_rows
from dsi.doc2query import expanded
from dsi.lexical.analysis import STEMMERS, terms_of
from dsi.lexical.index_terms import Terms, index_terms

K1, B = 1.2, 0.75


def indexed(folder: Path, contents: list[str], language: str = "other") -> Terms:
    """The lexical stage over documents with these texts."""
    (folder / "corpus").mkdir(parents=True)
    (folder / "lexical").mkdir()
    documents = [Document(f"d{number}", "", content) for number, content in enumerate(contents)]
    write_rows(folder / "corpus/documents.arrow", Document, documents)
    counts = index_terms(folder / "lexical", language=language, corpus_folder=folder / "corpus")
    assert counts["documents"] == len(contents)
    return Terms(folder / "lexical")


@pytest.mark.parametrize("size", [1, 7, 20])
def test_shards_are_searched_as_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    words = [f"w{number}" for number in range(30)]
    random = np.random.default_rng(size)
    contents = [" ".join(random.choice(words, size=random.integers(1, 9))) for _ in range(20)]
    whole = indexed(tmp_path / "whole", contents)
    monkeypatch.setattr("dsi.lexical.index_terms.SHARD", size)
    parts = indexed(tmp_path / "parts", contents)
    assert len(parts) == len(whole) == 20
    for expected, found in zip(whole.best(words, 20), parts.best(words, 20), strict=True):
        np.testing.assert_array_equal(expected, found)
    assert parts.scores_of("w1 w2", 3) == whole.scores_of("w1 w2", 3)
    writer = tantivy.Index.open(str(tmp_path / "parts/lexical/postings")).writer(num_threads=1)
    assert writer.commit() > 0  # it can still grow, and knows which files are its own
    writer.wait_merging_threads()
    assert len(Terms(tmp_path / "parts/lexical")) == 20


def test_contents_of_some_documents(tiny: Stages) -> None:
    corpus = Corpus(tiny.corpus)
    for folder in (None, tiny.doc2query):
        whole = list(expanded.contents(corpus, folder))
        parts = [range(start, min(start + 7, len(corpus))) for start in range(0, len(corpus), 7)]
        assert [pair for part in parts for pair in expanded.contents(corpus, folder, part)] == whole


def rounded(length: int) -> int:
    """A length as Lucene and tantivy keep it in a byte: exact to 40, then 24 more than a number of 4 binary digits."""
    if length <= 40:
        return length
    rest = length - 24
    lost = max(rest.bit_length() - 4, 0)
    return (rest >> lost << lost) + 24


def by_hand(contents: list[list[str]], query: list[str]) -> dict[int, float]:
    """The BM25 score of each document that has a term of the query."""
    mean = sum(map(len, contents)) / len(contents)
    scores: dict[int, float] = {}
    for term in query:
        have = [number for number, terms in enumerate(contents) if term in terms]
        idf = math.log(1 + (len(contents) - len(have) + 0.5) / (len(have) + 0.5))
        for number in have:
            count, length = contents[number].count(term), rounded(len(contents[number]))
            saturated = count * (K1 + 1) / (count + K1 * (1 - B + B * length / mean))
            scores[number] = scores.get(number, 0) + idf * saturated
    return scores


def hits(doc_index: np.ndarray, scores: np.ndarray) -> dict[int, float]:
    """The documents found for a query, with their scores."""
    found = zip(doc_index.tolist(), scores.tolist(), strict=True)
    return {number: score for number, score in found if score > -math.inf}


LETTERS = "abcdefgh"


@settings(max_examples=25)
@given(
    texts=st.lists(st.lists(st.sampled_from(LETTERS), max_size=90), min_size=1, max_size=30),
    query=st.lists(st.sampled_from(LETTERS + "z"), max_size=6),
)
def test_scores_are_those_by_hand(
    tmp_path_factory: pytest.TempPathFactory, texts: list[list[str]], query: list[str]
) -> None:
    terms = indexed(tmp_path_factory.mktemp("lexical"), [" ".join(text) for text in texts])
    doc_index, scores = terms.best([" ".join(query)], len(texts))
    found = {
        int(number): float(score) for number, score in zip(doc_index[0], scores[0], strict=True) if score > -np.inf
    }
    assert found == pytest.approx(by_hand(texts, query), abs=1e-4)
    assert (np.diff(scores[0][scores[0] > -np.inf]) <= 0).all()


def test_all_documents_of_a_corpus_in_several_segments(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dsi.lexical.index_terms.HEAP_BYTES", 15_000_000)  # the smallest, so that segments are written
    random = np.random.default_rng(0)
    texts = [[f"w{word:060d}" for word in random.integers(1 << 20, size=40)] for _ in range(20_000)]
    terms = indexed(tmp_path, [" ".join(text) for text in texts])
    assert terms.postings.searcher.num_segments > 1
    counts = Counter(word for text in texts for word in set(text))
    rare = [word for word, count in counts.items() if count >= 3][:20]
    for word in rare:
        doc_index, scores = terms.best([word], 20)
        expected = by_hand(texts, [word])
        assert hits(doc_index[0], scores[0]) == pytest.approx(expected, abs=1e-4)


def test_nothing_in_a_query_is_a_command(tmp_path: Path) -> None:
    terms = indexed(tmp_path, ["title and or not", "a b c", "doc index zero"], language="other")
    for text in ('title:"a b', "a AND (b OR", "+a -b ^2 ~", "*", "doc_index:0", "terms:a", "/a/", "[a TO c]", "\\"):
        doc_index, scores = terms.best([text], 3)
        assert doc_index.shape == (1, 3)
        words = set(terms_of(text, "other"))
        matching = {n for n, content in enumerate((["title", "and", "or", "not"], "abc", ["doc", "index", "zero"]))
                    if words & set(content)}  # fmt: skip
        assert hits(doc_index[0], scores[0]).keys() == matching


def test_odd_and_empty_documents(tmp_path: Path) -> None:
    contents = [
        "",
        " ",
        "x" * 100_000,
        "naïve café",
        "cafe\u0301",
        "\u200d\x00 nul",
        "😀 smile",
        "a" * 70_000 + " b",
        "ﬁ",
    ]
    terms = indexed(tmp_path, contents)
    assert len(terms) == len(contents)
    doc_index, scores = terms.best(["café", "", "nul", "smile b"], 9)
    found = [row[score > -np.inf].tolist() for row, score in zip(doc_index, scores, strict=True)]
    assert [sorted(row) for row in found] == [[3, 4], [], [5], [6, 7]]


@pytest.mark.parametrize(
    ("language", "text", "terms"),
    [
        ("en", "The horses are running fairly", ["hors", "run", "fair"]),
        ("de", "Die Häuser und Katzen", ["haus", "katz"]),
        ("ru", "книги и книга", ["книг", "книг"]),
        ("ar", "الكتاب", ["كتاب"]),
        ("tr", "evler", ["ev"]),
        ("zh", "去上海", ["去上", "上海"]),
        ("ja", "東京タワー", ["東京", "京タ", "タワ", "ワー"]),
        ("ko", "한국어를 배우다", ["한국", "국어", "어를", "배우", "우다"]),
        ("th", "ไทย", ["ไท", "ทย"]),
        ("hi", "किताबें", ["किताबें"]),
    ],
)
def test_terms_of_languages(language: str, text: str, terms: list[str]) -> None:
    assert terms_of(text, language) == terms


def test_every_language_with_a_stemmer_has_terms() -> None:
    for language in STEMMERS:
        assert terms_of("xyzzy", language)


def test_a_query_finds_its_document(tiny: Stages, tmp_path: Path) -> None:
    index_terms(tmp_path, language="en", corpus_folder=tiny.corpus)
    terms, corpus = Terms(tmp_path), Corpus(tiny.corpus)
    doc_index, _ = terms.best([document.content() for document in corpus], 1)
    assert doc_index[:, 0].tolist() == list(range(len(corpus)))


def test_postings_that_one_may_not_write_beside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    terms = indexed(tmp_path, ["fish swim", "birds fly"])
    before, folder, opened = terms.best(["birds"], 2), str(tmp_path / "lexical/postings"), tantivy.Index.open

    class ReadOnly:
        @staticmethod
        def open(path: str) -> tantivy.Index:
            if path == folder:
                raise ValueError("Failed to acquire Lockfile: IoError(Os { code: 13, kind: PermissionDenied })")
            return opened(path)

    monkeypatch.setattr(tantivy, "Index", ReadOnly)
    with pytest.raises(ValueError, match="Lockfile"):  # where one may, it is another fault
        Terms(tmp_path / "lexical")
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    again = Terms(tmp_path / "lexical")
    np.testing.assert_array_equal(again.best(["birds"], 2), before)
