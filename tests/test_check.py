"""dsi check: what would fail later is found before the work, all of it at once, with the cost of every stage."""

import os
import shutil
from pathlib import Path

import pytest
from conftest import write_msmarco_folder

from dsi import check
from dsi.cli import main
from dsi.config import load_config
from dsi.estimate import Cost, count_documents
from dsi.pipeline import STAGES, Run

TEXT = """
corpus: {source: msmarco, path: corpus}
tokenizer: {vocabulary: 200}
model: {d_model: 16, num_heads: 2, d_kv: 8, d_ff: 16, document_length: 16, query_length: 8}
training: {steps: 2, batch_size: 8, eval_steps: 2, warmup_steps: 1}
doc2query: {known_item: {queries: 2}}
search: {latency_queries: 0}
baselines: {systems: []}
"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    write_msmarco_folder(tmp_path / "corpus")
    (tmp_path / "a.yaml").write_text(TEXT)
    return tmp_path


def faults(capsys: pytest.CaptureFixture[str], *command: str) -> list[str]:
    assert main([*command]) == 2
    printed = capsys.readouterr()
    assert "== " not in printed.out  # nothing was begun
    assert not Path("runs").exists() or not list(Path("runs").glob(".store/*-*"))
    lines = printed.err.splitlines()
    assert all(line.startswith("dsi: error: ") for line in lines)
    return [line.removeprefix("dsi: error: ") for line in lines]


def test_late_failures(project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    (project / "java").mkdir()
    (project / "java/release").write_text('JAVA_VERSION="21.0.1"\n')
    monkeypatch.setenv("JAVA_HOME", str(project / "java"))
    (project / "v.npy").write_text("no vectors")
    keys = [
        "evaluation.measures=[Foo@10, RR@10]",
        "baselines.systems=[bm25]",
        "model.checkpoint=./nowhere",
        "embeddings.kind=file",
        "embeddings.file=v.npy",
        "docids.kind=residual",
        "evaluation.split=validation",
    ]
    (project / "corpus/queries.validation.tsv").write_text("q\twords\n")
    found = faults(capsys, "run", "a.yaml", "--set", *keys)
    assert len(found) == 5
    for part in ("qrels.validation.tsv", "nowhere", "v.npy", "Java", "Foo@10"):
        assert any(part in fault for fault in found), (part, found)
    for command in ("check", "plan"):
        assert faults(capsys, command, "a.yaml", "--set", *keys) == found


def test_a_teacher_that_cannot_teach(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (project / "mine.run").write_text("q1 Q0 d1 1 high me\n")
    for keys, said in (
        (
            ["teacher.kind=run", "teacher.path=mine.run"],
            "mine.run, line 1: the score must be a finite number, found 'high'",
        ),
        (["teacher.kind=run"], "teacher.path is needed with teacher.kind=run"),
        (["teacher.kind=run", "teacher.path=none.run"], "teacher.path: there is no file"),
        (["teacher.kind=bi_encoder", "teacher.model=./nowhere"], "teacher.model"),
        (
            ["training.tasks.d2q=0", "training.tasks.daq=1"],
            "training.labels=teacher needs training.tasks.d2q or labelled",
        ),
    ):
        (fault,) = faults(capsys, "check", "a.yaml", "--set", "training.labels=teacher", *keys)
        assert said in fault


@pytest.mark.parametrize("option", ["-Xbogus", "-Xmx1m -Xmx"])
def test_options_that_java_does_not_know(
    option: str, project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("JAVA_TOOL_OPTIONS", option)
    (fault,) = faults(capsys, "run", "a.yaml", "--set", "baselines.systems=[bm25]")
    assert "does not start" in fault
    assert f"JAVA_TOOL_OPTIONS={option}" in fault


def test_a_corpus_without_queries_is_told_of_before_the_work(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for path in (project / "corpus").glob("q*"):
        path.unlink()
    (fault,) = faults(capsys, "run", "a.yaml")
    assert "the corpus has no queries with judgements" in fault
    assert "make model" in fault
    for command in ("ingest", "tokenize", "expand", "assign", "train"):  # an index alone can be made, and searched
        assert main([command, "a.yaml"]) == 0
    assert main(["query", "runs/a", "some words", "-k", "2"]) == 0


def test_first_lines_are_read(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with (project / "corpus/qrels.dev.tsv").open("a") as file:
        file.write("dev0 0 D0 1\n")
    with (project / "corpus/queries.test.tsv").open("a") as file:
        file.write("no tab\n")
    (fault,) = faults(capsys, "check", "a.yaml")
    assert "qrels.dev.tsv" in fault or "queries.test.tsv" in fault


def test_what_is_built_is_not_checked_again(project: Path) -> None:
    run = Run(load_config("a.yaml"), "a")
    run.run()
    shutil.rmtree(project / "corpus")
    Run(load_config("a.yaml"), "a").check()
    assert Run(load_config("a.yaml"), "a").missing() == []
    assert [stage.name for stage in Run(load_config("a.yaml", ["search.beam=50"]), "a").missing()] == [
        *("search", "evaluation", "report")
    ]
    changed = Run(load_config("a.yaml", ["training.steps=3"]), "a")
    assert [stage.name for stage in changed.missing(["model"])] == ["model"]


def test_the_plan_has_every_stage_with_its_cost(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "a.yaml"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["stage", "time", "memory", "disk"]
    asked = [name for name, stage in STAGES.items() if stage.asked(load_config("a.yaml"))]
    assert [line.split()[0] for line in lines[1 : 1 + len(asked)]] == asked
    assert lines[1 + len(asked)].startswith("together")
    assert "Estimated for 60 documents" in lines[-2] + lines[-1]
    assert main(["ingest", "a.yaml"]) == 0
    capsys.readouterr()
    assert main(["check", "a.yaml", "--documents", "1000000", "--speed", "125e12"]) == 0
    printed = capsys.readouterr().out
    assert printed.splitlines()[1].split() == ["corpus", "built"]
    assert "1,000,000 documents" in printed


def test_room(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    costs = {"corpus": Cost(1.0, 1e9, 1e6), "model": Cost(1.0, 8e9, 5e9)}
    monkeypatch.setattr(check, "total_memory", lambda: 4_000_000_000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: os.terminal_size((0, 0)))
    monkeypatch.setattr(shutil, "disk_usage", lambda _: type("Usage", (), {"free": 1_000_000_000}))
    disk, memory = check.room_faults(costs, project / "runs")
    assert "need some 5.0 GB of disk, and 1.0 GB are free" in disk
    assert memory == "model: it needs some 8.0 GB of memory, and this machine has 4.0 GB"


def test_documents_are_counted_roughly(project: Path) -> None:
    assert count_documents(load_config("a.yaml").corpus) == 60
    assert count_documents(load_config("a.yaml", ["corpus.size=7"]).corpus) == 7
    lines = "".join(f"D{n}\tsome text of a document that is {n} words long\n" for n in range(20_000))
    (project / "corpus/collection.tsv").write_text(lines)
    assert 15_000 < (count_documents(load_config("a.yaml").corpus) or 0) < 25_000


@pytest.mark.parametrize("speed", ["-5", "0", "nan", "1e400"])
def test_speeds_that_there_are_not(speed: str, project: Path) -> None:
    with pytest.raises(SystemExit) as end:
        main(["check", "a.yaml", "--speed", speed])
    assert end.value.code == 2


def test_a_report_that_was_changed_is_not_shown(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "a.yaml"]) == 0
    summary = project / "runs/a/report/summary.txt"
    summary.write_text(summary.read_text().replace("0.", "9."))
    assert main(["run", "a.yaml"]) == 2
    assert "summary.txt: this file is damaged" in capsys.readouterr().err
    summary.unlink()
    assert main(["run", "a.yaml"]) == 2


def test_a_row_of_values_is_no_header(project: Path) -> None:
    path = project / "corpus/qrels.dev.tsv"
    (project / "corpus/queries.dev.tsv").open("a").write("q0\twords\n")
    (project / "corpus/collection.tsv").open("a").write("0\tsome text\n")
    path.write_text("q0\t0\t0\t0\n" + path.read_text())
    assert main(["ingest", "a.yaml"]) == 0
