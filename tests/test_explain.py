"""Explanations of scores, against sums written out by hand and against what a search of all documents finds."""

import re
import shutil
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import Stages, assign_tiny
from models import random_model, random_queries
from test_heads import HEADS, by_hand, docids_in, model_for
from test_lexical import hits, indexed
from test_search import brute_force, variable_docids, write
from torch.nn import functional

import dsi
from dsi.artifacts import Store, link
from dsi.cli import main
from dsi.config import DocidsConfig
from dsi.corpus.store import Corpus, Document, write_rows
from dsi.docids.store import Docids
from dsi.index.explanation import Explanation
from dsi.index.index import Index
from dsi.index.run import stages
from dsi.lexical.index_terms import index_terms
from dsi.search import atomic
from dsi.search.atomic import AtomicRows
from dsi.search.document_score import DocumentScore
from dsi.search.searcher import Searcher

KINDS = {"atomic": "plain", "naive": "plain", "semantic": "hierarchical_softmax"}
"""The head of each kind of docids here."""
PRIOR = "prior: bm25, prior_documents: 60"
QUERY = "zefi "
"""The beginning of a query, of a word that no document has."""


def check_steps(docids: Docids, scores: list[DocumentScore]) -> None:
    """The steps sum to the log-probability, agree between documents, and know the best of the siblings."""
    of_node: dict[int, float] = {}
    for doc_index, score in enumerate(scores):
        path = docids.paths[doc_index]
        assert [step.node for step in score.steps] == path[path >= 0].tolist()
        assert sum(step.log_prob for step in score.steps) == score.log_prob
        of_node |= {step.node: step.log_prob for step in score.steps}
    first_child = docids.trie.first_child.tolist()
    for step in (step for score in scores for step in score.steps):
        [parent] = docids.trie.parents(np.array([step.node])).tolist()
        best = max(of_node[child] for child in range(first_child[parent], first_child[parent + 1]))
        assert step.log_prob == pytest.approx(of_node[step.node], abs=1e-4)
        assert step.best_log_prob == pytest.approx(best, abs=1e-4)
        assert of_node[step.best] == pytest.approx(best, abs=1e-4)
        assert step.best == step.node or step.best_log_prob > step.log_prob


@pytest.mark.parametrize("head", HEADS)
def test_scores_of_every_head_are_those_by_hand(tmp_path: Path, head: str) -> None:
    docids = docids_in(tmp_path)
    model = model_for(docids, head)
    query, searcher = random_queries(3)[2], Searcher(model, docids)
    scores = [searcher.score(query, doc_index) for doc_index in range(len(docids.codes))]
    np.testing.assert_allclose([score.log_prob for score in scores], by_hand(model, query, docids), atol=1e-4)
    check_steps(docids, scores)
    assert all((score.leaf_logit is None) == (head != "hierarchical_softmax") for score in scores)


@pytest.mark.parametrize("constrained", [True, False])
def test_docids_of_different_lengths_which_documents_share(tmp_path: Path, constrained: bool) -> None:
    codes = variable_docids(30, 6, seed=2)
    docids = write(tmp_path, "naive", [*codes, *codes[::3]], 6)
    model, query = random_model(6, docids.vocabulary.length), random_queries(3)[2]
    searcher = Searcher(model, docids, constrained=constrained)
    scores = [searcher.score(query, doc_index) for doc_index in range(40)]
    np.testing.assert_allclose([score.log_prob for score in scores], brute_force(model, query, docids), atol=1e-4)
    check_steps(docids, scores)
    assert scores[30:] == scores[:30:3]


def test_atomic_docids(tmp_path: Path) -> None:
    docids, model = write(tmp_path, "atomic", [[number] for number in range(40)], 40), random_model(40, 1)
    searcher = Searcher(model, docids)
    for query in random_queries(2):
        expected = brute_force(model, query, docids)
        for doc_index, log_prob in enumerate(expected):
            score = searcher.score(query, doc_index)
            assert score.log_prob == pytest.approx(log_prob, abs=1e-4)
            assert score.best is not None
            assert score.best[0] == expected.argmax()
            assert score.best[1] == pytest.approx(expected.max(), abs=1e-4)
            assert score.steps == ()


def test_nearest_rows_in_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(atomic, "ROWS_PER_CHUNK", 7)
    model = random_model(40, 1)
    with torch.no_grad():
        model.docid_head.weight[11] = 0
    rows = functional.normalize(model.docid_head.weight.detach(), dim=1)
    cosines = (rows @ rows.T).fill_diagonal_(-torch.inf)
    for doc_index in (0, 6, 7, 20, 39):
        documents, found = AtomicRows(model.docid_head.weight).nearest(doc_index, 5)
        assert documents.tolist() == cosines[doc_index].argsort(descending=True)[:5].tolist()
        np.testing.assert_allclose(found, cosines[doc_index].sort(descending=True).values[:5], atol=1e-6)
    assert AtomicRows(model.docid_head.weight).nearest(11, 5)[1].tolist() == [0] * 5
    assert len(AtomicRows(random_model(3, 1).docid_head.weight).nearest(0, 5)[0]) == 2
    assert len(AtomicRows(random_model(1, 1).docid_head.weight).nearest(0, 5)[0]) == 0


def test_terms_sum_to_the_score(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    contents = [" ".join(random.choice(list("abcdefgh"), size=size)) for size in random.integers(1, 60, size=50)]
    terms = indexed(tmp_path, contents)
    text = "c zzz h c a"
    found = hits(*(each[0] for each in terms.best([text], 50)))
    for document in range(50):
        parts = terms.scores_of(text, document)
        assert [part.term for part in parts] == ["c", "zzz", "h", "a"]
        assert parts[1][1:] == (0.0, 0)
        assert sum(part.score for part in parts) == pytest.approx(found.get(document, 0.0), rel=1e-5)
        for part in parts:
            assert (part.score > 0) == (part.term in contents[document].split())
            assert part.documents == sum(part.term in content.split() for content in contents)


@pytest.fixture(scope="module")
def runs(tiny: Stages, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Runs of the tiny corpus, one for each of KINDS, with a model that has learnt nothing, and a prior."""
    return {kind: make_run(tmp_path_factory.mktemp(kind), tiny, kind) for kind in KINDS}


def make_run(folder: Path, tiny: Stages, kind: str) -> Path:
    store, docids = Store(folder / "store"), folder / "made"
    docids.mkdir()
    assign_tiny(docids, tiny, DocidsConfig.model_validate({"kind": kind, "clusters": 3, "leaf_size": 4}))

    def make(out_folder: Path) -> dict[str, Any]:
        stage = out_folder.name.split("-")[0]
        if stage in (made := {"corpus": tiny.corpus, "tokenizer": tiny.tokenizer, "docids": docids}):
            shutil.copytree(made[stage], out_folder, dirs_exist_ok=True)
        elif stage == "lexical":
            index_terms(out_folder, language="en", corpus_folder=tiny.corpus)
        elif stage == "prior":
            (out_folder / "prior.json").write_text(
                '{"prior": "bm25", "ranking": "path", "weight": 0.5, "epsilon": 1e-4}'
            )
        else:
            vocabulary, head = Docids(docids).vocabulary, KINDS[kind]
            nodes = len(Docids(docids).trie.token) if head != "plain" else 1
            sizes: dict[str, Any] = {
                "vocab_size": len(tiny.text),
                "query_length": 8,
                "docid_head": head,
                "docid_nodes": nodes,
            }
            random_model(vocabulary.tokens, vocabulary.length, **sizes).save_pretrained(out_folder)
        return {"stage": stage}

    (folder / "config.yaml").write_text(f"search: {{beam: 60, {PRIOR}}}\n")
    for stage in stages(dsi.config.SearchConfig(prior="bm25")):
        link(store.build(stage, {"stage": stage}, make), folder / stage)
    return folder


def asked(index: Index) -> str:
    """A query of words of several documents, one of them twice, and of one that there is not."""
    words = index.corpus[3].text.split()
    return " ".join([QUERY, words[0], words[1], *index.corpus[40].text.split()[2:4], words[1]])


def check_shown(explanation: Explanation) -> None:
    """What is printed has no control characters but ends of lines, and the HTML is whole."""
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]", str(explanation))
    tags: list[str] = []

    class Tags(HTMLParser):
        def handle_starttag(self, tag: str, attrs: object) -> None:
            tags.append(tag)

    Tags().feed(explanation._repr_html_())
    assert set(tags) <= {"table", "caption", "tr", "th", "td"}


@pytest.mark.parametrize("kind", KINDS)
def test_totals_and_ranks_are_those_of_a_search(runs: dict[str, Path], kind: str) -> None:
    for options in ({}, {"prior": "none"}, {"prior_epsilon": 0.0}, {"prior_documents": 5, "prior_weight": 3.0}):
        index = dsi.load(runs[kind], **options)
        query, trie = asked(index), None if kind == "atomic" else index.searcher.searcher.docids.trie
        hits = index.search(query, k=60)
        assert len(hits) == 60
        for hit in hits[::12]:
            explanation = index.explain(query, hit.doc_id)
            assert (explanation.rank, explanation.is_decoded) == (hit.rank, True)
            assert explanation.total == pytest.approx(hit.score, rel=1e-5, abs=1e-5)
            assert explanation.title == hit.title
            assert len(explanation.nearest) == (5 if kind == "atomic" else 0)
            assert (explanation.best is None, bool(explanation.steps)) == (
                (False, False) if trie is None else (True,) * 2
            )
            if trie is not None:
                assert sum(step.log_prob for step in explanation.steps) == explanation.log_prob
                assert explanation.steps[-1].documents == 1
                assert explanation.steps[-1].examples == (hit.title,)
            if kind == "naive":
                assert "".join(step.token for step in explanation.steps) == f"{hit.doc_id}</s>"
            if explanation.prior is None:
                assert options == {"prior": "none"}
                assert explanation.total == explanation.log_prob
                continue
            summed = sum(word.score for word in explanation.prior.words)
            assert [word.score for word in explanation.prior.words if word.documents == 0] == [0.0]
            assert explanation.prior.is_among_best or explanation.prior.score == 0
            if explanation.prior.is_among_best or "prior_documents" not in options:
                assert explanation.prior.score == pytest.approx(summed, rel=1e-5)
            check_shown(explanation)


def test_documents_below_and_beside_a_step(runs: dict[str, Path]) -> None:
    index = dsi.load(runs["semantic"])
    docids, query = index.searcher.searcher.docids, asked(index)
    for doc_index in range(0, 60, 7):
        explanation = index.explain(query, index.corpus[doc_index].doc_id)
        for level, step in enumerate(explanation.steps):
            below = np.flatnonzero((docids.codes[:, : level + 1] == docids.codes[doc_index, : level + 1]).all(axis=1))
            assert step.documents == len(below)
            assert len(step.examples) == min(3, len(below))
            assert set(step.examples) <= {index.corpus[number].title for number in below.tolist()}
            if step.sibling is not None:
                assert step.sibling.probability > step.probability
                assert step.sibling.token != step.token


def test_a_document_without_a_prior_and_one_that_no_beam_reaches(runs: dict[str, Path]) -> None:
    index = dsi.load(runs["naive"], beam=1, prior_documents=20, prior_weight=0.1)
    query, decoded = asked(index), set[bool | None]()
    hits = index.search(query)
    for doc_id in [*(hit.doc_id for hit in hits), *index.corpus.doc_ids(range(0, 60, 5))]:
        explanation = index.explain(query, doc_id)
        assert explanation.beam == 10  # of a search that shows ten
        assert explanation.prior is not None
        assert explanation.total is not None
        if explanation.rank is None:
            assert "not among the 10 documents of a search" in str(explanation)
            assert not explanation.is_decoded
            decoded.add(None)
        else:
            decoded.add(explanation.is_decoded)
            hit = hits[explanation.rank - 1]
            assert explanation.doc_id == hit.doc_id
            if explanation.is_decoded:
                assert explanation.total == pytest.approx(hit.score, rel=1e-5)
            else:
                assert explanation.total >= hit.score - 1e-5
                assert "as if P were 0" in str(explanation)
        if not explanation.prior.is_among_best:
            assert explanation.prior.score == 0
            assert explanation.total == pytest.approx(np.log(explanation.probability + 1e-4))
            words = any(word.score for word in explanation.prior.words)
            assert ("not among the best by words" if words else "none of these words") in str(explanation)
    assert decoded == {None, True, False}


def test_ranking_by_leaf(runs: dict[str, Path]) -> None:
    plain = dsi.load(runs["semantic"], ranking="leaf", prior="none")
    query = asked(plain)
    for hit in plain.search(query, k=60)[::10]:
        explanation = plain.explain(query, hit.doc_id)
        assert explanation.total == explanation.leaf_logit == pytest.approx(hit.score, abs=1e-5)
        assert sum(step.log_prob for step in explanation.steps) == explanation.log_prob
    planned = dsi.load(runs["semantic"], ranking="leaf", beam=3, prior_weight=2, prior_epsilon=0.1, prior_documents=4)
    hits = {hit.doc_id: hit for hit in planned.search(query)}
    found = [document for document in planned.corpus if document.doc_id in hits]
    for document in [*found, *planned.corpus.rows(50, 55)]:
        explanation = planned.explain(query, document.doc_id)
        if document.doc_id in hits:
            assert explanation.total == pytest.approx(hits[document.doc_id].score, rel=1e-5)
        else:
            assert explanation.total is None
        assert explanation.formula == planned.total
    check_shown(explanation)
    nothing = dsi.load(runs["semantic"], ranking="leaf", prior_weight=2, prior_epsilon=0.1)
    [hit] = nothing.search(QUERY, k=1)
    explanation = nothing.explain(QUERY, hit.doc_id)
    assert explanation.total == pytest.approx(hit.score, abs=1e-5)
    assert explanation.formula == "the logit of its leaf, as no term of the query occurs in the documents"


@pytest.mark.parametrize("precision", ["bfloat16", "int8"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_lower_precision_is_that_of_the_search(runs: dict[str, Path], kind: str, precision: str) -> None:
    index = dsi.load(runs[kind], precision=precision, prior="none")
    query = asked(index)
    for hit in index.search(query, k=60)[::20]:  # int8 rounds by the batch, bfloat16 hardly
        within = 0.5 if precision == "int8" else 0.05
        assert index.explain(query, hit.doc_id).total == pytest.approx(hit.score, abs=within)


def test_what_cannot_be_explained(runs: dict[str, Path]) -> None:
    index = dsi.load(runs["atomic"])
    wrong: list[tuple[Callable[[], object], type[Exception], str]] = [
        (lambda: index.explain(3, "D10"), TypeError, "^query must be a string, not int"),  # type: ignore[arg-type]
        (lambda: index.explain(["bade"], "D10"), TypeError, "^query must be a string"),  # type: ignore[arg-type]
        (lambda: index.explain("bade\udce9", "D10"), ValueError, "^query has half a surrogate pair at character 4"),
        (lambda: index.explain(" \n", "D10"), ValueError, "^the query has no word"),
        (lambda: index.explain("bade", "D11"), KeyError, "there is no document 'D11'"),
        (lambda: index.explain("bade", "\udce9"), KeyError, "there is no document"),
        (lambda: index.explain("bade", 10), KeyError, "there is no document 10"),  # type: ignore[arg-type]
        (lambda: index.explain("bade", None), KeyError, "there is no document None"),  # type: ignore[arg-type]
    ]
    for call, kind, message in wrong:
        with pytest.raises(kind, match=message):
            call()
    assert [index.corpus.doc_index(document.doc_id) for document in index.corpus] == list(range(60))


@pytest.mark.parametrize("kind", KINDS)
def test_texts_are_escaped(runs: dict[str, Path], tmp_path: Path, kind: str) -> None:
    index = dsi.load(runs[kind])
    evil = "<script>alert('&')</script>\x1b[31m\r\n"
    rows = (Document(document.doc_id, evil, document.text) for document in index.corpus)
    write_rows(tmp_path / "documents.arrow", Document, rows)
    index._now.__dict__["corpus"] = Corpus(tmp_path)
    explanation = index.explain(f"{evil} {asked(index)}", "D30")
    assert explanation.title.startswith("<script>")
    check_shown(explanation)
    html = explanation._repr_html_()
    assert "<script" not in html
    assert "&lt;script&gt;alert(&#x27;&amp;&#x27;)&lt;/script&gt;\N{REPLACEMENT CHARACTER}[31m" in html


def test_the_command(runs: dict[str, Path], capsys: pytest.CaptureFixture[str]) -> None:
    folder = str(runs["semantic"])
    query = asked(dsi.load(folder))
    assert main(["explain", folder, f" {query} ", "D30"]) == 0
    out = capsys.readouterr().out
    assert out == f"{dsi.load(folder).explain(query, 'D30')}\n"
    assert out.startswith(f"query     {' '.join(query.split())}\n")
    assert main(["explain", folder, query, "D31"]) == 2
    assert capsys.readouterr().err == "dsi: error: there is no document 'D31'\n"
    assert main(["explain", folder, " ", "D30"]) == 2
    assert capsys.readouterr().err == "dsi: error: the query has no word\n"
