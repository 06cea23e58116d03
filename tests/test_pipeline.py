"""The real command line, end to end on a tiny corpus: reuse, overrides, kill and resume, the answers a user sees."""

import json
import shutil
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import ir_measures
import pytest
import torch
import yaml
from conftest import DOCUMENTS, ON_CPU, kill_when, tiny_documents, write_msmarco_folder
from safetensors import SafetensorError
from safetensors.torch import load_file

import dsi
from dsi.artifacts import read_manifest
from dsi.cli import main
from dsi.errors import DsiError
from dsi.pipeline import STAGES
from dsi.training.trainer import DocidTrainer

DSI = [sys.executable, "-m", "dsi"]
CONFIG = """
corpus: {{source: msmarco, path: {path}}}
tokenizer: {{vocabulary: 300}}
doc2query: {{known_item: {{queries: 60}}, shard_size: 10}}
model: {{d_model: 64, d_kv: 16, d_ff: 64}}
training: {{steps: 240, batch_size: 64, eval_steps: 80, warmup_steps: 5}}
search: {{latency_queries: 0}}
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a configuration and a finished run of it."""
    root = tmp_path_factory.mktemp("project")
    write_msmarco_folder(root / "data")
    (root / "tiny.yaml").write_text(CONFIG.format(path=root / "data"))
    assert main(["run", str(root / "tiny.yaml"), "--runs", str(root / "runs")]) == 0
    return root


def run(project: Path, command: str, *options: str) -> int:
    return main([command, str(project / "tiny.yaml"), "--runs", str(project / "runs"), *options])


def folders(project: Path, name: str) -> dict[str, str]:
    """Name of the stored folder that each stage of a run uses."""
    return {stage: (project / "runs" / name / stage).resolve().name for stage in STAGES}


def metrics(project: Path, name: str) -> dict[str, dict[str, float]]:
    systems: dict[str, dict[str, float]] = json.loads(
        (project / "runs" / name / "evaluation" / "metrics.json").read_text()
    )["systems"]
    return systems


def check_run_file(path: Path, results: int) -> None:
    known = {document.doc_id for document in tiny_documents()}
    queries: dict[str, list[ir_measures.ScoredDoc]] = {}
    for scored in ir_measures.read_trec_run(str(path)):
        queries.setdefault(scored.query_id, []).append(scored)
    assert len(queries) == 6
    for scores in queries.values():
        assert len({scored.doc_id for scored in scores} & known) == len(scores) == results
        assert all(first.score > second.score for first, second in pairwise(scores))


def test_a_run_learns_and_reports(project: Path) -> None:
    systems = metrics(project, "tiny")
    assert systems["dsi"]["RR@10"] > 0.5  # chance is 0.05
    assert systems["bm25"]["RR@10"] > 0.9
    check_run_file(project / "runs/tiny/search/dsi.run", results=DOCUMENTS)  # the beam of 100 is larger than the corpus
    assert "RR@10" in (project / "runs/tiny/report/report.md").read_text()
    curve = (project / "runs/tiny/model/dev_curve.tsv").read_text().splitlines()
    steps = [line.split("\t")[0] for line in curve]
    assert steps == ["step", "0", "80", "160", "240", "240"]  # before training, then thrice, then with states added


def test_nothing_is_done_twice(project: Path) -> None:
    times = {path: path.stat().st_mtime_ns for path in (project / "runs/.store").glob("*/[!m]*")}
    plans = {path: path.stat().st_mtime_ns for path in (project / "runs/tiny/plan").glob("*")}
    assert run(project, "run") == run(project, "plan") == 0
    assert times == {path: path.stat().st_mtime_ns for path in (project / "runs/.store").glob("*/[!m]*")}
    assert all(path.stat().st_mtime_ns == changed for path, changed in plans.items())


@pytest.mark.parametrize("kind", ["naive", "semantic"])
def test_another_docid_kind_shares_the_earlier_stages(project: Path, kind: str) -> None:
    options = (f"docids.kind={kind}", "docids.leaf_size=5", "docids.clusters=3", "training.steps=5", "search.beam=20")
    assert run(project, "run", "--name", kind, "--set", *options) == 0
    ours, theirs = folders(project, kind), folders(project, "tiny")
    assert {stage for stage in STAGES if ours[stage] == theirs[stage]} == {
        "corpus",
        "tokenizer",
        "lexical",
        "lexical_doc2query",
        "teacher",
        "prior",
        "generator",
        "encoder",
        "doc2query",
        "baselines",
        *({"embeddings"} if kind == "naive" else {}),
    }
    check_run_file(project / "runs" / kind / "search/dsi.run", results=20)


def test_kinds_of_docids_share_their_embeddings_and_rankings_their_model(project: Path) -> None:
    small = ["docids.leaf_size=5", "docids.clusters=3", "docids.levels=2", "docids.codebook=4", "training.steps=2"]
    small += ["training.rounds=1", "baselines.systems=[]"]
    stored = {}
    for name, keys in {
        "one": ["docids.kind=semantic", "model.head=hierarchical_softmax"],
        "two": ["docids.kind=semantic_2d"],
        "three": ["docids.kind=residual"],
        "leaf": ["docids.kind=semantic", "model.head=hierarchical_softmax", "search.ranking=leaf"],
    }.items():
        assert run(project, "run", "--name", name, "--set", *small, *keys) == 0
        stored[name] = folders(project, name)
    assert len({of_run["embeddings"] for of_run in stored.values()}) == 1
    assert len({of_run["docids"] for of_run in stored.values()}) == 3
    assert len(list((project / "runs/.store").glob("embeddings-*/vectors.npy"))) <= 2  # and that of another test
    differ = {stage for stage in STAGES if stored["one"][stage] != stored["leaf"][stage]}
    assert differ == {"search", "evaluation", "report"}
    path, leaf = (dsi.load(project / "runs" / name) for name in ("one", "leaf"))
    assert (path.config.ranking, leaf.config.ranking) == ("path", "leaf")
    text = tiny_documents()[7].text
    as_leaf = dsi.load(project / "runs/one", ranking="leaf").search([text])
    assert as_leaf == leaf.search([text]) != path.search([text])
    with pytest.raises(
        DsiError, match=r"search\.constrained must be true; the head of .*/model is hierarchical_softmax"
    ):
        dsi.load(project / "runs/one", constrained=False)
    stages = (project / "runs/one/report/report.md").read_text()
    assert all(f"\n| {stage} | " in stages for stage in ("tokenizer", "embeddings", "docids", "model"))


def test_latency_and_memory_are_measured_in_a_process_of_their_own(project: Path) -> None:
    assert run(project, "run", "--name", "measured", "--set", "search.latency_queries=2") == 0
    search, baselines = (read_manifest(project / "runs/measured" / stage) for stage in ("search", "baselines"))
    assert search is not None
    assert baselines is not None
    for cost in (search["counts"]["systems"]["dsi"], baselines["counts"]["bm25"]):
        assert 0 < cost["latency_ms"]["p50"] <= cost["latency_ms"]["p95"]
        assert 50e6 < cost["anonymous_bytes"] < cost["resident_bytes"] < 5e9
    lines = (project / "runs/measured/search/dsi.latency.tsv").read_text().splitlines()
    assert [line.split("\t")[0] for line in lines] == ["query_id", "test0", "test1"]
    assert not (project / "runs/measured/search/work").exists()


def test_search_overrides_repeat_search_only(project: Path) -> None:
    before = folders(project, "tiny")
    assert run(project, "run", "--set", "search.beam=20") == 0
    after = folders(project, "tiny")
    assert {stage for stage in STAGES if before[stage] != after[stage]} == {"search", "evaluation", "report"}
    check_run_file(project / "runs/tiny/search/dsi.run", results=20)
    assert run(project, "run") == 0
    assert folders(project, "tiny") == before


def test_a_stage_needs_the_ones_it_reads(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(project, "search", "--name", "empty", "--set", "training.seed=9") == 2
    assert "stage model is not built; run `dsi train`" in capsys.readouterr().err


def test_a_missing_evaluation_split_fails_before_training(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for split in ("test", "dev"):
        (project / "data" / f"queries.{split}.tsv").rename(project / "data" / f"hidden.queries.{split}")
        (project / "data" / f"qrels.{split}.tsv").rename(project / "data" / f"hidden.qrels.{split}")
    try:
        assert run(project, "run", "--name", "nosplit") == 2
    finally:
        for path in (project / "data").glob("hidden.*"):
            path.rename(path.with_name(path.name.removeprefix("hidden.") + ".tsv"))
    error = capsys.readouterr().err
    assert "evaluation.split" in error
    assert len(error.splitlines()) == 1
    assert not (project / "runs/nosplit/model").exists()


def test_query_command_and_python_api_agree(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = " ".join(tiny_documents()[7].text.split()[:4])
    hits = dsi.load(project / "runs/tiny").search([text], k=3)[0]
    assert [hit.rank for hit in hits] == [1, 2, 3]
    assert main(["query", str(project / "runs/tiny"), text, "-k", "3"]) == 0
    printed = capsys.readouterr().out
    assert all(f"{hit.score:8.3f}  {hit.doc_id}" in printed for hit in hits)
    assert hits[0].snippet()[:40] in printed
    assert main(["query", str(project / "runs"), text]) == 2
    assert "is" in capsys.readouterr().err


def test_an_exported_index_needs_no_run(project: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = " ".join(tiny_documents()[7].text.split()[:4])
    assert run(project, "plan", "--set", "search.beam=7", "search.precision=int8") == 0
    assert main(["export", str(project / "runs/tiny"), str(tmp_path / "index")]) == 0
    assert run(project, "plan") == 0
    exported = dsi.load(tmp_path / "index").config
    assert (exported.beam, exported.precision) == (7, "int8")
    assert dsi.load(tmp_path / "index", beam=9).config.beam == 9
    wrong: list[tuple[dict[str, Any], str]] = [
        ({"beem": 3}, "search.beem: unknown key; did you mean beam"),
        ({"beam": 0}, "search.beam: "),
    ]
    for key, said in wrong:
        with pytest.raises(DsiError, match=said):
            dsi.load(tmp_path / "index", **key)
    with pytest.raises(DsiError, match=r"search\.ranking=leaf needs model\.head=hierarchical_softmax"):
        dsi.load(tmp_path / "index", ranking="leaf")
    with pytest.raises(DsiError, match=r"^search\.exact follows docids that exist"):  # the file is not to blame
        dsi.load(tmp_path / "index", exact=True, constrained=False)
    assert main(["export", str(project / "runs/tiny"), str(tmp_path / "second")]) == 0
    assert not [path for path in (tmp_path / "index").rglob("*") if path.is_symlink()]
    assert dsi.load(tmp_path / "second").search([text]) == dsi.load(project / "runs/tiny").search([text])
    assert main(["export", str(project / "runs/tiny"), str(tmp_path / "index")]) == 2
    assert "exists already" in capsys.readouterr().err


def test_the_model_comes_with_a_card_and_a_record(project: Path) -> None:
    model = project / "runs/tiny/model"
    card = (model / "README.md").read_text()
    front = yaml.safe_load(card.split("---")[1])
    [result] = front["model-index"][0]["results"]
    best = max(float(line.split("\t")[-1]) for line in (model / "dev_curve.tsv").read_text().splitlines()[1:])
    assert result["metrics"] == [{"type": "RR@10", "value": pytest.approx(best, abs=1e-4)}]
    assert "identifiers of 60 documents (msmarco), atomic docids" in card
    recipe = yaml.safe_load(card.split("```yaml")[1].split("```")[0])
    assert recipe["training"]["steps"] == 240
    header, *rows = (model / "training.tsv").read_text().splitlines()
    record = [dict(zip(header.split("\t"), map(float, row.split("\t")), strict=True)) for row in rows]
    assert [point["step"] for point in record] == list(range(10, 241, 10))
    assert record[-1]["loss"] < record[0]["loss"]
    assert all(0 < point["share_of_bound"] < 2 for point in record)
    assert all(point["tokens_per_second"] > point["examples_per_second"] for point in record)


def test_query_reads_lines_until_the_end_of_input(project: Path) -> None:
    command = [*DSI, "query", str(project / "runs/tiny"), "-k", "1"]
    done = subprocess.run(command, input="bado gemi\n\nkulo\n", capture_output=True, text=True, check=True)
    lines = [line for line in done.stdout.splitlines() if line.startswith(("== ", "  1  "))]
    assert [line[:5] for line in lines] == ["== ba", "  1  ", "== ku", "  1  "]


def test_training_killed_goes_on_from_its_checkpoint(project: Path) -> None:
    config, runs = str(project / "tiny.yaml"), str(project / "runs")
    options = ["--runs", runs, "--set", "training.rounds=2", "training.steps=200", "training.eval_steps=25"]
    kill_when(
        [*DSI, "train", config, "--name", "killed", *options],
        project / "runs/.store",
        "model-*.partial/work/checkpoints-1/*/trainer_state.json",
    )
    [partial] = (project / "runs/.store").glob("model-*.partial")
    assert main(["run", config, "--name", "killed", *options]) == 0
    assert not partial.exists()
    assert main(["run", config, "--name", "whole", "--runs", str(project / "other"), *options[2:]]) == 0
    curves = [
        [(float(step), float(rr)) for step, _, _, _, rr in (line.split("\t") for line in lines[1:])]
        for lines in (
            (root / "model/dev_curve.tsv").read_text().splitlines()
            for root in (project / "runs/killed", project / "other/whole")
        )
    ]
    steps = [25.0 * number for number in range(1, 17)]
    assert [step for step, _ in curves[0]] == [0.0, *steps[:8], 200.0, *steps[8:], 400.0]
    assert curves[0] == curves[1]  # the same batches and the same dev measure, as if nothing had happened
    killed, whole = (read_manifest(root / "model") for root in (project / "runs/killed", project / "other/whole"))
    assert killed is not None
    assert whole is not None
    assert killed["counts"]["training_flops"] == whole["counts"]["training_flops"] > 0
    assert (
        metrics(project, "killed")["dsi"]
        == json.loads((project / "other/whole/evaluation/metrics.json").read_text())["systems"]["dsi"]
    )


def test_output_rows_go_on_after_a_kill_as_if_nothing_had_happened(project: Path) -> None:
    keys = ["softmax=sampled", "row_precision=bfloat16", "row_optimizer=adagrad", "uniform_negatives=20"]
    keys += ["steps=200", "eval_steps=25"]
    options = ["--runs", str(project / "runs"), "--set", *(f"training.{key}" for key in keys)]
    command = ["train", str(project / "tiny.yaml"), "--name", "killed", *options]
    partial = "model-*.partial/work/checkpoints-0/checkpoint-50/trainer_state.json"
    kill_when([*DSI, *command], project / "runs/.store", partial, ON_CPU)  # threads add up in another order
    assert main(command) == 0
    for verb in ("ingest", "tokenize", "expand", "assign", "train"):
        assert main([verb, command[1], "--name", "whole", "--runs", str(project / "other"), *options[2:]]) == 0
    folders = (project / "runs/killed/model", project / "other/whole/model")
    killed, whole = (load_file(folder / "model.safetensors") for folder in folders)
    assert killed.keys() == whole.keys()
    assert all(torch.equal(killed[name], whole[name]) for name in killed)
    assert whole["docid_head.weight"].dtype == torch.bfloat16


def test_expansion_killed_gives_the_same_shards(project: Path) -> None:
    config, runs = str(project / "tiny.yaml"), str(project / "runs")
    options = ["--runs", runs, "--set", "doc2query.shard_size=1", "doc2query.known_item.queries=2000"]
    kill_when(
        [*DSI, "expand", config, "--name", "killed", *options],
        project / "runs/.store",
        "doc2query-*.partial/shard-00005.parquet",
    )
    assert main(["expand", config, "--name", "killed", *options]) == 0
    for command in ("ingest", "expand"):
        assert main([command, config, "--name", "whole", "--runs", str(project / "other"), *options[2:]]) == 0
    shards = sorted((project / "runs/killed/doc2query").glob("shard-*"))
    assert len(shards) == DOCUMENTS
    for shard in shards:
        assert shard.read_bytes() == (project / "other/whole/doc2query" / shard.name).read_bytes()


def test_a_full_disk_is_said_and_loses_nothing(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(*_: object, **__: object) -> None:
        raise SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")

    options = ("--name", "full", "--set", "training.steps=6", "training.eval_steps=3", "training.seed=3")
    with monkeypatch.context() as patch:
        patch.setattr("transformers.modeling_utils.safe_save_file", full)
        assert run(project, "run", *options) == 2
    assert "the disk is full; what is finished is kept" in capsys.readouterr().err
    assert (project / "runs/full/docids/manifest.json").exists()
    assert not (project / "runs/full/model").exists()
    assert run(project, "run", *options) == 0


def test_a_deleted_best_checkpoint_is_an_error(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ("--name", "gone", "--set", "training.steps=6", "training.eval_steps=3", "training.seed=4")
    load = DocidTrainer._load_best_model

    def delete_first(trainer: DocidTrainer) -> None:
        shutil.rmtree(trainer.state.best_model_checkpoint)
        load(trainer)

    with monkeypatch.context() as patch:
        patch.setattr(DocidTrainer, "_load_best_model", delete_first)
        assert run(project, "train", *options) == 2
    error = capsys.readouterr().err
    assert "the best checkpoint, " in error
    shutil.rmtree(error.split(" is gone; remove ")[1].split(" to train again")[0])
    assert run(project, "train", *options) == 0
