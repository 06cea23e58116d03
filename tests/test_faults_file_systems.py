"""Faults of the kind "file systems": no locks, quotas, files in the way, state that a power cut left unfinished."""

import errno
import fcntl
import os
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from conftest import write_msmarco_folder

from dsi.artifacts import Store, is_written, link, read_manifest, write_json
from dsi.cli import main
from dsi.errors import DsiError
from dsi.runtime.file_faults import file_fault
from dsi.runtime.shards import published


@pytest.fixture
def config(tmp_path: Path) -> str:
    write_msmarco_folder(tmp_path / "corpus")
    path = tmp_path / "a.yaml"
    path.write_text("corpus: {source: msmarco, path: corpus}\ntokenizer: {vocabulary: 200}\n")
    return str(path)


def last_line(capsys: pytest.CaptureFixture[str]) -> str:
    return capsys.readouterr().err.splitlines()[-1]


def test_no_locks(
    config: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def no_locks(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", no_locks)
    assert main(["ingest", config, "--runs", str(tmp_path / "runs")]) == 0
    assert "has no locks (No locks available): let one process at a time work on it" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("number", "says"),
    [(errno.EDQUOT, "the disk quota is used up; what is finished is kept"), (errno.ENOSPC, "the disk is full")],
)
def test_file_system_faults(
    number: int,
    says: str,
    config: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patch:
        patch.setattr("dsi.corpus.ingest.write_rows", fail)
        assert main(["ingest", config, "--runs", str(tmp_path / "runs")]) == 2
    assert says in last_line(capsys)
    assert main(["ingest", config, "--runs", str(tmp_path / "runs")]) == 0  # the same command goes on


@pytest.mark.parametrize("runs", ["file", "file/below", "link"])
def test_a_file_where_the_folder_of_runs_should_be(
    runs: str, config: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("x")
    (tmp_path / "link").symlink_to("nowhere/else")
    assert main(["ingest", config, "--runs", str(tmp_path / runs)]) in (0, 2)
    if runs != "link":
        assert f"{tmp_path / runs}: the folder of runs cannot be made or written to" in last_line(capsys)


def test_what_is_no_link_of_ours_is_left_alone(config: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    own = tmp_path / "runs/a/corpus"
    own.mkdir(parents=True)
    (own / "notes.txt").write_text("mine")
    assert main(["ingest", config, "--runs", str(tmp_path / "runs")]) == 2
    assert "it is no link that dsi made; move it away" in last_line(capsys)
    assert (own / "notes.txt").read_text() == "mine"
    (tmp_path / "real").mkdir()
    link(tmp_path / "real", tmp_path / "linked")
    link(tmp_path / "corpus", tmp_path / "linked")  # our own links are replaced
    with pytest.raises(DsiError):
        link(tmp_path / "real", tmp_path / "corpus")


@pytest.mark.parametrize("damage", [b"", b'{"stage": "corp', b"\0" * 100, b"[]", b"\xff"])
def test_unreadable_manifests_count_as_not_there(
    damage: bytes, config: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["ingest", config, "--runs", str(tmp_path / "runs")]
    assert main(command) == 0
    manifest = tmp_path / "runs/a/corpus/manifest.json"
    manifest.write_bytes(damage)
    assert main(["tokenize", config, "--runs", str(tmp_path / "runs")]) == 2
    assert "stage corpus is not built" in last_line(capsys)
    assert main(command) == 0  # the stage is built again
    assert read_manifest(tmp_path / "runs/a/corpus") is not None


def test_unfinished_state_files_count_as_not_there(tmp_path: Path) -> None:
    state = tmp_path / "state.json"
    assert not is_written(state)
    for cut in ("", '{"a": ', "\0\0"):
        state.write_text(cut)
        assert not is_written(state)
    write_json(state, {"a": 1})
    assert is_written(state)
    store = Store(tmp_path / "runs")

    def make(out: Path) -> dict[str, Any]:
        return {}

    partial = store.partial("corpus", "0" * 16)
    (partial / "work").mkdir(parents=True)
    folder = store.build("corpus", {"a": 1}, make)
    assert read_manifest(folder) is not None
    for clock in ("", "{"):
        inputs = {"a": 2, "clock": clock}

        def leave(out: Path, clock: str = clock) -> dict[str, Any]:
            (out / "work/clock.json").write_text(clock)
            raise RuntimeError("power cut")

        with pytest.raises(RuntimeError):
            store.build("corpus", inputs, leave)
        assert read_manifest(store.build("corpus", inputs, make)) is not None


def test_content_is_on_the_disk_before_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    events = list[str]()
    fsync, replace = os.fsync, Path.replace

    def noted_fsync(file: int) -> None:
        events.append("content")
        fsync(file)

    def noted_replace(path: Path, to: Path) -> Path:
        events.append("name")
        return replace(path, to)

    monkeypatch.setattr(os, "fsync", noted_fsync)
    monkeypatch.setattr(Path, "replace", noted_replace)
    with published(tmp_path / "shard") as temporary:
        temporary.write_text("x")
    assert events == ["content", "name"]


def test_errors_of_the_file_system_are_told_from_those_of_the_program() -> None:
    for number in (errno.EROFS, errno.EACCES, errno.EIO, errno.EMFILE, errno.ENAMETOOLONG, errno.ENOTDIR, errno.ESTALE):
        said = file_fault(OSError(number, os.strerror(number), "runs/a/file"))
        assert said is not None
        assert said.startswith("runs/a/file: ")
    wrapped = RuntimeError("while writing")
    wrapped.__cause__ = OSError(errno.EDQUOT, "Disk quota exceeded")
    assert (file_fault(wrapped) or "").startswith("the disk quota is used up; what is finished is kept: make room")
    assert "the disk is full" in (file_fault(sqlite3.OperationalError("database or disk is full")) or "")
    assert file_fault(FileNotFoundError(errno.ENOENT, "No such file", "x")) is None  # a bug, perhaps
    assert file_fault(KeyError("x")) is None
