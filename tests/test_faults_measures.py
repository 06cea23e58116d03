"""Faults of the kind "measures": judgements, depths and queries that tools read differently."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from dsi.artifacts import read_manifest
from dsi.config import Config, CorpusConfig, load_config
from dsi.corpus.ingest import ingest
from dsi.corpus.store import Corpus, Qrel
from dsi.errors import DsiError
from dsi.evaluation.measures import check_judgements, parse_measures, score_queries, score_run
from dsi.pipeline import STAGES, Run
from dsi.report.results import identical, without_relevant
from dsi.search.answering import Hits, Questions

MEASURES = ["RR@10", "Success@1", "R@100", "nDCG@10", "AP"]
SMALL = """
tokenizer: {vocabulary: 60}
doc2query: {known_item: {queries: 3}}
model: {d_model: 16, num_heads: 2, d_kv: 8, d_ff: 16, document_length: 16, query_length: 8}
training: {steps: 4, batch_size: 8, eval_steps: 4, warmup_steps: 1}
search: {latency_queries: 0}
baselines: {systems: []}
"""


@pytest.mark.parametrize("junk", [-2, -1, -(2**31)])
def test_negative_relevance(junk: int) -> None:
    qrels = [Qrel("q1", "a", 1), Qrel("q1", "b", junk), Qrel("q2", "a", junk), Qrel("q3", "c", 2)]
    as_zero = [qrel._replace(relevance=max(qrel.relevance, 0)) for qrel in qrels]
    run = {"q1": {"b": 2.0, "a": 1.0}, "q2": {"a": 1.0}, "q3": {"c": 1.0}}
    measures = parse_measures(MEASURES)
    assert score_queries(measures, qrels, run) == score_queries(measures, as_zero, run)
    assert score_run(measures, qrels, run)["RR@10"] == 0.5
    assert score_run(measures, [Qrel("q2", "a", junk)], run)["AP"] == 0  # where pytrec_eval crashed


def test_topics_that_are_no_numbers_and_graded_gains() -> None:
    run = {topic: {"b": 2.0, "a": 1.0} for topic in ("nan", "-", "été 'x'", "1e5", "007", "7")}
    qrels = [Qrel(topic, "a", 3) for topic in run] + [Qrel("nan", "b", 1)]
    _, values = score_queries(parse_measures(["ERR@10", "nDCG@10", "RR@10"]), qrels, run)
    assert list(values) == list(run)
    assert values["7"]["RR@10"] == 0.5
    assert values["7"]["ERR@10"] == pytest.approx((2**3 - 1) / 2**4 / 2, abs=1e-4)
    gain = 1 + 3 / math.log2(3)
    assert values["nan"]["nDCG@10"] == pytest.approx(gain / (3 + 1 / math.log2(3)))
    with pytest.raises(DsiError, match=r"'ERR@10' is computed for grades up to 4, .* 'a' to query 'q'.* is 100"):
        check_judgements(parse_measures(["RR@10", "ERR@10"]), [Qrel("q", "a", 100)], "test")
    assert score_run(parse_measures(["nDCG@10"]), [Qrel("q", "a", 100_000)], {"q": {"a": 1.0}})["nDCG@10"] == 1


def test_grades_beyond_trec_eval_count_or_are_refused() -> None:
    """Of 2^31-1, trec_eval makes 0 without a word, of somewhat less it takes all memory."""
    qrels, run = [Qrel("q", "a", 2**31 - 1), Qrel("q", "b", 1)], {"q": {"x": 3.0, "a": 2.0, "b": 1.0}}
    binary = parse_measures(["RR@10", "RR", "P@2", "AP(rel=3)", "R(rel=1000000000)@10", "NumRet", "Success@2"])
    check_judgements(binary, qrels, "test")
    assert list(score_run(binary, qrels, run).values()) == [1 / 2, 1 / 2, 1 / 2, 1 / 2, 1, 3, 1]
    for name in ("nDCG@10", "ERR@10", "nDCG(dcg='exp-log2')@10"):
        with pytest.raises(DsiError, match=r"is computed for grades up to .* 'a' to query 'q'.*2,147,483,647"):
            check_judgements(parse_measures([name]), qrels, "test")
    million = score_run(parse_measures(["nDCG@10"]), [Qrel("q", "a", 10**6), Qrel("q", "b", 1)], run)["nDCG@10"]
    assert million == pytest.approx((10**6 / math.log2(3) + 1 / 2) / (10**6 + 1 / math.log2(3)))
    with pytest.raises(DsiError, match=r"'AP\(rel=3\)' asks for grades from 3 on, .* split 'test' is 2, so .* be 0"):
        check_judgements(parse_measures(["AP(rel=2)", "AP(rel=3)"]), [Qrel("q", "a", 2)], "test")
    with pytest.raises(DsiError, match="split 'test' has no judgements above 0"):
        check_judgements(binary, [Qrel("q", "a", 0), Qrel("q", "b", -2)], "test")


def test_measures_do_not_change_each_other() -> None:
    """In one call, ir-measures takes the gains of one nDCG for another one, and counts Accuracy over other queries."""
    qrels, run = [Qrel("q", "a", 1), Qrel("q", "b", 2), Qrel("p", "a", 1)], {"q": {"x": 3.0, "a": 2.0, "b": 1.0}}
    names = ["nDCG(gains={1: 9})@10", "nDCG@10", "RR(rel=2)@10", "Accuracy@10", "RR@10"]
    together = score_run(parse_measures(names), qrels, {**run, "unjudged": {"a": 1.0}})
    assert together == {name: score_run(parse_measures([name]), qrels, run)[name] for name in names}
    assert together["nDCG@10"] == pytest.approx((1 / math.log2(3) + 2 / 2) / (2 + 1 / math.log2(3)) / 2)
    with pytest.raises(DsiError, match="'Accuracy': ir-measures fails on it: float division by zero"):
        score_run(parse_measures(["Accuracy"]), qrels, {"q": {"a": 1.0}})


def test_ids_that_c_cuts_at_a_nul() -> None:
    qrels, run = [Qrel("\0q", "\0a", 1)], {"\0q": {"\0b": 2.0, "\0a": 1.0}}
    assert score_run(parse_measures(["RR", "RR@10"]), qrels, run) == {"RR": 0.5, "RR@10": 0.5}


def test_cutoff_beyond_depth(tmp_path: Path) -> None:
    path = tmp_path / "deep.yaml"
    path.write_text("evaluation: {measures: [RR@10, R@1000]}")
    with pytest.raises(DsiError, match=r"R@1000 needs 1000 .* search\.beam=100, baselines\.depth=100; raise them"):
        load_config(path)
    with pytest.raises(DsiError, match=r"no more than baselines\.depth=100; raise it"):
        load_config(path, ["search.beam=1000"])
    load_config(path, ["search.beam=1000", "baselines.depth=1000"])
    load_config(path, ["search.beam=1000", "baselines.systems=[]"])
    for spelled in ("R(cutoff=1_000)", "R(rel=2) @ 1000", "AP(rel=2, cutoff=1000)"):
        with pytest.raises(DsiError, match="needs 1000 results"):
            load_config(path, [f"evaluation.measures=['{spelled}']"])
    path.write_text("evaluation: {measures: ['nDCG(dcg=\"exp-log2\")@101']}")
    with pytest.raises(DsiError, match="needs 101 results"):
        load_config(path)
    path.write_text("search: {beam: 20}")
    assert [fault.split(",")[0] for fault in load_config(path).too_deep] == [  # the defaults are warned of
        "evaluation.measures: R@100 needs 100 results for a query"
    ]
    path.write_text("evaluation: {measures: [AP, RR, Rprec, R@100]}")  # what has no cutoff measures what is there
    load_config(path)


class Letters:
    """A system that returns the documents a, b, c, ... in this order for every query."""

    def __init__(self, depth: int) -> None:
        self.depth = depth

    def answer(self, texts: Sequence[str]) -> list[Hits]:
        return [[(chr(97 + n), -float(n)) for n in range(self.depth)] for _ in texts]

    def answer_alone(self, text: str) -> object:
        return self.answer([text])


def beir_folder(folder: Path) -> Path:
    (folder / "qrels").mkdir(parents=True)
    texts = ["heron leg", "lamp coil", "moss brine", "kiln axle"]
    lines = [f'{{"_id": "{name}", "text": "{text}"}}\n' for name, text in zip("abcd", texts, strict=True)]
    (folder / "corpus.jsonl").write_text("".join(lines))
    (folder / "queries.jsonl").write_text("".join(lines[:2]) + '{"_id": "q", "text": "kiln"}\n')
    for split in ("dev", "test"):
        judged = "query-id\tcorpus-id\tscore\na\tb\t1\nb\ta\t1\nq\td\t1\n"
        (folder / f"qrels/{split}.tsv").write_text(judged)
    return folder


def test_query_is_a_document(tmp_path: Path) -> None:
    path = tmp_path / "own.yaml"
    path.write_text(f"corpus: {{source: beir, path: '{beir_folder(tmp_path / 'beir')}'}}\n{SMALL}")
    run = Run(load_config(path), "own", tmp_path / "runs")
    run.run()
    lines = [line.split() for line in (run.folder / "search/dsi.run").read_text().splitlines()]
    found = {query: [line[2] for line in lines if line[0] == query] for query in ("a", "b", "q")}
    assert sorted(found["a"]) == ["b", "c", "d"]
    assert sorted(found["b"]) == ["a", "c", "d"]
    assert sorted(found["q"]) == ["a", "b", "c", "d"]
    manifest = read_manifest(run.folder / "search")
    assert manifest is not None
    assert manifest["counts"]["systems"]["dsi"]["identical_documents_left_out"] == 2
    assert "2 queries are documents of the same id" in (run.folder / "report/report.md").read_text()
    questions = Questions.of(Corpus(run.folder / "corpus"), "test")
    rankings = dict(questions.rankings(Letters(questions.depth(2)), 2))  # as deep as asked, one more is searched
    assert [[doc_id for doc_id, _ in hits] for hits in rankings.values()] == [["b", "c"], ["a", "c"], ["a", "b"]]


@pytest.mark.parametrize(("key", "left_out"), [(None, {"a", "b"}), (True, {"a", "b"}), (False, set())])
def test_ids_that_only_happen_to_be_equal_are_kept(key: bool | None, left_out: set[str], tmp_path: Path) -> None:
    path = str(beir_folder(tmp_path / "beir"))
    ingest(tmp_path, corpus=CorpusConfig(source="beir", path=path, ignore_identical_ids=key))
    assert Corpus(tmp_path).identical("test") == left_out
    assert not CorpusConfig(source="msmarco", path=path).has_identical_ids  # two numberings
    assert CorpusConfig(source="ir_datasets", dataset="beir/arguana", splits={"test": "x"}).has_identical_ids


def test_outside_beir_a_query_is_a_document_if_its_words_are(tmp_path: Path) -> None:
    folder = tmp_path / "source"
    folder.mkdir()
    (folder / "collection.tsv").write_text("1\ta heron stands\n2\tmoss grows\n3\tthe kiln\n4\ta lamp\n")
    (folder / "queries.test.tsv").write_text("1\theron stands\n2\tan axle\n3\tthe kiln\n")
    (folder / "qrels.test.tsv").write_text("1 0 4 1\n2 0 4 1\n3 0 3 1\n")
    left_out = {None: {"1"}, True: {"1", "2"}, False: set[str]()}  # 3 is relevant to itself
    for key, expected in left_out.items():
        out = tmp_path / str(key)
        out.mkdir()
        ingest(out, corpus=CorpusConfig(source="msmarco", path=str(folder), ignore_identical_ids=key))
        assert Corpus(out).identical("test") == expected


def test_default_measures_that_look_too_deep_are_warned_of(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "c.yaml").write_text("search: {beam: 20}")
    Run(load_config(tmp_path / "c.yaml"), "c", tmp_path / "runs").plan()
    assert "dsi: warning: evaluation.measures: R@100 needs 100 results" in capsys.readouterr().err


def test_query_without_relevant(tmp_path: Path) -> None:
    folder = beir_folder(tmp_path / "beir")
    (folder / "qrels/test.tsv").write_text("query-id\tcorpus-id\tscore\na\tb\t1\nb\ta\t0\nq\td\t1\n")
    path = tmp_path / "none.yaml"
    path.write_text(f"corpus: {{source: beir, path: '{folder}'}}\n{SMALL}")
    run = Run(load_config(path), "none", tmp_path / "runs")
    run.run()
    manifest = read_manifest(run.folder / "evaluation")
    assert manifest is not None
    assert manifest["counts"]["queries"] == 3
    assert manifest["counts"]["queries_without_relevant"] == 1
    assert "1 of the 3 queries has no relevant document and counts 0" in (run.folder / "report/report.md").read_text()


def test_what_the_means_do_is_said() -> None:
    metrics: dict[str, Any] = {"queries_without_relevant": 1, "queries": 4}
    assert without_relevant(metrics).endswith("means over the others would be 1.33 times as high.")
    assert identical({"search": {"counts": {"systems": {"dsi": {}}}}}) == ""


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("INST", r"needs max_rel \(maximum relevance score\); write e\.g\. INST\(max_rel=3\)"),
        ("SDCG", r"needs cutoff .* and max_rel .*; write e\.g\. SDCG\(max_rel=3\)@10"),
        ("SDCG(max_rel=3)@10", r"pip install 'ir-measures\[cwl_eval\]'"),
        ("BPM(max_rel=2)", r"needs cutoff .*; write e\.g\. BPM\(max_rel=2\)@10"),
        ("alpha_nDCG@10", r"pip install 'ir-measures\[pyndeval\]'"),
        ("nDCG@0", "cutoff must be a number of at least 1, found 0"),
        ("RR@True", "cutoff is a whole number, found True"),
        ("RR@1e3", "cutoff is a whole number, found 1000.0"),
        ("AP(rel=0)", "rel must be a number of at least 1"),
        ("P(foo=3)@10", "has no parameter foo; its parameters are: cutoff, rel, judged_only"),
        ("IPrec", r"write e\.g\. IPrec@0\.1"),
        ("IPrec@1", "recall is a number with a point"),
        ("IPrec@0.123", "two digits after the point"),
        ("RBP", r"write e\.g\. RBP\(rel=1\)"),
        ("ERR", r"write e\.g\. ERR@10"),
        ("SDCG(max_rel=0)@10", "max_rel must be above min_rel, which is 0"),
        ("nDCG(dcg='exp-log2')", r"write e\.g\. nDCG\(dcg='exp-log2'\)@10"),
        ("nDCG(dcg='ln')@10", "dcg is 'log2' or 'exp-log2', found 'ln'"),
        ("nDCG(gains={1: 0.5})@10", "gains are whole numbers from 0 to 1,000,000"),
        ("RR(**{})@10", "keywords must be strings"),
        ("RR@10 # the first", "without tabs, line ends and #"),
        ("(" * 10_000, "nested"),
        ("", "must be in format"),
    ],
)
def test_measures_that_want_parameters(name: str, says: str) -> None:
    with pytest.raises(DsiError, match=says) as error:
        parse_measures([name])
    assert "object at 0x" not in str(error.value)
    assert len(str(error.value)) < 500


def test_every_default_measure_is_computed() -> None:
    assert set(STAGES) >= {"evaluation"}
    assert list(parse_measures(Config().evaluation.measures)) == Config().evaluation.measures
