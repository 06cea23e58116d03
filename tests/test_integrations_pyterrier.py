"""An index in PyTerrier: the frames it takes and gives, pipelines, and the values that `dsi evaluate` finds."""

import importlib
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pyterrier as pt
import pytest
from evaluated import MEASURES, evaluated_run, values_of

import dsi
from dsi.corpus.store import Corpus
from dsi.errors import DsiError
from dsi.integrations.pyterrier import Bm25Retriever, DsiRetriever
from dsi.search.fusion import reciprocal_ranks
from dsi.search.run_files import read_run

RESULTS = ["qid", "query", "docno", "score", "rank"]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return evaluated_run(tmp_path_factory.mktemp("run"), identical=False)


@pytest.fixture(scope="module")
def identical(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return evaluated_run(tmp_path_factory.mktemp("identical"), identical=True)


def topics_of(run: Path) -> pd.DataFrame:
    queries = Corpus(run / "corpus").queries("test")
    return pd.DataFrame([(query.query_id, query.text) for query in queries], columns=["qid", "query"])


def qrels_of(run: Path) -> pd.DataFrame:
    return pd.DataFrame(Corpus(run / "corpus").qrels("test"), columns=["qid", "docno", "label"])


def check_equal(run: Path, systems: dict[str, pt.Transformer]) -> None:
    """pt.Experiment finds for every query and measure what `dsi evaluate` has found for the systems of these names."""
    found = pt.Experiment(
        list(systems.values()),
        topics_of(run),
        qrels_of(run),
        [pt.measures.RR @ 10, pt.measures.nDCG @ 10, pt.measures.R @ 20],
        names=list(systems),
        perquery=True,
    )
    for system in systems:
        for measure in MEASURES:
            rows = found[(found["name"] == system) & (found["measure"] == measure)]
            values = dict(zip(rows["qid"], rows["value"], strict=True))
            assert values == pytest.approx(values_of(run, system, measure), abs=1e-5), (system, measure)
            assert len(set(values.values())) > 1 or measure == "R@20"


def test_an_experiment_finds_what_dsi_evaluate_finds(run: Path) -> None:
    check_equal(run, {"dsi": DsiRetriever(dsi.load(run, prior="none")), "dsi+bm25": DsiRetriever(run)})
    assert not pt.java.started()


def test_queries_that_are_documents(identical: Path, run: Path) -> None:
    assert (identical / "corpus/identical.test.txt").exists()
    plain = dsi.load(identical, prior="none")
    check_equal(
        identical,
        {
            "dsi": DsiRetriever(plain, ignore_identical_ids=True),
            "dsi+bm25": DsiRetriever(identical, ignore_identical_ids=True),
        },
    )
    results = DsiRetriever(identical, ignore_identical_ids=True)(topics_of(identical))
    assert not (results["qid"] == results["docno"]).any()
    assert set(results.groupby("qid").size()) == {20}
    kept = DsiRetriever(identical)(topics_of(identical))
    assert (kept["qid"] == kept["docno"]).any()


def test_bm25_of_ours_is_what_the_run_fuses(run: Path) -> None:
    beam = dsi.load(run).config.beam
    topics = topics_of(run)
    pipelines = DsiRetriever(dsi.load(run, prior="none")), Bm25Retriever(run, k=beam)
    frames = [dict(iter(pipeline(topics).groupby("qid"))) for pipeline in pipelines]
    for query_id, fused in read_run(run / "search/rrf.run").items():
        rankings = [list(zip(of[query_id]["docno"], of[query_id]["score"], strict=True)) for of in frames]
        assert [doc_id for doc_id, _ in reciprocal_ranks(rankings)[:beam]] == list(fused)
    assert not pt.java.started()


def test_the_frames_are_as_pyterrier_has_them(run: Path) -> None:
    retriever, topics = DsiRetriever(run, k=3), topics_of(run).assign(category="a")
    results = retriever.transform(topics)
    assert list(results.columns) == ["qid", "query", "category", "docno", "score", "rank"]
    assert results["rank"].tolist() == [0, 1, 2] * len(topics)
    assert set(results["category"]) == {"a"}
    for _, group in results.groupby("qid"):
        assert group["score"].is_monotonic_decreasing
        assert group["score"].is_unique
    index = dsi.load(run)
    assert results["docno"].tolist() == [hit.doc_id for hits in index.search(topics["query"], 3) for hit in hits]
    (hit,) = index.search("ba", k=1)
    assert retriever.search("ba").iloc[0][["qid", "query", "docno"]].tolist() == ["1", "ba", hit.doc_id]
    titled = DsiRetriever(index, k=1, texts=True)(topics)
    assert titled["text"].tolist() == [index.documents[doc_id].text for doc_id in titled["docno"]]
    assert "title" in titled.columns


@pytest.mark.parametrize("kind", [DsiRetriever, Bm25Retriever])
def test_nothing_asked_and_what_is_no_query(run: Path, kind: type[DsiRetriever | Bm25Retriever]) -> None:
    retriever = kind(run)
    empty = retriever(pd.DataFrame(columns=["qid", "query"]))
    assert list(empty.columns) == RESULTS
    assert len(empty) == 0
    assert empty["rank"].dtype == "int64"
    assert empty["score"].dtype == "float64"
    assert pt.inspect.transformer_inputs(retriever) == [["qid", "query"]]
    assert pt.inspect.transformer_outputs(retriever, ["qid", "query", "x"]) == ["qid", "query", "x", *RESULTS[2:]]
    assert len(retriever(pd.DataFrame([("1", "")], columns=["qid", "query"]))) == 0
    for columns in (["qid"], ["qid", "query", "docno"]):
        with pytest.raises(pt.validate.InputValidationError):
            retriever(pd.DataFrame(columns=columns))
    for k in (0, -1):
        with pytest.raises(ValueError, match="must be above 0"):
            kind(run, k=k)
    assert {each.name for each in pt.inspect.transformer_attributes(retriever)} >= {"index", "k"}


def test_operators_and_compiled_pipelines(run: Path) -> None:
    topics = topics_of(run)
    retriever: Any = DsiRetriever(run)
    bm25: Any = Bm25Retriever(run)
    for each in (retriever, bm25):
        plain = (each % 5)(topics)
        compiled = (each % 5).compile()
        assert isinstance(compiled, type(each))
        pd.testing.assert_frame_equal(compiled(topics), plain.reset_index(drop=True))
    deeper: Any = DsiRetriever(run, k=40)
    assert len(deeper(topics)) == 40 * len(topics)
    pd.testing.assert_frame_equal((deeper % 7).compile()(topics), (deeper % 7)(topics).reset_index(drop=True))
    both = (retriever + 0.5 * bm25)(topics)
    assert {*RESULTS} <= {*both.columns}
    assert len(both) >= 20 * len(topics)
    assert {*(retriever >> pt.apply.query(lambda row: row["query"])).transform(topics).columns} >= {*RESULTS}


def test_bm25_needs_postings(run: Path, tmp_path: Path) -> None:
    with pytest.raises(DsiError, match=r"has no postings; BM25 needs an index with search\.prior"):
        Bm25Retriever(dsi.load(run, prior="none"))
    with pytest.raises(DsiError, match="there is no such folder"):
        DsiRetriever(tmp_path / "nothing")


def test_without_pyterrier_it_is_told_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "dsi.integrations.pyterrier")
    monkeypatch.setitem(sys.modules, "pyterrier", None)
    with pytest.raises(DsiError, match=r"^dsi\.integrations\.pyterrier needs pyterrier: pip install 'dsi-r"):
        importlib.import_module("dsi.integrations.pyterrier")
