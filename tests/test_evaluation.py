import json
import random
import time
from pathlib import Path

import pytest
import pytrec_eval

from dsi.config import EvaluationConfig
from dsi.corpus.store import Corpus, Document, Qrel, Query, write_rows
from dsi.doc2query.shards import write_shard
from dsi.errors import DsiError
from dsi.evaluation.breakdown import by_kind, kinds
from dsi.evaluation.evaluate import evaluate
from dsi.evaluation.measures import parse_measures, score_queries, score_run
from dsi.search.run_files import write_run

QRELS = [
    Qrel("q1", "a", 1),
    Qrel("q2", "b", 1),
    Qrel("q2", "c", 2),
    Qrel("q3", "d", 1),  # has no results
    Qrel("q4", "e", 0),  # has nothing relevant
]
RUN = {
    "q1": {"x": 3.0, "a": 2.0},
    "q2": {"c": 9.0, "x": 8.0, "b": 7.0},
    "q4": {"e": 1.0},
    "unjudged": {"a": 1.0},
}


def test_every_judged_query_counts_and_no_other() -> None:
    measures = parse_measures(["RR@10", "Success@1", "R@100", "P@2"])
    assert score_run(measures, QRELS, RUN) == pytest.approx(
        {"RR@10": (1 / 2 + 1) / 4, "Success@1": 1 / 4, "R@100": (1 + 1) / 4, "P@2": (1 / 2 + 1 / 2) / 4}
    )
    _, by_query = score_queries(measures, QRELS, RUN)
    assert list(by_query) == ["q1", "q2", "q3", "q4"]
    assert by_query["q3"] == {"RR@10": 0.0, "Success@1": 0.0, "R@100": 0.0, "P@2": 0.0}


def test_names_are_kept_as_they_are_spelled() -> None:
    means = score_run(parse_measures(["MRR@10", "RR(rel=1)@10", "RR(rel=2)@10"]), QRELS, RUN)
    assert means == {"MRR@10": 0.375, "RR(rel=1)@10": 0.375, "RR(rel=2)@10": 0.25}


def test_a_run_without_any_result_scores_zero() -> None:
    assert score_run(parse_measures(["RR@10", "nDCG@10"]), QRELS, {}) == {"RR@10": 0.0, "nDCG@10": 0.0}


@pytest.mark.parametrize("name", ["RR@ten", "foo", "P", "R@0", "RR@-1", "", "RR(x=1)@10", "1+", "RR@1.5"])
def test_an_unknown_measure_is_named(name: str) -> None:
    with pytest.raises(DsiError, match=r"evaluation\.measures: ") as raised:
        parse_measures(["RR@10", name])
    assert repr(name) in str(raised.value)


def random_run(queries: int, depth: int) -> tuple[list[Qrel], dict[str, dict[str, float]]]:
    generator = random.Random(0)
    documents = [f"d{number}" for number in range(3 * depth)]
    qrels = [Qrel(f"q{q}", doc, 1) for q in range(queries) for doc in generator.sample(documents, 3)]
    run = {
        f"q{q}": {doc: -float(n) for n, doc in enumerate(generator.sample(documents, depth))} for q in range(queries)
    }
    return qrels, run


def test_rr_at_10_is_trec_evals_recip_rank_of_the_first_ten() -> None:
    qrels, run = random_run(queries=300, depth=12)
    judgements: dict[str, dict[str, int]] = {}
    for qrel in qrels:
        judgements.setdefault(qrel.query_id, {})[qrel.doc_id] = qrel.relevance
    first_ten = {query: dict(list(hits.items())[:10]) for query, hits in run.items()}
    expected = pytrec_eval.RelevanceEvaluator(judgements, {"recip_rank"}).evaluate(first_ten)
    _, by_query = score_queries(parse_measures(["RR@10"]), qrels, run)
    assert {query: values["RR@10"] for query, values in by_query.items()} == pytest.approx(
        {query: values["recip_rank"] for query, values in expected.items()}
    )
    assert 0 < sum(values["RR@10"] > 0 for values in by_query.values()) < 300


def test_a_point_of_the_dev_curve_is_quick() -> None:
    qrels, run = random_run(queries=1_000, depth=100)
    measures = parse_measures(["RR@10"])
    start = time.process_time()
    score_run(measures, qrels, run)
    assert time.process_time() - start < 1


@pytest.fixture
def corpus_folder(tmp_path: Path) -> Path:
    folder = tmp_path / "corpus"
    folder.mkdir()
    write_rows(folder / "documents.arrow", Document, [Document(doc_id, "", "text") for doc_id in "abcdex"])
    write_rows(folder / "queries.dev.arrow", Query, [Query(f"q{n}", "text") for n in (1, 2, 3, 4)])
    write_rows(folder / "qrels.dev.arrow", Qrel, QRELS)
    write_rows(folder / "queries.test.arrow", Query, [Query("q9", "text")])
    write_rows(folder / "qrels.test.arrow", Qrel, [])
    return folder


def stages(corpus_folder: Path, made: Path) -> dict[str, Path]:
    return {"corpus": corpus_folder, "doc2query": made, "search": made}


def test_evaluate_writes_means_and_every_query(tmp_path: Path, corpus_folder: Path) -> None:
    write_run(tmp_path / "dsi.run", "dsi", [("q1", [("a", 1.0)])])
    baselines = tmp_path / "baselines"
    baselines.mkdir()
    write_run(
        baselines / "bm25.run", "bm25", [(q, sorted(hits.items(), key=lambda hit: -hit[1])) for q, hits in RUN.items()]
    )
    config = EvaluationConfig(split="dev", measures=["RR@10", "Success@1"])
    counts = evaluate(
        tmp_path,
        evaluation=config,
        corpus_folder=corpus_folder,
        doc2query_folder=tmp_path,
        search_folder=tmp_path,
        baselines_folder=baselines,
    )
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    assert counts.items() <= metrics.items()
    assert metrics["baseline"] == "bm25"
    assert metrics["comparisons"]["RR@10"]["dsi"]["difference"] == -0.125
    low, high = metrics["intervals"]["bm25"]["RR@10"]
    assert 0 <= low <= 0.375 <= high <= 1
    assert counts == {
        "systems": {"dsi": {"RR@10": 0.25, "Success@1": 0.25}, "bm25": {"RR@10": 0.375, "Success@1": 0.25}},
        "queries": 4,
        "documents": 6,
        "split": "dev",
        "queries_without_relevant": 1,
    }
    assert metrics["against_baseline"] == {"won": 1, "lost": 1, "level": 2}
    assert metrics["breakdowns"] == {
        "words": {"1 to 3": {"queries": 3, "dsi": pytest.approx(1 / 3), "bm25": 0.5}},
        "similarity": {"0.0 to 0.2": {"queries": 3, "dsi": pytest.approx(1 / 3), "bm25": 0.5}},
        "overlap": {"all": {"queries": 3, "dsi": pytest.approx(1 / 3), "bm25": 0.5}},
        "position": {"1 of 4": {"queries": 3, "dsi": pytest.approx(1 / 3), "bm25": 0.5}},
    }
    lines = (tmp_path / "per_query.tsv").read_text().splitlines()
    assert lines[:3] == ["query_id\tsystem\tRR@10\tSuccess@1", "q1\tdsi\t1.0\t1.0", "q1\tbm25\t0.5\t0.0"]
    assert len(lines) == 1 + 4 * 2


def test_kinds_of_queries(tmp_path: Path, corpus_folder: Path) -> None:
    write_rows(corpus_folder / "queries.train.arrow", Query, [Query("t", "any")])
    write_rows(corpus_folder / "qrels.train.arrow", Qrel, [Qrel("t", "c", 1)])
    asked = [Query("q1", "one two three four"), Query("q2", "a b c d e f g h i j k"), Query("q3", "one two")]
    write_rows(corpus_folder / "queries.dev.arrow", Query, asked)
    write_shard(tmp_path / "shard-00000.parquet", 0, [["one two", "two"], [], ["a b c d e f g h i j k"]])
    found = kinds(Corpus(corpus_folder), "dev", tmp_path)
    assert found == {
        "training": {"q1": "no document seen", "q2": "a document seen", "q3": "no document seen"},
        "words": {"q1": "4 to 6", "q2": "10 and more", "q3": "1 to 3"},
        "similarity": {"q1": "0.4 to 0.6", "q2": "0.8 to 1.0", "q3": "0.0 to 0.2"},
        "overlap": dict.fromkeys(["q1", "q2", "q3"], "0.0 to 0.2"),
        "position": dict.fromkeys(["q1", "q2", "q3"], "no match"),
    }
    table = by_kind(found["words"], {"dsi": {"q1": 0.5, "q2": 1.0, "q3": 0.0}})
    assert list(table.items()) == [
        ("1 to 3", {"queries": 1, "dsi": 0.0}),
        ("4 to 6", {"queries": 1, "dsi": 0.5}),
        ("10 and more", {"queries": 1, "dsi": 1.0}),
    ]


def test_where_the_words_of_a_query_are(tmp_path: Path, corpus_folder: Path) -> None:
    texts = {
        "a": "one two three four five six seven eight",
        "b": "four",
        "c": "x x x x x x two two two one two one",  # in the third quarter more often, in the last more of them
        "d": "我們去上海坐火車",
        "e": "nothing",
    }
    asked = {"q1": "ONE nine nine eight", "q2": "four one two", "q3": "去上海", "q4": "?"}
    qrels = [("q1", "a"), ("q2", "b"), ("q2", "c"), ("q3", "d"), ("q4", "e")]
    write_rows(corpus_folder / "documents.arrow", Document, [Document(name, "", text) for name, text in texts.items()])
    write_rows(corpus_folder / "queries.dev.arrow", Query, [Query(*query) for query in asked.items()])
    write_rows(corpus_folder / "qrels.dev.arrow", Qrel, [Qrel(*pair, 1) for pair in qrels])
    write_shard(tmp_path / "shard-00000.parquet", 0, [[]] * len(texts))
    found = kinds(Corpus(corpus_folder), "dev", tmp_path)
    assert found["overlap"] == {"q1": "0.6 to 0.8", "q2": "0.6 to 0.8", "q3": "all", "q4": "0.0 to 0.2"}
    assert found["position"] == {"q1": "1 of 4", "q2": "4 of 4", "q3": "2 of 4", "q4": "no match"}


def test_kinds_with_a_number_come_first_in_its_order() -> None:
    kind_of = {"a": "all", "b": "0.2 to 0.4", "c": "0.0 to 0.2"}
    assert list(by_kind(kind_of, {"dsi": dict.fromkeys(kind_of, 1.0)})) == ["0.0 to 0.2", "0.2 to 0.4", "all"]


def test_a_baseline_that_was_not_run_is_an_error(tmp_path: Path, corpus_folder: Path) -> None:
    write_run(tmp_path / "dsi.run", "dsi", [("q1", [("a", 1.0)])])
    (tmp_path / "none").mkdir()
    config = EvaluationConfig(split="dev", measures=["RR@10"], baseline="bm25")
    with pytest.raises(DsiError, match=r"evaluation\.baseline: 'bm25' was not run; there are: dsi"):
        evaluate(
            tmp_path,
            evaluation=config,
            corpus_folder=corpus_folder,
            doc2query_folder=tmp_path,
            search_folder=tmp_path,
            baselines_folder=tmp_path / "none",
        )


def test_a_split_without_judgements_is_an_error(tmp_path: Path, corpus_folder: Path) -> None:
    with pytest.raises(DsiError, match="split 'test' has no judgements"):
        evaluate(
            tmp_path,
            evaluation=EvaluationConfig(),
            corpus_folder=corpus_folder,
            doc2query_folder=tmp_path,
            search_folder=tmp_path,
            baselines_folder=tmp_path,
        )
