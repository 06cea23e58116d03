"""Sweeps of tiny experiments through the command line."""

import csv
import json
from pathlib import Path

import pytest
from conftest import write_msmarco_folder

from dsi.cli import main
from dsi.config import load_config, read_section
from dsi.report.comparison import Result
from dsi.report.sweep_report import write_sweep
from dsi.reproduce import Experiment, Record, Reproduction, compared, read_records
from dsi.sweep import SweepConfig

SWEEPS = sorted((Path(__file__).parents[1] / "configs/sweeps").glob("*.yaml"))

EXPERIMENT = """
corpus: {{source: msmarco, path: {path}}}
tokenizer: {{vocabulary: 200}}
doc2query: {{known_item: {{queries: 5}}}}
docids: {{clusters: 3, leaf_size: 5}}
model: {{d_model: 16, d_kv: 4, d_ff: 16}}
training: {{steps: 4, batch_size: 16, eval_steps: 2, warmup_steps: 1}}
search: {{latency_queries: 0}}
baselines: {{systems: []}}
"""
SWEEP = """
config: base.yaml
grid:
  corpus.size: [20, 60]
  docids: {atomic: {docids.kind: atomic}, tree: {docids.kind: semantic, model.head: hierarchical_softmax}}
  training.seed: [0, 1]
x: corpus.size
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    write_msmarco_folder(tmp_path / "data")
    (tmp_path / "base.yaml").write_text(EXPERIMENT.format(path=tmp_path / "data"))
    (tmp_path / "grid.yaml").write_text(SWEEP)
    return tmp_path


def test_a_sweep_runs_every_combination_once(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["sweep", str(project / "grid.yaml"), "--runs", str(project / "runs"), "--set", "search.beam=7"]
    assert main(command) == 0
    printed = capsys.readouterr().out
    assert "8 of 8: 60_tree_1" in printed
    lines = (project / "runs/grid/sweep.tsv").read_text().splitlines()
    assert lines[0].split("\t")[:6] == ["corpus.size", "system", "RR@10", "low", "high", "training_seconds"]
    assert sorted({tuple(line.split("\t")[:2]) for line in lines[1:]}) == [
        ("20", "dsi atomic"), ("20", "dsi tree"), ("60", "dsi atomic"), ("60", "dsi tree"),
    ]  # fmt: skip
    assert len(lines) == 1 + 8
    text = (project / "runs/grid/sweep.md").read_text()
    assert "| corpus.size | 20 | 60 |" in text
    for plot in ("sweep", "flops", "training"):
        assert "</svg>" in (project / f"runs/grid/figures/{plot}.svg").read_text()
    assert "</svg>" in (project / "runs/grid/sweep.html").read_text()
    means = list(csv.DictReader((project / "runs/grid/tables/means.csv").open()))
    assert [row["corpus.size"] for row in means] == ["dsi atomic", "dsi tree"]  # that column names the rows
    assert all(float(row["20 smallest"]) <= float(row["20"]) <= float(row["20 largest"]) for row in means)
    compared = text.partition("## corpus.size = 60")[2].splitlines()
    assert [line.split("|")[1].strip() for line in compared if line.startswith("| dsi")] == [
        "dsi atomic", "dsi tree", "dsi atomic", "dsi tree",  # significance, then cost
    ]  # fmt: skip
    assert "against dsi atomic" in text
    store = project / "runs/.store"
    assert len(list(store.glob("corpus-*/manifest.json"))) == 2  # shared between docids and seeds
    assert len(list(store.glob("doc2query-*/manifest.json"))) == 2
    assert len(list(store.glob("model-*/manifest.json"))) == 8
    times = {path: path.stat().st_mtime_ns for path in store.glob("model-*/model.safetensors")}
    assert main(command) == 0
    assert times == {path: path.stat().st_mtime_ns for path in store.glob("model-*/model.safetensors")}


def test_a_baseline_that_depends_on_an_axis_is_named_by_it(tmp_path: Path) -> None:
    results = [
        Result("100", system, label, seed, {"q1": value, "q2": 0.5}, {}, "bm25", system != "dsi")
        for label, expanded in (("few", 0.25), ("many", 1.0))
        for seed, dsi in (("0", 0.2), ("1", 0.4))
        for system, value in (("dsi", dsi), ("bm25", 0.5), ("bm25_doc2query", expanded))
    ]
    write_sweep(tmp_path, "corpus.size", "RR@10", results)
    rows = [line.split("\t")[1:3] for line in (tmp_path / "sweep.tsv").read_text().splitlines()[1:]]
    assert rows == [
        ["dsi few", "0.35"], ["dsi few", "0.45"], ["bm25", "0.5"], ["bm25_doc2query few", "0.375"],
        ["dsi many", "0.35"], ["dsi many", "0.45"], ["bm25_doc2query many", "0.75"],
    ]  # fmt: skip
    text = (tmp_path / "sweep.md").read_text()
    assert "| dsi few | 0.400 (0.350 to 0.450) |" in text
    assert "against bm25" in text


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("x: corpus.size", "x: size", "x: size is not in the grid; it has: corpus.size, docids, training.seed"),
        ("config: base.yaml", "config: nowhere.yaml", "cannot read the configuration"),
        ("corpus.size: [20, 60]", "corpus.sise: [20, 60]", "sise: unknown key; did you mean size"),
        ("grid:", "gird:", "grid: field required"),
    ],
)
def test_mistakes_show_before_anything_is_run(
    project: Path, capsys: pytest.CaptureFixture[str], old: str, new: str, message: str
) -> None:
    sweep = SWEEP.replace(old, new)
    if "sise" in new:
        sweep = sweep.replace("x: corpus.size", "x: corpus.sise")
    (project / "grid.yaml").write_text(sweep)
    assert main(["sweep", str(project / "grid.yaml"), "--runs", str(project / "runs")]) == 2
    assert message in capsys.readouterr().err
    assert not (project / "runs").exists()


@pytest.mark.parametrize("path", SWEEPS, ids=lambda path: path.stem)
def test_sweeps_of_the_project_are_valid(path: Path) -> None:
    sweep = read_section(path, SweepConfig)
    for chosen in sweep.combinations():
        keys = [f"{key}={value}" for _, values in chosen.values() for key, value in values.items()]
        load_config(path.parent / sweep.config, [*sweep.set.items(), "corpus.path=somewhere", *keys])


def test_scores_are_reproduced_or_not(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (project / "scores.yaml").write_text(
        "runs: {one: {config: base.yaml}, two: {config: base.yaml, set: {corpus.path: nowhere}}}"
    )
    command = ["reproduce", str(project / "scores.yaml"), "--runs", str(project / "runs")]

    def verdicts() -> dict[str, str]:
        lines = [line.split() for line in capsys.readouterr().out.splitlines()]
        return {line[1]: line[-1] for line in lines if line and line[0] == "one,"}

    assert main([*command, "--only", "o*"]) == 0
    assert set(verdicts().values()) == {"stored"}  # not stored
    assert not (project / "scores.json").exists()
    assert main([*command, "--record"]) == 0
    printed = capsys.readouterr().out
    assert "not stored" in printed
    assert f"corpus.path: {project / 'nowhere'} does not exist" in printed
    records = read_records(project / "scores.json")
    assert records.keys() == {"one"}
    record = records["one"]["0"]
    metrics = json.loads((project / "runs/scores/one/evaluation/metrics.json").read_text())
    for system, values in metrics["systems"].items():
        stored = record["systems"][system]["RR@10"]
        assert stored["score"] == pytest.approx(values["RR@10"], abs=1e-6)
        assert [stored["low"], stored["high"]] == pytest.approx(metrics["intervals"][system]["RR@10"], abs=1e-6)
    assert main(command) == 0
    assert verdicts() == dict.fromkeys(record["systems"], "same")
    record["systems"]["dsi"]["RR@10"]["score"] += 0.3
    record["systems"]["bm25"] = {"distilled": False, "RR@10": {"score": 0.5, "low": 0.4, "high": 0.6}}
    (project / "scores.json").write_text(json.dumps(records))
    assert main(command) == 2
    output = capsys.readouterr()
    lines = [line.split() for line in output.out.splitlines()]
    assert ["one,", "dsi", "off"] in [[line[0], line[1], line[-1]] for line in lines if len(line) > 5]
    assert ["one,", "bm25", "RR@10", "0", "0.500", "-", "off"] in lines  # that baseline was not asked for
    assert "scores differ from those stored" in output.err
    (project / "scores.json").write_text("{")
    assert main(command) == 2
    assert "holds no stored scores" in capsys.readouterr().err
    assert main([*command, "--record", "--set", "search.beam=9", "training.seed=1"]) == 2
    assert "leave out --set search.beam=9" in capsys.readouterr().err
    assert main([*command, "--only", "three"]) == 2
    assert "has no run like it; it has one, two" in capsys.readouterr().err


def test_verdicts() -> None:
    def record(score: float) -> Record:
        return {"systems": {"dsi": {"distilled": False, "RR@10": {"score": score, "low": 0.0, "high": 1.0}}}}

    wanted = Reproduction(runs={"r": Experiment(config="c")})
    stored = {"0": record(0.5), "1": record(0.53)}
    for seed, value, verdict in (
        ("0", 0.5, "same"),
        ("0", 0.505, "same"),
        ("0", 0.51, "close"),
        ("0", 0.48, "close"),
        ("0", 0.53, "close"),  # as another seed
        ("0", 0.479, "off"),
        ("1", 0.53, "same"),
        ("2", 0.53, "close"),  # of that seed nothing is stored
        ("2", 0.56, "off"),
    ):
        assert compared("r", seed, record(value), stored, wanted)[0][-1] == verdict


@pytest.mark.parametrize("name", ["cpu", "36k"])
def test_the_project_s_scores_are_those_of_its_experiments(name: str) -> None:
    path = Path(__file__).parents[1] / f"configs/reproduce/{name}.yaml"
    runs = read_section(path, Reproduction).runs
    for experiment in runs.values():
        load_config(path.parent / experiment.config, list(experiment.set.items()))
    assert read_records(path.with_suffix(".json")).keys() == runs.keys()
