"""An index that grows, measured through the command line, against sums written out by hand."""

import json
import shutil
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
from conftest import tiny_documents, write_msmarco_folder
from hypothesis import given, settings
from hypothesis import strategies as st

import dsi
import dsi.grow
from dsi.cli import main
from dsi.config import load_config, read_section
from dsi.corpus.part import write_part
from dsi.corpus.store import Corpus, Document, Qrel, Query, write_rows
from dsi.grow import Experiment, GrowConfig
from dsi.index.index import Index
from dsi.report.grow_report import CONSOLIDATED, NEW, OLD, Facts, Measured, compared, write_growth_report

ROOT = Path(__file__).parents[1]
CONFIGS = [ROOT / "configs/grow.yaml", *sorted((ROOT / "configs/grow").glob("*.yaml"))]
EXPERIMENT = """
corpus: {{source: msmarco, path: {path}}}
tokenizer: {{vocabulary: 200}}
doc2query: {{known_item: {{queries: 5}}}}
docids: {{clusters: 3, leaf_size: 5}}
model: {{d_model: 16, d_kv: 4, d_ff: 16}}
training: {{steps: 4, batch_size: 16, eval_steps: 2, warmup_steps: 1}}
search: {{latency_queries: 0, prior: bm25}}
baselines: {{systems: []}}
"""
GROW = """
config: base.yaml
later: 0.4
batches: 2
steps: 3
delete: 0.1
seeds: [1]
"""
SYSTEMS = ["dsi", "dsi+bm25", "bm25", "retrained", "retrained+bm25"]


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("grow")
    write_msmarco_folder(folder / "data")
    (folder / "base.yaml").write_text(EXPERIMENT.format(path=folder / "data"))
    for name in ("small", "again"):
        (folder / f"{name}.yaml").write_text(GROW)
    return folder


def command(project: Path, name: str) -> list[str]:
    return ["grow", str(project / f"{name}.yaml"), "--runs", str(project / "runs")]


def numbers(project: Path, name: str) -> dict[str, Any]:
    read: dict[str, Any] = json.loads((project / f"runs/grow/{name}/grow.json").read_text())
    return read


@pytest.fixture(scope="module")
def grown(project: Path) -> Path:
    """The project with its index grown, and the folder of the seed."""
    assert main(command(project, "small")) == 0
    (folder,) = (project / "runs/grow/small").glob("seed-1-*")
    return folder


def by_hand(index: Index, corpus: Corpus, there: set[str]) -> dict[str, float]:
    """RR@10 of the test queries whose one relevant document is there."""
    relevant = {qrel.query_id: qrel.doc_id for qrel in corpus.qrels("test")}
    values = {}
    for query in corpus.queries("test"):
        if relevant[query.query_id] in there:
            found = [hit.doc_id for hit in index.search(query.text, k=60) if hit.doc_id in there][:10]
            place = found.index(relevant[query.query_id]) + 1 if relevant[query.query_id] in found else 0
            values[query.query_id] = 1 / place if place else 0.0
    return values


def test_the_numbers_are_those_of_the_searches(project: Path, grown: Path, tmp_path: Path) -> None:
    steps = numbers(project, "small")["seeds"]["1"]
    assert [each["step"] for each in steps] == ["before", "added 1 of 2", "added 2 of 2", "consolidated", "deleted"]
    assert [each["documents"] for each in steps] == [36, 48, 60, 60, 54]
    assert [list(each["systems"]) for each in steps] == [SYSTEMS] * 5
    corpus, whole = Corpus(project / "runs/grow/small/all/corpus"), project / "runs/grow/small/all"
    old = {json.loads(line)["_id"] for line in (grown / "corpus/corpus.jsonl").read_text().splitlines()}
    assert len(old) == 36
    relevant = {qrel.query_id: qrel.doc_id for qrel in corpus.qrels("test")}
    copy = Path(shutil.copytree(grown / "index", tmp_path / "index"))
    mixed, alone = dsi.load(copy), dsi.load(copy, prior="none")
    first: dict[str, dict[str, float]] = {}
    for number, step in reversed([*enumerate(steps)]):
        mixed.restore(number)
        assert alone.refresh()
        there = set(mixed.documents)
        assert len(there) == step["documents"]
        values = {
            "dsi": by_hand(alone, corpus, there),
            "dsi+bm25": by_hand(mixed, corpus, there),
            "bm25": by_hand(dsi.load(copy, prior_weight=1e6), corpus, there),
            "retrained": by_hand(dsi.load(whole, prior="none"), corpus, there),  # others are left out by hand
            "retrained+bm25": by_hand(dsi.load(whole), corpus, there),
        }
        for system, of_query in values.items():
            for group, is_in in (("old", True), ("new", False)):
                chosen = [value for query, value in of_query.items() if (relevant[query] in old) == is_in]
                assert step["queries"][group] == len(chosen)
                assert step["systems"][system][group] == (pytest.approx(np.mean(chosen)) if chosen else None)
            assert step["systems"][system]["all"] == pytest.approx(np.mean([*of_query.values()]))
        first = values
    for step in steps:  # `first` is now of the step before
        there_now = {query for query, doc_id in relevant.items() if doc_id in old}
        if step["step"] != "deleted":
            for system in SYSTEMS:
                then = np.mean([first[system][query] for query in there_now])
                assert step["systems"][system]["forgetting"] == pytest.approx(then - step["systems"][system]["old"])


def test_the_report_says_what_was_measured(project: Path, grown: Path) -> None:
    text, found = (project / "runs/grow/small/grow.md").read_text(), numbers(project, "small")
    assert "24 of 60 documents come later, 6 of all are deleted in the end" in text
    assert "1 seed chooses at random which (1). RR@10 of split test, over the queries" in text
    assert "in 4 steps as the growing one in 4" in text
    for system in SYSTEMS:
        table = text.partition(f"\n## {system}\n")[2].partition("\n## ")[0]
        last = table.strip().splitlines()[-1].split("|")
        mean = found["seeds"]["1"][-1]["systems"][system]["all"]
        assert [cell.strip() for cell in last[1:3]] == ["deleted", "54"]
        assert last[5].strip() == f"{mean:.3f}"
    assert "| consolidated | 24 |" in text
    assert (project / "runs/grow/small/tables/time.csv").exists()


def test_interrupted_it_goes_on_to_the_same_numbers(
    project: Path, grown: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    added, measured, calls = Index.add, dsi.grow._measure, list[str]()

    def add(*arguments: Any, **options: Any) -> Any:
        calls.append("add")
        if len(calls) == 2:
            raise KeyboardInterrupt
        return added(*arguments, **options)

    def measure(step: Any, *arguments: Any) -> Any:
        if step.name == CONSOLIDATED and "measured" not in calls:
            calls.append("measured")
            raise KeyboardInterrupt
        return measured(step, *arguments)

    monkeypatch.setattr(Index, "add", add)
    monkeypatch.setattr(dsi.grow, "_measure", measure)
    assert main(command(project, "again")) == 130
    assert main(command(project, "again")) == 130  # the index is consolidated, and not asked yet
    assert calls == ["add", "add", "add", "measured"]
    models = {path: path.stat().st_mtime_ns for path in (project / "runs/.store").glob("model-*/model.safetensors")}
    assert len(models) == 2  # of all documents, and of those from the start, shared with the other file
    assert main(command(project, "again")) == 0
    assert models == {path: path.stat().st_mtime_ns for path in models}

    def untimed(steps: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return [{key: value for key, value in each.items() if key != "seconds"} for each in steps]

    ours, others = (numbers(project, name) for name in ("again", "small"))
    assert untimed(ours["seeds"]["1"]) == untimed(others["seeds"]["1"])
    assert ours["consolidated_less_retrained"] == others["consolidated_less_retrained"]
    (missing,) = (project / "runs/grow/again").glob("seed-1-*/measured/01.json")
    missing.unlink()
    capsys.readouterr()
    assert main(command(project, "again")) == 2
    assert f"{missing}: it is missing, and the index is at generation 4" in capsys.readouterr().err


def test_a_tree_goes_on_from_a_backbone_of_the_same_documents(project: Path, grown: Path) -> None:
    keys = "docids.kind: semantic, model.head: hierarchical_softmax, search.prior: none"
    grow = GROW.replace("config: base.yaml", f"config: base.yaml\nset: {{{keys}}}\nbackbone: base.yaml")
    (project / "tree.yaml").write_text(grow.replace("delete: 0.1", "delete: 0"))
    assert main([*command(project, "tree"), "--set", "search.beam=7"]) == 0
    steps = numbers(project, "tree")["seeds"]["1"]
    assert [each["step"] for each in steps] == ["before", "added 1 of 2", "added 2 of 2", "consolidated"]
    assert list(steps[0]["systems"]) == ["dsi", "retrained"]
    (before,) = (project / "runs/grow/tree").glob("seed-1-*/before")
    for run in (project / "runs/grow/tree/all", before):
        backbone = run.with_name(f"{run.name}-backbone")
        assert load_config(run / "config.yaml").model.checkpoint == str(backbone / "model")
        assert load_config(backbone / "config.yaml").docids.kind == "atomic"
        assert not (backbone / "search").exists(), "its model is all that is needed"
        assert load_config(backbone / "config.yaml").search.beam == load_config(run / "config.yaml").search.beam == 7
        assert len(Corpus(backbone / "corpus")) == len(Corpus(run / "corpus")) == (60 if run.name == "all" else 36)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("later:", "latter:", "latter: unknown key; did you mean later?"),
        ("config: base.yaml", "config: nowhere.yaml", "cannot read the configuration"),
        ("later: 0.4", "later: 10.5", "later: expected a number of documents, or a share of them below 1, found 10.5"),
        ("later: 0.4", "later: 1", "later: 1 documents cannot come in 2 batches"),
        ("later: 0.4", "later: 0", "later: input should be greater than 0"),
        ("delete: 0.1", "delete: 1", "delete: input should be less than 1"),
        ("seeds: [1]", "seeds: [1, 1]", "seeds: one of [1, 1] is given twice"),
        ("seeds: [1]", "seeds: []", "seeds: "),
        ("later: 0.4", "later: 0.4\nset: {docids.knid: naive}", "knid: unknown key; did you mean kind?"),
        ("later: 0.4", "later: 0.4\nbackbone: nowhere.yaml", "cannot read the configuration"),
    ],
)
def test_mistakes_show_before_anything_is_run(
    project: Path, capsys: pytest.CaptureFixture[str], old: str, new: str, message: str
) -> None:
    (project / "wrong.yaml").write_text(GROW.replace(old, new))
    assert main(["grow", str(project / "wrong.yaml"), "--runs", str(project / "wrong")]) == 2
    assert message in capsys.readouterr().err
    assert not (project / "wrong").exists()


def test_choices_that_leave_nothing_are_refused(project: Path, grown: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for later, message in (("60", "later: 60 of 60 documents"), ("0.01", "later: 0.01 of 60 documents")):
        (project / "wrong.yaml").write_text(GROW.replace("later: 0.4", f"later: {later}"))
        assert main(command(project, "wrong")) == 2
        assert message in capsys.readouterr().err


def test_it_is_not_for_a_launcher(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert main(command(project, "small")) == 2
    assert "dsi grow works in one process" in capsys.readouterr().err


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_those_of_the_project_are_valid(path: Path) -> None:
    config = read_section(path, GrowConfig)
    experiment = Experiment.of(config, [] if path.stem == "grow" else ["corpus.path=somewhere"], Path("runs"))
    assert (experiment.backbone is not None) == (experiment.config.model.checkpoint is not None)
    if experiment.backbone is not None:
        assert experiment.backbone.corpus == experiment.config.corpus


@settings(max_examples=25)
@given(
    st.sets(st.integers(0, 9)), st.lists(st.tuples(st.integers(0, 4), st.integers(0, 9), st.integers(0, 2)), min_size=1)
)
def test_a_part_has_the_queries_that_it_answers(chosen: set[int], judged: list[tuple[int, int, int]]) -> None:
    documents = tiny_documents(10)
    grades = {(f"q{query}", documents[number].doc_id): grade for query, number, grade in judged}
    with TemporaryDirectory() as temporary:
        whole, part = Path(temporary, "whole"), Path(temporary, "part")
        whole.mkdir()
        part.mkdir()
        write_rows(whole / "documents.arrow", Document, documents)
        write_rows(whole / "queries.dev.arrow", Query, (Query(f"q{number}", "words") for number in range(5)))
        qrels = [Qrel(*ids, grade) for ids, grade in grades.items()]
        write_rows(whole / "qrels.dev.arrow", Qrel, qrels)
        corpus = write_part(part, Corpus(whole), chosen)
        ids = [document.doc_id for number, document in enumerate(documents) if number in chosen]
        assert [document.doc_id for document in corpus] == ids
        wanted = []
        for query in (f"q{number}" for number in range(5)):
            relevant = [qrel.doc_id for qrel in qrels if qrel.query_id == query and qrel.relevance > 0]
            wanted += [query] if relevant and all(doc_id in ids for doc_id in relevant) else []
        assert corpus.splits == (["dev"] if wanted else [])
        if wanted:
            assert [query.query_id for query in corpus.queries("dev")] == wanted
            assert corpus.qrels("dev") == [qrel for qrel in qrels if qrel.query_id in wanted and qrel.doc_id in ids]


def test_a_query_counts_once_over_the_seeds(tmp_path: Path) -> None:
    def measured(step: str, new: list[str], dsi: dict[str, float], retrained: dict[str, float]) -> Measured:
        return Measured(step, 3, 1, 0.5, new, {"dsi": dsi, "retrained": retrained})

    one, two = {"q1": 1.0, "q2": 0.5, "q3": 0.25}, {"q1": 0.5, "q2": 0.5, "q3": 0.5}
    seeds = {
        0: [measured("before", [], one, two), measured(CONSOLIDATED, ["q2", "q3"], one, two)],
        1: [measured("before", [], two, one), measured(CONSOLIDATED, ["q3"], two, one)],
    }
    found = compared(seeds)
    assert list(found) == [("dsi", OLD), ("dsi", NEW)]
    old, new = found.values()
    assert old["queries"] == 2  # q1 of both seeds, q2 of the second
    assert old["difference"] == pytest.approx(np.mean([np.mean([0.5, -0.5]), 0.0]))
    assert old["by_seed"] == {"0": pytest.approx(0.5), "1": pytest.approx(-0.25)}
    assert new["queries"] == 2  # q2 of the first, q3 of both
    assert new["difference"] == pytest.approx(np.mean([0.0, np.mean([-0.25, 0.25])]))
    assert new["by_seed"] == {"0": pytest.approx(-0.125), "1": pytest.approx(0.25)}
    facts = Facts("RR@10", "test", 3, 1, (4, 4), 2.0, 3.0)
    text = write_growth_report(tmp_path, facts, seeds)
    assert "| consolidated | 3 | 0.750 (0.500 to 1.000) | 0.438 (0.375 to 0.500) |" in text
    assert "| dsi, old | 2 | +0.000 (+0.000 to +0.000) | -0.250 | +0.500 | 1.0000 | 1.0000 | 1.0000 |" in text
    assert "| retrained: training | 3 | 2.0 s | - |" in text
    assert "0 of all are deleted" in text
    assert "2 seeds choose at random which (0, 1). RR@10 of split test, means over the seeds" in text
