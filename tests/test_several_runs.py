"""The report of several finished runs: which are compared, how their systems are called, what is refused."""

import csv
import json
import shutil
from pathlib import Path

import pytest
from conftest import write_msmarco_folder
from test_sweep import EXPERIMENT

from dsi.cli import main
from dsi.corpus.store import Document, Qrel, Query, write_rows
from dsi.errors import DsiError
from dsi.report.figures import without_figures
from dsi.report.finished_runs import FinishedRun, comparable, differing
from dsi.report.runs_report import report_runs

DOCUMENTS = [Document("D1", "", "one"), Document("D2", "", "two")]
QUERIES = [Query("q1", "first"), Query("q2", "second")]
QRELS = [Qrel("q1", "D1", 1), Qrel("q2", "D2", 1)]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of three finished runs: `one` and `two` differ in a seed, `small` has fewer documents."""
    root = tmp_path_factory.mktemp("several")
    write_msmarco_folder(root / "data")
    text = EXPERIMENT.format(path=root / "data").replace("systems: []", "systems: [dual_encoder]")
    (root / "base.yaml").write_text(text + "encoder: {steps: 2, batch_size: 16}\n")
    for name, key in (("one", "training.seed=0"), ("two", "training.seed=1"), ("small", "corpus.size=20")):
        command = ["run", str(root / "base.yaml"), "--runs", str(root / "runs"), "--name", name, "--set", key]
        assert main(command) == 0
    return root / "runs"


def rows_of(text: str) -> list[str]:
    """The first cells of the rows of all tables but the first one, in order."""
    lines = [line for table in text.split("\n\n")[2:] if table.startswith("|") for line in table.splitlines()[2:]]
    return [line.split(" | ")[0].removeprefix("| ") for line in lines]


def test_runs_with_the_same_queries_are_compared(
    runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["report", str(runs / "one"), "two", "--runs", str(runs), "-o", str(tmp_path / "out")]) == 0
    text = (tmp_path / "out/report.md").read_text()
    assert without_figures(text) in capsys.readouterr().out
    assert "| one | 60 | 6 | test | atomic | document | 0 |" in text
    assert "training 1" in text
    systems = ["dsi one", "dual_encoder", "dsi two"]  # the encoder is the same one in both
    assert rows_of(text) == [*systems, *systems]  # significance, then cost
    assert "| against dual_encoder |" in text
    assert "not to be compared" not in text
    assert sorted(path.name for path in (tmp_path / "out/tables").glob("*.csv")) == [
        "cost.csv", "runs.csv", "significance.csv",
    ]  # fmt: skip
    assert {path.stem for path in (tmp_path / "out/figures").iterdir()} == {"forest", "recall", "training"}
    assert (tmp_path / "out/report.html").read_text().count("<figure>") == 3
    recalls = list(csv.DictReader((tmp_path / "out/figures/recall.csv").open()))
    metrics = {
        run: json.loads((runs / run / "evaluation/metrics.json").read_text())["systems"] for run in ("one", "two")
    }
    for name, measured in {"dsi one": metrics["one"]["dsi"], "dsi two": metrics["two"]["dsi"]}.items():
        hundredth = next(row for row in recalls[::-1] if row["system"] == name)
        assert float(hundredth["recall"]) == pytest.approx(measured["R@100"])


def test_runs_over_other_documents_are_shown_apart(runs: Path, tmp_path: Path) -> None:
    text = report_runs([runs / "one", runs / "small", runs / "two"], tmp_path / "out")
    assert "- small: other documents than one, two" in text.splitlines()
    together, alone = text.partition("## one, two")[2].split("## small")
    assert "dsi one" in together
    assert "small" not in together
    assert "| dsi | " in alone
    assert "(figures/forest-2.svg" in alone
    assert (tmp_path / "out/tables/significance-2.csv").exists()


def test_the_baseline_is_chosen_by_name(runs: Path, tmp_path: Path) -> None:
    both, out = [runs / "one", runs / "two"], tmp_path / "out"
    assert "| against dsi two |" in report_runs(both, out, "dsi two")
    assert "| against dual_encoder |" in report_runs(both, out, "dual_encoder")
    with pytest.raises(DsiError, match="--baseline dsi: runs differ in it; name one of: dsi one, dsi two"):
        report_runs(both, out, "dsi")
    with pytest.raises(DsiError, match="no run has this system; there are: dsi one, dual_encoder, dsi two"):
        report_runs(both, out, "bm25")


def test_a_folder_with_something_else_is_kept(runs: Path, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/report.md").write_text("mine")
    for folder in (tmp_path / "mine", runs / "small"):
        with pytest.raises(DsiError, match="something else than a report of several runs"):
            report_runs([runs / "one", runs / "two"], folder)
    assert (tmp_path / "mine/report.md").read_text() == "mine"
    (tmp_path / "empty").mkdir()
    for chosen in ([runs / "one", runs / "small"], [runs / "one", runs / "two"]):  # an earlier report is replaced
        report_runs(chosen, tmp_path / "empty")
    assert not (tmp_path / "empty/tables/significance-2.csv").exists()


def test_what_is_no_finished_run_is_refused(runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def refused(*arguments: str) -> str:
        assert main(["report", *arguments, "--runs", str(runs)]) == 2
        return capsys.readouterr().err

    one = str(runs / "one")
    for name, spoil in {
        "unfinished": lambda folder: (folder / "evaluation").unlink(),
        "exported": lambda folder: (folder / "config.json").write_text("{}"),
        "no-run": lambda folder: (folder / "config.yaml").unlink(),
    }.items():
        shutil.copytree(runs / "two", runs / name, symlinks=True)
        spoil(runs / name)
    older = runs / "older/corpus"
    shutil.copytree(runs / "two", older.parent, symlinks=True)
    older.unlink()
    older.mkdir()
    (older / "manifest.json").write_text('{"format": 3}')
    mixed = runs / "mixed/search"
    shutil.copytree(runs / "two", mixed.parent, symlinks=True)
    mixed.unlink()
    mixed.symlink_to((runs / "one/search").resolve())
    assert "not finished, it lacks its evaluation; finish it with `dsi run`" in refused(one, "unfinished")
    assert "a saved index has no answers" in refused(one, str(runs / "exported"))
    assert "no run, for it has no config.yaml" in refused(one, str(runs / "no-run"))
    assert "has format 3" in refused(one, "older")
    assert "its evaluation is not of its search" in refused(one, "mixed")
    assert "there is no such run" in refused(one, "nowhere")
    assert "are the same run; name it once" in refused(one, "one")
    assert "one run has a report of its own" in refused(one)
    assert "--set and --name are for an experiment" in refused(one, "two", "--name", "three")
    assert "-o and --baseline are for a report of several runs" in refused("demo", "--baseline", "bm25")


@pytest.mark.parametrize(
    ("documents", "queries", "qrels", "other"),
    [
        (DOCUMENTS[::-1], QUERIES[::-1], QRELS[::-1], ""),
        (DOCUMENTS, [*QUERIES, Query("q3", "not judged")], QRELS, ""),
        ([*DOCUMENTS, Document("D3", "", "three")], QUERIES, QRELS, "documents"),
        (DOCUMENTS, [Query("q1", "other words"), QUERIES[1]], QRELS, "queries"),
        (DOCUMENTS, QUERIES, [QRELS[0], Qrel("q2", "D1", 1)], "judgements"),
    ],
)
def test_content_decides_what_is_compared(
    tmp_path: Path, documents: list[Document], queries: list[Query], qrels: list[Qrel], other: str
) -> None:
    runs = []
    for name, rows in {"one": (DOCUMENTS, QUERIES, QRELS), "two": (documents, queries, qrels)}.items():
        corpus = tmp_path / name / "corpus"
        corpus.mkdir(parents=True)
        write_rows(corpus / "documents.arrow", Document, rows[0])
        write_rows(corpus / "queries.test.arrow", Query, rows[1])
        write_rows(corpus / "qrels.test.arrow", Qrel, rows[2])
        runs.append(FinishedRun(name, corpus.parent, {}, {"split": "test"}))
    assert differing(*runs) == other
    assert comparable(runs) == ([runs] if not other else [[runs[0]], [runs[1]]])
