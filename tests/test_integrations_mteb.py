"""An index in MTEB: a retrieval task of one's own, measured there as `dsi evaluate` measures it."""

import sys
from pathlib import Path
from typing import Any

import pytest
from datasets import Dataset
from evaluated import evaluated_run, values_of
from test_saved import SMALL

import dsi
from dsi.corpus.store import Corpus
from dsi.errors import DsiError
from dsi.integrations.mteb import DsiSearch

mteb = pytest.importorskip("mteb", reason="MTEB is not installed")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return evaluated_run(tmp_path_factory.mktemp("run"), identical=False)


@pytest.fixture(scope="module")
def identical(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return evaluated_run(tmp_path_factory.mktemp("identical"), identical=True)


def task_of(run: Path, ignore_identical: bool = False) -> Any:
    """The test split of a run's corpus as a task of MTEB."""
    from mteb.abstasks.retrieval import AbsTaskRetrieval
    from mteb.abstasks.task_metadata import TaskMetadata

    class Tiny(AbsTaskRetrieval):
        ignore_identical_ids = ignore_identical
        metadata = TaskMetadata(
            name="TinyRetrieval",
            description="Documents of made-up words.",
            dataset={"path": "nowhere/tiny", "revision": "1"},
            type="Retrieval",
            category="t2t",
            eval_splits=["test"],
            eval_langs=["eng-Latn"],
            main_score="ndcg_at_10",
        )

        data_loaded: bool

        def load_data(self, num_proc: int | None = None, **_: Any) -> None:
            if self.data_loaded:
                return
            relevant: dict[str, dict[str, int]] = {}
            for qrel in corpus.qrels("test"):
                relevant.setdefault(qrel.query_id, {})[qrel.doc_id] = qrel.relevance
            rows = [{"id": each.doc_id, "title": each.title, "text": each.text} for each in corpus.living()]
            queries = [{"id": query.query_id, "text": query.text} for query in corpus.queries("test")]
            split = {"corpus": Dataset.from_list(rows), "queries": Dataset.from_list(queries)}
            self.dataset = {"default": {"test": {**split, "relevant_docs": relevant, "top_ranked": None}}}
            self.data_loaded = True

        def task_specific_scores(
            self, scores: dict[str, dict[str, float]], qrels: Any, results: Any, **_: Any
        ) -> dict[str, float]:
            by_query.update(scores)
            return {}

    corpus, by_query = Corpus(run / "corpus"), dict[str, dict[str, float]]()
    task = Tiny()
    task.by_query = by_query
    return task


def check_equal(run: Path, model: DsiSearch, task: Any, system: str) -> None:
    """MTEB finds for every query what `dsi evaluate` has found, and the same means."""
    result = mteb.evaluate(model, task, cache=None, co2_tracker=False, show_progress_bar=False)
    (scores,) = result.task_results[0].scores["test"]
    for measure, theirs in (("nDCG@10", "ndcg_cut_10"), ("R@20", "recall_20")):
        found = {query: values[theirs] for query, values in task.by_query.items()}
        assert found == pytest.approx(values_of(run, system, measure), abs=1e-5), measure
    for measure, theirs in (("RR@10", "mrr_at_10"), ("nDCG@10", "ndcg_at_10"), ("R@20", "recall_at_20")):
        values = values_of(run, system, measure).values()
        assert scores[theirs] == pytest.approx(sum(values) / len(values), abs=1e-5)


def test_mteb_finds_what_dsi_evaluate_finds(run: Path) -> None:
    check_equal(run, DsiSearch(dsi.load(run, prior="none")), task_of(run), "dsi")
    check_equal(run, DsiSearch(run), task_of(run), "dsi+bm25")


def test_queries_that_are_documents(identical: Path) -> None:
    for system, prior in (("dsi", "none"), ("dsi+bm25", "bm25")):
        model = DsiSearch(dsi.load(identical, prior=prior), ignore_identical_ids=True)
        check_equal(identical, model, task_of(identical, ignore_identical=True), system)


def asked(model: DsiSearch, task: Any, **options: Any) -> dict[str, dict[str, float]]:
    task.load_data()
    split = task.dataset["default"]["test"]
    places = {"task_metadata": task.metadata, "hf_split": "test", "hf_subset": "default", "encode_kwargs": {}}
    model.index(split["corpus"], **places, num_proc=None)
    return model.search(split["queries"], **places, **{"top_k": 1_000, "top_ranked": None, "num_proc": None} | options)


def test_the_protocol_and_how_deep_it_looks(run: Path) -> None:
    model = DsiSearch(run)
    assert isinstance(model, mteb.models.SearchProtocol)
    assert not isinstance(model, mteb.models.EncoderProtocol)
    assert {len(hits) for hits in asked(model, task_of(run)).values()} == {20}
    assert {len(hits) for hits in asked(model, task_of(run), top_k=7).values()} == {7}
    assert {len(hits) for hits in asked(DsiSearch(run, beam=50), task_of(run)).values()} == {50}
    index, (query, *_) = dsi.load(run), Corpus(run / "corpus").queries("test")
    hits = index.search(query.text, k=20)
    found = asked(model, task_of(run))[query.query_id]
    assert list(found) == [hit.doc_id for hit in hits]
    assert list(found.values()) == pytest.approx([hit.score for hit in hits], abs=1e-5)
    assert len({*found.values()}) == len(found)
    with pytest.raises(DsiError, match="TinyRetrieval: documents to rerank are given"):
        asked(model, task_of(run), top_ranked={query.query_id: ["D0"]})


def test_results_of_another_index_are_not_taken_for_its_own(run: Path) -> None:
    revisions = [
        model.mteb_model_meta.revision
        for model in (
            DsiSearch(run),
            DsiSearch(dsi.load(run, prior="none")),
            DsiSearch(run, beam=30),
            DsiSearch(run, ignore_identical_ids=True),
            DsiSearch(),
            DsiSearch(keys={"search.beam": 30}),
        )
    ]
    assert len({*revisions}) == len(revisions)
    assert DsiSearch(dsi.load(run)).mteb_model_meta.revision == revisions[0]
    assert DsiSearch(run, name="me/tiny").mteb_model_meta.name == "me/tiny"


def test_a_task_over_other_documents_is_refused(run: Path) -> None:
    task = task_of(run)
    task.load_data()
    rows = task.dataset["default"]["test"]["corpus"].to_list()
    places = {"task_metadata": task.metadata, "hf_split": "test", "hf_subset": "default"}
    other = [row | {"id": "E7"} if row["id"] == "D70" else row for row in rows]
    with pytest.raises(DsiError, match="is not an index of this corpus") as raised:
        DsiSearch(run).index(Dataset.from_list(other), **places)
    assert str(raised.value).endswith(
        "is not an index of this corpus: documents of TinyRetrieval that it lacks: 1, e.g. 'E7';"
        " documents that only it has: 1, e.g. 'D70'"
    )
    with pytest.raises(DsiError, match=r"only it has: 58, e\.g\. 'D100', 'D110', 'D120'$"):
        DsiSearch(run).index(Dataset.from_list(rows[:2]), **places)


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The calls that build an index."""
    from dsi.integrations import mteb as module

    calls, build = list[Any](), module.build

    def counting(*given: Any, **options: Any) -> dsi.Index:
        calls.append(given)
        return build(*given, **options)

    monkeypatch.setattr(module, "build", counting)
    return calls


def test_an_index_is_built_of_the_corpus_once(
    run: Path, tmp_path: Path, counted: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = DsiSearch(folder=tmp_path / "indexes", keys=SMALL)
    with pytest.raises(DsiError, match=r"there is no index yet; call index\(corpus\) first"):
        model.search([], task_metadata=None, top_k=1)
    result = mteb.evaluate(model, task_of(run), cache=None, co2_tracker=False, show_progress_bar=False)
    assert 0 < result.task_results[0].scores["test"][0]["recall_at_20"] <= 1
    [folder] = (tmp_path / "indexes").glob("TinyRetrieval-default-test-*")
    assert len(dsi.load(folder)) == 60
    again = DsiSearch(folder=tmp_path / "indexes", keys=SMALL)
    assert asked(again, task_of(run)) == asked(DsiSearch(folder), task_of(run))
    assert len(counted) == 1
    task, other = task_of(run), task_of(run)
    other.load_data()
    split = other.dataset["default"]["test"]
    split["corpus"] = split["corpus"].map(lambda row: {"text": f"{row['text']} more"})
    with pytest.raises(DsiError, match="document 'D0' of TinyRetrieval has another text"):
        asked(DsiSearch(folder), other)
    with monkeypatch.context() as patched:
        patched.setattr("dsi.integrations.mteb.build", lambda *_, **__: pytest.fail("anew"))
        for keys, of in ((SMALL | {"search.prior": "none"}, task), (SMALL, other)):
            with pytest.raises(pytest.fail.Exception, match="anew"):
                asked(DsiSearch(folder=tmp_path / "indexes", keys=keys), of)
    with pytest.raises(DsiError, match="say how to build an index; it is given one"):
        DsiSearch(run, keys=SMALL)
    index = dsi.load(folder)
    before = DsiSearch(index).mteb_model_meta.revision
    index.delete("D0")
    assert DsiSearch(index).mteb_model_meta.revision == DsiSearch(folder).mteb_model_meta.revision != before
    with pytest.raises(DsiError, match=r"documents of TinyRetrieval that it lacks: 1, e\.g\. 'D0'$"):
        asked(again, task_of(run))


def test_instructions_are_searched_with_and_conversations_are_not(run: Path) -> None:
    model, index = DsiSearch(run), dsi.load(run)
    task = task_of(run)
    task.load_data()
    model.index(task.dataset["default"]["test"]["corpus"], task_metadata=task.metadata, hf_split="", hf_subset="")
    queries = [{"id": "a", "text": "ba", "instruction": "de fi"}, {"id": "b", "text": "ba", "instruction": None}]
    found = model.search(Dataset.from_list(queries), task_metadata=task.metadata, top_k=3)
    texts = {"a": "ba de fi", "b": "ba"}
    for query_id, text in texts.items():
        assert list(found[query_id]) == [hit.doc_id for hit in index.search(text, k=20)[:3]]
    with pytest.raises(DsiError, match="TinyRetrieval: query 'c' is a conversation"):
        model.search(Dataset.from_list([{"id": "c", "text": ["a", "b"]}]), task_metadata=task.metadata, top_k=3)


def test_without_mteb_it_is_told_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mteb", None)
    with pytest.raises(DsiError, match=r"^dsi\.integrations\.mteb needs mteb: pip install 'dsi-retrieval\[mteb\]'$"):
        DsiSearch()
