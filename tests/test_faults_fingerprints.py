"""Faults of the kind "file systems": content, not names or times, says what has changed."""

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from conftest import write_msmarco_folder

from dsi.artifacts import FORMAT, link, read_manifest
from dsi.config import load_config
from dsi.pipeline import STAGES, Run
from dsi.runtime import contents
from dsi.runtime.contents import Contents

TEXT = """
corpus: {source: msmarco, path: corpus}
generator: {checkpoint: null, steps: 2, extra: [extra]}
doc2query: {known_item: {queries: 0}, t5: {queries: 1}}
embeddings: {kind: file, file: v.npy}
docids: {kind: residual}
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    write_msmarco_folder(tmp_path / "corpus")
    (tmp_path / "extra/qrels").mkdir(parents=True)
    (tmp_path / "extra/corpus.jsonl").write_text('{"_id": "x", "text": "one"}\n')
    (tmp_path / "extra/queries.jsonl").write_text('{"_id": "q", "text": "one"}\n')
    (tmp_path / "extra/qrels/train.tsv").write_text("query-id\tcorpus-id\tscore\nq\tx\t1\n")
    np.save(tmp_path / "v.npy", np.ones((60, 2), dtype="f4"))
    (tmp_path / "a.yaml").write_text(TEXT)
    return tmp_path


def prints(project: Path, *overrides: str) -> dict[str, str]:
    run = Run(load_config(project / "a.yaml", overrides), "a", project / "runs")
    return {name: run.fingerprint(stage) for name, stage in STAGES.items()}


def test_changed_files(project: Path) -> None:
    before = prints(project)
    for path in project.rglob("*"):
        if path.is_file():
            os.utime(path, (1, 1))
    assert prints(project) == before
    with (project / "extra/qrels/train.tsv").open("a") as file:
        file.write("q\ty\t0\n")
    after = prints(project)
    assert {name for name in before if before[name] != after[name]} == {
        *("generator", "doc2query", "model", "search", "evaluation", "report")
    }
    vectors = np.load(project / "v.npy")
    vectors[3] = 2
    np.save(project / "v.npy", vectors)
    os.utime(project / "v.npy", (1, 1))  # the same size and time
    changed = prints(project)
    assert changed["corpus"] == after["corpus"]
    assert changed["embeddings"] != after["embeddings"]


def test_corpus_folder_moved(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = prints(project)
    monkeypatch.chdir(project)
    assert prints(project, f"corpus.path={project}/corpus") == before
    assert prints(project, "corpus.path=./corpus/") == before
    shutil.copytree(project / "corpus", project / "copy")
    (project / "copy/notes.tsv").write_text("not read\n")
    assert prints(project, "corpus.path=copy") == before
    (project / "copy/collection.tsv").open("a").write("D9\tone more\n")
    assert prints(project, "corpus.path=copy") != before


def test_what_is_built_goes_on_without_its_source(project: Path) -> None:
    def run() -> Run:
        return Run(load_config(project / "a.yaml"), "a", project / "runs")

    run().plan()
    run().build(STAGES["corpus"])
    before = prints(project)
    (project / "corpus").rename(project / "elsewhere")
    assert prints(project)["corpus"] == before["corpus"]
    run().plan()
    run().build(STAGES["corpus"])  # and is not built again


def test_a_run_of_another_format_is_made_again(project: Path) -> None:
    def run() -> Run:
        return Run(load_config(project / "a.yaml"), "a", project / "runs")

    run().plan()
    run().build(STAGES["corpus"])
    manifest = project / "runs/a/corpus/manifest.json"
    manifest.write_text(manifest.read_text().replace(f'"format": {FORMAT}', '"format": 3'))
    (project / "runs/a/corpus").resolve().rename(project / "runs/.store/corpus-older")
    link(project / "runs/.store/corpus-older", project / "runs/a/corpus")
    run().plan()
    run().build(STAGES["corpus"])
    assert read_manifest(project / "runs/a/corpus") is not None


def test_hashes_are_remembered_by_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file, memory = tmp_path / "a", tmp_path / "memory/contents.json"
    file.write_text("one")
    monkeypatch.setattr(contents, "RACY_SECONDS", -1)
    first = Contents(memory).of(file)
    assert memory.exists()
    monkeypatch.setattr(contents.hashlib, "file_digest", lambda *_: pytest.fail("was read again"))
    assert Contents(memory).of(file) == first
    monkeypatch.undo()
    file.write_text("two")
    assert Contents(memory).of(file) != first
    memory.write_text('{"cut')  # by a power failure
    assert Contents(memory).of(file) != first
    assert Contents(tmp_path / "a" / "no-folder.json").of(file) == Contents(memory).of(file)


def test_a_file_just_changed_is_read_again(tmp_path: Path) -> None:
    file, memory = tmp_path / "a", Contents(tmp_path / "contents.json")
    file.write_text("one")
    times = file.stat().st_mtime_ns
    first = memory.of(file)
    file.write_text("two")  # perhaps within the resolution of the clock
    os.utime(file, ns=(times, times))
    assert memory.of(file) != first
