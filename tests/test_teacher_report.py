"""The teacher as a system that answers, and how tables, cost and model card tell of what learnt from it."""

import json
import re
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from conftest import Stages, write_msmarco_folder

from dsi.artifacts import read_manifest, write_manifest
from dsi.baselines import run_baselines as run_baselines_module
from dsi.baselines.run_baselines import run_baselines
from dsi.check import find_faults
from dsi.cli import main
from dsi.config import BaselinesConfig, TeacherConfig, load_config
from dsi.corpus.store import Corpus
from dsi.errors import DsiError
from dsi.estimate import Scale, estimate
from dsi.lexical.index_terms import Terms, index_terms
from dsi.pipeline import STAGES, Run
from dsi.report.comparison import Result, read_results
from dsi.report.distilled import teachers
from dsi.report.sweep_report import write_sweep
from dsi.search.run_files import read_run
from dsi.teacher import bi_encoder, cross_encoder

EXPERIMENT = """
corpus: {{source: msmarco, path: {path}}}
tokenizer: {{vocabulary: 200}}
doc2query: {{known_item: {{queries: 5}}}}
model: {{d_model: 16, d_kv: 4, d_ff: 16}}
training: {{steps: 4, batch_size: 16, eval_steps: 2, warmup_steps: 1, labels: teacher}}
encoder: {{steps: 2, batch_size: 16, labels: teacher}}
search: {{latency_queries: 0}}
baselines: {{systems: [teacher, dual_encoder], depth: 7}}
evaluation: {{baseline: teacher}}
"""
FACTS = (
    'licence: MIT, trained on: nothing; figures "without a real training query" do not hold where the teacher saw such'
    " queries."
)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished run whose index and dual encoder learnt from BM25, which answers too."""
    root = tmp_path_factory.mktemp("taught")
    write_msmarco_folder(root / "data")
    (root / "tiny.yaml").write_text(EXPERIMENT.format(path=root / "data"))
    assert main(["run", str(root / "tiny.yaml"), "--runs", str(root / "runs")]) == 0
    return root / "runs/tiny"


def test_the_teacher_answers_as_its_search_does(finished: Path) -> None:
    corpus, terms = Corpus(finished / "corpus"), Terms(finished / "lexical")
    run = read_run(finished / "baselines/teacher.run")
    queries = corpus.queries("test")
    for query in queries:
        doc_index, scores = (array[0] for array in terms.best([query.text], 7))
        found = scores > -np.inf
        assert list(run[query.query_id]) == corpus.doc_ids(doc_index[found].tolist())
        np.testing.assert_allclose(list(run[query.query_id].values()), scores[found], rtol=1e-4)
    lexical, baselines = (read_manifest(finished / stage) or {} for stage in ("lexical", "baselines"))
    cost = baselines["counts"]["teacher"]
    assert cost["documents"] == len(corpus)
    assert cost["queries"] == len(queries)
    assert cost["index_bytes"] == lexical["counts"]["index_bytes"] > 0
    assert cost["seconds_index"] == lexical["seconds"]
    assert "parameters" not in cost
    assert "flops_per_query" not in cost


def test_what_learnt_from_a_teacher_is_marked_wherever_it_is_shown(finished: Path) -> None:
    report = (finished / "report/report.md").read_text()
    systems = ["dsi (distilled)", "dual_encoder (distilled)", "teacher"]
    rows = re.findall(r"^\| ((?:dsi|teacher|dual_encoder)\b.*?) \|", report.partition("## Building")[0], re.MULTILINE)
    assert rows == [*systems, *systems, *systems]  # means, significance, cost
    assert "| against teacher |" in report
    kinds = re.findall(r"^\| kind \| queries \| (.*) \|$", report, re.MULTILINE)
    assert kinds == [" | ".join(systems)] * len(kinds) != []
    [sentence] = [line for line in report.splitlines() if "learnt from the labels" in line]
    both = "dsi (distilled) and dual_encoder (distilled)"
    assert sentence == f"{both} learnt from the labels of the teacher BM25 (tantivy), {FACTS}"
    assert "distilled from BM25 (tantivy)." in report
    assert "teacher is the teacher itself, BM25 (tantivy), asked the evaluation queries: it ranks all" in report
    assert re.search(r"^dsi \(distilled\) +\d", (finished / "report/summary.txt").read_text(), re.MULTILINE)
    page = (finished / "report/report.html").read_text()
    data = json.loads(page.partition('type="application/json">')[2].partition("</script>")[0])
    assert set(data["queries"][0]["found"]) == set(data["queries"][0]["values"]) == set(systems)
    # and their names for programs stay
    metrics = json.loads((finished / "evaluation/metrics.json").read_text())
    assert set(metrics["systems"]) == {"dsi", "teacher", "dual_encoder"}
    assert {path.name for path in (finished / "baselines").glob("*.run")} == {"teacher.run", "dual_encoder.run"}


def test_the_cost_of_the_teacher_stands_beside_training(finished: Path) -> None:
    costs = (finished / "report/report.md").read_text().partition("## Cost")[2].partition("## Synthetic")[0]
    assert "Why not use the teacher itself?" in costs
    header, *rows = ([cell.strip() for cell in line.split("|")[1:-1]] for line in costs.splitlines() if "|" in line)
    table = {row[0]: dict(zip(header, row, strict=True)) for row in rows[1:]}
    assert header.index("p50 ms") == header.index("bytes a document") + 1
    building = (finished / "report/report.md").read_text().partition("## Building")[2]
    _, _, seconds, memory, _ = next(line for line in building.splitlines() if line.startswith("| teacher |")).split("|")
    for name, row in table.items():
        expected = ("-", "-") if name == "teacher" else (seconds.strip(), memory.strip())
        assert (row["teacher"], row["teacher memory"]) == expected
    index_bytes = (read_manifest(finished / "lexical") or {})["counts"]["index_bytes"]
    assert table["teacher"]["bytes a document"] == f"{index_bytes / 60:.0f} B"
    search = (read_manifest(finished / "search") or {})["counts"]["systems"]["dsi"]
    assert table["dsi (distilled)"]["bytes a document"] == f"{search['index_bytes'] / 60:.0f} B"


def test_the_model_card_tells_of_the_teacher(finished: Path) -> None:
    card = (finished / "model/README.md").read_text()
    assert yaml.safe_load(card.split("---")[1])["tags"][-1] == "distillation"
    assert f"It learnt from the labels of the teacher BM25 (tantivy), {FACTS}" in card.splitlines()


def test_a_comparison_marks_them_and_names_every_teacher_once(tmp_path: Path) -> None:
    def taught(by: str) -> dict[str, Any]:
        facts = {"teacher": by, "licence": "MIT", "trained_on": "nothing"}
        return {"distilled": facts, "teacher_seconds": 75.0, "teacher_bytes": 2e9}

    results = [
        Result("100", "dsi", label, "0", {"q1": value, "q2": 0.5}, cost, "bm25", False)
        for label, value, cost in (("alone", 0.1, {}), ("a", 0.2, taught("A")), ("also a", 0.3, taught("A")))
    ]
    results += [
        Result("100", "dsi", "b", "0", {"q1": 0.4, "q2": 0.5}, taught("B"), "bm25", False),
        Result("100", "bm25", "", "0", {"q1": 0.5, "q2": 0.5}, {}, "bm25", True),
    ]
    write_sweep(tmp_path, "corpus.size", "RR@10", results)
    text = (tmp_path / "sweep.md").read_text()
    names = ["dsi alone", "dsi a (distilled)", "dsi also a (distilled)", "dsi b (distilled)", "bm25"]
    rows = re.findall(r"^\| ((?:dsi|bm25)\b.*?) \|", text, re.MULTILINE)
    assert rows == [*names, *names, *names]  # means, significance, cost
    sentences = [line.partition(", licence")[0] for line in text.splitlines() if "learnt from the labels" in line]
    assert sentences == [
        "dsi a (distilled) and dsi also a (distilled) learnt from the labels of the teacher A",
        "dsi b (distilled) learnt from the labels of the teacher B",
    ]
    assert "| dsi a (distilled) | - | - | - | 1 min 15 s | 2.0 GB |" in text
    header, first, second, *_ = (line.split("\t") for line in (tmp_path / "sweep.tsv").read_text().splitlines())
    assert (header[-1], first[-1], second[-1]) == ("teacher_seconds", "", "75.0")


@pytest.mark.parametrize(
    ("keys", "messages"),
    [
        (["baselines.systems=[teacher]"], ["teacher needs training.labels=teacher", "dense is the system"]),
        (
            ["baselines.systems=[teacher_int8]", "training.labels=teacher"],
            ["teacher_int8 needs teacher.kind=bi_encoder, not bm25, for vectors"],
        ),
        (["baselines.systems=[teacher]", "encoder.labels=teacher"], ["or dual_encoder with encoder.labels=teacher"]),
        (
            ["baselines.systems=[teacher]", "training.labels=teacher", "teacher.kind=run", "teacher.path=s.jsonl"],
            ["teacher cannot answer with teacher.kind=run", "take teacher out"],
        ),
    ],
)
def test_teachers_that_cannot_answer_are_refused(tmp_path: Path, keys: list[str], messages: list[str]) -> None:
    (tmp_path / "c.yaml").write_text("corpus: {source: pydoc}")
    with pytest.raises(DsiError) as raised:
        load_config(tmp_path / "c.yaml", keys)
    [line] = [fault for fault in str(raised.value).splitlines() if "baselines.systems: teacher" in fault]
    assert all(message in line for message in messages)


BI_ENCODER = ["teacher.kind=bi_encoder", "teacher.model=m"]
SAME = ["embeddings.kind=sentence_transformers", "embeddings.model=m"]


@pytest.mark.parametrize(
    ("keys", "read"),
    [
        ([], {"corpus", "lexical"}),
        (BI_ENCODER, {"corpus", "teacher"}),
        ([*BI_ENCODER, *SAME], {"corpus", "embeddings"}),
        (["teacher.kind=cross_encoder", "teacher.candidates=bm25"], {"corpus", "lexical"}),
        (["teacher.kind=cross_encoder", "teacher.candidates=bi_encoder"], {"corpus", "teacher"}),
        # not the embeddings of dense in place of those of the teacher
        ([*BI_ENCODER, *SAME[:1], "embeddings.model=n", "baselines.dense_model=n"], {"corpus", "teacher"}),
    ],
)
def test_the_stage_reads_what_the_teacher_searches(tmp_path: Path, keys: list[str], read: set[str]) -> None:
    (tmp_path / "c.yaml").write_text("baselines: {systems: [teacher]}\ntraining: {labels: teacher}")
    run = Run(load_config(tmp_path / "c.yaml", keys), "c", tmp_path / "runs")
    assert {stage.name for stage in run.reads(STAGES["baselines"])} == read
    assert "teacher" in run.sections(STAGES["baselines"])
    without = Run(load_config(tmp_path / "c.yaml", [*keys, "baselines.systems=[]"]), "c", tmp_path / "runs")
    assert [stage.name for stage in without.reads(STAGES["baselines"])] == ["corpus"]
    assert "teacher" not in without.sections(STAGES["baselines"])


def test_the_model_of_a_teacher_that_answers_is_checked(tmp_path: Path) -> None:
    pytest.importorskip("sentence_transformers")
    (tmp_path / "c.yaml").write_text("baselines: {systems: [teacher]}\ntraining: {labels: teacher}")
    config = load_config(tmp_path / "c.yaml", ["teacher.kind=bi_encoder", f"teacher.model={tmp_path / 'no/where'}"])
    [fault] = find_faults(config, ["baselines"], ["test"])
    assert fault.startswith("teacher.model: there is no folder")


def test_the_time_of_a_teacher_with_a_model_is_not_estimated(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text("baselines: {systems: [teacher]}\ntraining: {labels: teacher}")
    for kind in ("bm25", "bi_encoder", "cross_encoder"):
        config = load_config(tmp_path / "c.yaml", [f"teacher.kind={kind}"])
        seconds = estimate(Scale(config, documents=100, queries=10, speed=1e9))["baselines"].seconds
        assert (seconds is None) == (kind != "bm25")


class Words(torch.nn.Module):
    """A sentence encoder that hashes words, other words for other seeds; a layer of it has 32 x 32 weights."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self.seed, self.layer = seed, torch.nn.Linear(32, 32, bias=False)

    def tokenizer(self, texts: Sequence[str]) -> dict[str, list[list[str]]]:
        return {"input_ids": [text.split() for text in texts]}

    def encode_document(self, texts: Sequence[str], **_: Any) -> np.ndarray:
        vectors = np.zeros((len(texts), 32), dtype=np.float32)
        for vector, text in zip(vectors, texts, strict=True):
            for word in text.lower().split():
                vector[zlib.crc32(word.encode()) // self.seed % 32] += 1
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)

    def encode_query(self, texts: Sequence[str], convert_to_tensor: bool = False, **_: Any) -> Any:
        vectors = self.encode_document(texts)
        return torch.from_numpy(vectors) if convert_to_tensor else vectors


class Lengths(torch.nn.Module):
    """A cross-encoder that likes short documents; a layer of it has 5 x 2 weights."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(5, 2, bias=False)

    def tokenizer(self, text: str, content: str, truncation: bool) -> dict[str, list[str]]:
        return {"input_ids": [*text.split(), *content.split()]}

    def predict(self, pairs: list[tuple[str, str]], **_: Any) -> np.ndarray:
        return np.array([-len(content) - zlib.crc32(content.encode()) % 100 / 100 for _, content in pairs])


def exact(corpus: Corpus, model: Words, depth: int) -> dict[str, list[str]]:
    """The documents with the largest inner product for each test query."""
    vectors, found = model.encode_document(list(corpus.contents())), {}
    for query in corpus.queries("test"):
        scores = vectors @ model.encode_query([query.text])[0]
        found[query.query_id] = corpus.doc_ids(np.argsort(-scores, kind="stable")[:depth].tolist())
    return found


def test_a_bi_encoder_answers_with_its_vectors_and_dense_with_its_own(
    tiny: Stages, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    corpus, models = Corpus(tiny.corpus), {"m": Words(1), "n": Words(7)}
    for module in (bi_encoder, run_baselines_module):
        monkeypatch.setattr(module, "sentence_encoder", lambda name, key: models[name])
    (tmp_path / "vectors").mkdir()
    vectors = models["m"].encode_document(list(corpus.contents()))
    np.save(tmp_path / "vectors/vectors.npy", vectors)
    teacher = TeacherConfig(kind="bi_encoder", model="m")
    expected = {name: exact(corpus, model, 3) for name, model in models.items()}
    assert expected["m"] != expected["n"]
    for folder in ("teacher_folder", "embeddings_folder"):  # the stage that has the vectors of the teacher
        (out := tmp_path / folder).mkdir()
        config = BaselinesConfig(systems=["teacher", "teacher_int8", "dense"], dense_model="n", depth=3)
        given: dict[str, Any] = {folder: tmp_path / "vectors"}
        stage = {"stage": folder.removesuffix("_folder"), "seconds": 100.0, "counts": {"vectors_seconds": 12.5}}
        write_manifest(tmp_path / "vectors", stage)
        costs = run_baselines(out, baselines=config, split=None, corpus_folder=tiny.corpus, teacher=teacher, **given)
        runs = {name: read_run(out / f"{name}.run") for name in config.systems}
        for query_id, documents in expected["m"].items():
            assert next(iter(runs["teacher"][query_id])) == documents[0]
            scores = runs["teacher"][query_id] | runs["teacher_int8"][query_id]
            assert scores[documents[0]] == pytest.approx(max(scores.values()), rel=0.02)
            assert next(iter(runs["dense"][query_id])) == expected["n"][query_id][0]
            assert len(runs["teacher"][query_id]) == 3
        assert costs["teacher"]["index_bytes"] == vectors.nbytes
        assert costs["teacher_int8"]["index_bytes"] == vectors.size
        assert not (out / "teacher_int8").exists()
        assert costs["teacher"]["seconds_index"] == (12.5 if folder == "teacher_folder" else 100.0)
        assert costs["teacher"]["parameters"] == 32 * 32
        assert costs["teacher"]["flops_per_query"] == 2 * 3 * 32 * 32 + 2 * vectors.size  # queries of three words


def test_a_cross_encoder_orders_its_candidates_and_costs_a_reading_of_each(
    tiny: Stages, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cross_encoder, "load_cross_encoder", lambda name: Lengths())
    (lexical := tmp_path / "lexical").mkdir()
    index_terms(lexical, language="en", corpus_folder=tiny.corpus)
    costs = run_baselines(
        tmp_path,
        baselines=BaselinesConfig(systems=["teacher"], depth=4),
        split=None,
        corpus_folder=tiny.corpus,
        teacher=TeacherConfig(kind="cross_encoder", model="x"),
        lexical_folder=lexical,
    )
    corpus, terms, run, read = Corpus(tiny.corpus), Terms(lexical), read_run(tmp_path / "teacher.run"), 0
    queries = corpus.queries("test")
    for query in queries:
        doc_index, scores = (array[0] for array in terms.best([query.text], 4))
        candidates = [corpus[number] for number in doc_index[scores > -np.inf].tolist()]
        scored = dict(zip(candidates, Lengths().predict([("", each.content()) for each in candidates]), strict=True))
        assert list(run[query.query_id]) == [each.doc_id for each in sorted(candidates, key=lambda each: -scored[each])]
        read += sum(len(query.text.split()) + len(each.content().split()) for each in candidates)
    assert costs["teacher"]["parameters"] == 5 * 2
    assert costs["teacher"]["flops_per_query"] == pytest.approx(2 * 5 * 2 * read / len(queries))


def test_scores_that_are_not_finite_are_refused(tiny: Stages, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = Lengths()
    monkeypatch.setattr(model, "predict", lambda pairs, **_: np.full(len(pairs), np.nan), raising=False)
    monkeypatch.setattr(cross_encoder, "load_cross_encoder", lambda name: model)
    (lexical := tmp_path / "lexical").mkdir()
    index_terms(lexical, language="en", corpus_folder=tiny.corpus)
    with pytest.raises(DsiError, match=r"^teacher: its scores for query '\w+ \w+ \w+' are NaN or infinite"):
        run_baselines(
            tmp_path,
            baselines=BaselinesConfig(systems=["teacher"]),
            split=None,
            corpus_folder=tiny.corpus,
            teacher=TeacherConfig(kind="cross_encoder", model="x"),
            lexical_folder=lexical,
        )


def test_latency_of_the_teacher_is_measured_in_a_process_of_its_own(tiny: Stages, tmp_path: Path) -> None:
    (lexical := tmp_path / "lexical").mkdir()
    index_terms(lexical, language="en", corpus_folder=tiny.corpus)
    costs = run_baselines(
        tmp_path,
        baselines=BaselinesConfig(systems=["teacher"]),
        split=None,
        corpus_folder=tiny.corpus,
        latency_queries=2,
        teacher=TeacherConfig(),
        lexical_folder=lexical,
    )
    assert 0 < costs["teacher"]["latency_ms"]["p50"] <= costs["teacher"]["latency_ms"]["p95"]
    assert 0 < costs["teacher"]["anonymous_bytes"] < costs["teacher"]["resident_bytes"]


def test_what_is_stated_of_a_teacher_takes_a_new_report_only(finished: Path) -> None:
    made = {stage: read_manifest(finished / stage) for stage in ("teacher", "model", "baselines", "evaluation")}
    config, runs = str(finished.parents[1] / "tiny.yaml"), str(finished.parent)
    assert main(["run", config, "--runs", runs, "--name", "said", "--set", "teacher.trained_on=very much"]) == 0
    said = finished.parent / "said"
    assert "licence: MIT, trained on: very much;" in (said / "report/report.md").read_text()
    assert {stage: read_manifest(said / stage) for stage in made} == made
    assert "trained on: very much" in next(
        sentence
        for sentence in teachers({each.system: each.cost for each in read_results(said, "RR@10", "1", "", "0")})
    )


def test_the_report_says_what_the_labels_are_like(finished: Path) -> None:
    text = (finished / "report/report.md").read_text()
    for system, stage in (("dsi", "model"), ("dual_encoder", "encoder")):
        facts = (read_manifest(finished / stage) or {})["counts"]["labels"]
        assert f"{facts['known']:.1%} of the queries that {system} has learnt from" in text
        assert f"the first for {facts['own_first']:.1%}. Temperature: {facts['temperature']:.3g}.\n" in text


def test_a_run_whose_index_alone_is_taught_is_reported_and_what_starts_from_it_is_marked(finished: Path) -> None:
    config, runs = str(finished.parents[1] / "tiny.yaml"), str(finished.parent)
    command = ["run", config, "--runs", runs, "--set", "baselines.systems=[]", "evaluation.baseline=null"]
    assert main([*command[:4], "--name", "alone", *command[4:]]) == 0
    start = ["training.labels=document", f"model.checkpoint={finished.parent / 'alone/model'}"]
    start += [f"model.{size}=null" for size in ("d_model", "d_kv", "d_ff")]
    assert main([*command[:4], "--name", "started", *command[4:], *start]) == 0
    started = finished.parent / "started"
    assert "dsi (distilled)" in (started / "report/summary.txt").read_text()
    assert f"the teacher BM25 (tantivy), {FACTS}" in (started / "model/README.md").read_text()
    assert main([*command[:4], "--name", "again", *command[4:], *start[1:]]) == 0
    again = (read_manifest(finished.parent / "again/model") or {})["counts"]["distilled"]
    assert again["teacher"] == "BM25 (tantivy)"


def test_quantised_vectors_rank_as_those_they_stand_for(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    vectors = (random.normal(size=(300, 32)) * np.linspace(0.1, 5, 32)).astype(np.float16)
    vectors[:, 3] = 0
    path = bi_encoder.quantise(vectors, tmp_path)
    stands_for = np.load(path) * np.load(tmp_path / bi_encoder.SCALE)
    largest = np.abs(vectors).max(axis=0).astype(np.float32)
    assert (np.abs(stands_for - vectors) <= largest / 254 + 1e-3).all()
