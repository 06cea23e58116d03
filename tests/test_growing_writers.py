"""Writers of an index that grows: several at once, killed ones, and those that search it meanwhile."""

import errno
import json
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from growing import (
    EVERY,
    NEW,
    OLD,
    answers,
    built,
    contents,
    ids_of,
    opened,
    query_of,
    records,
    with_two_generations,
)
from test_faults_python_api import together

import dsi
from dsi.errors import DsiError
from dsi.index import generations
from dsi.runtime.system import lock


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An index as it was saved."""
    return built(tmp_path_factory.mktemp("plain") / "index", "atomic")


@pytest.fixture(scope="module")
def changed(plain: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An index with two generations, an `add` of twelve documents and a `delete` of one of them."""
    return with_two_generations(plain, tmp_path_factory.mktemp("changed") / "index")


def test_refresh(plain: Path, tmp_path: Path) -> None:
    index = opened(plain, tmp_path / "index")
    before = answers(index)
    assert not index.refresh()
    other = dsi.load(tmp_path / "index")
    other.add(records(NEW))
    assert answers(index) == before
    assert index.refresh()
    assert not index.refresh()
    assert answers(index) == answers(other) != before
    other.compact(purge=True)
    assert answers(index) == answers(index)
    assert index.refresh()
    assert answers(index) == answers(other)
    other.delete(NEW[0].doc_id)
    other.compact(purge=True)  # what the index was read from is gone
    assert index.delete(NEW[1].doc_id).documents == 78
    assert NEW[0].doc_id not in index.documents


def test_threads_search_while_another_changes_the_index(plain: Path, tmp_path: Path) -> None:
    index, done, faults = opened(plain, tmp_path / "index"), threading.Event(), list[str]()
    gone: set[str] = set()

    def search() -> None:
        try:
            while not done.is_set():
                before = set(gone)
                found = {hit.doc_id for hit in index.search(query_of(NEW[0]), k=EVERY)}
                faults.extend(found & before)
                time.sleep(0.01)  # else four of them leave the writer little of a core
        except Exception as error:
            faults.append(repr(error))

    def change() -> None:
        for number in range(20):
            document = NEW[0]._replace(doc_id=f"D9{number:07}")
            index.add(records([document]))
            assert document.doc_id in {hit.doc_id for hit in index.search(query_of(NEW[0]), k=EVERY)}
            index.delete(document.doc_id)
            gone.add(document.doc_id)

    searchers = [threading.Thread(target=search) for _ in range(4)]
    for searcher in searchers:
        searcher.start()
    try:
        change()
    finally:
        done.set()
        for searcher in searchers:
            searcher.join()
    assert not faults
    assert len(index) == len(OLD)


def test_adding_leaves_the_tokenizer_of_searches_alone(plain: Path, tmp_path: Path) -> None:
    index = opened(plain, tmp_path / "index")
    index.searcher.tokenizer = None  # a tokenizer keeps the length it cuts to
    index.add(records(NEW[:1]))
    assert len(index) == len(OLD) + 1


def test_several_threads_change_an_index(plain: Path, tmp_path: Path) -> None:
    index, numbers = opened(plain, tmp_path / "index"), iter(range(8))

    def work() -> None:
        number = next(numbers)
        index.add(records([NEW[number]]))
        assert NEW[number].doc_id in index.documents
        index.delete(NEW[number].doc_id)
        assert NEW[number].doc_id not in index.documents
        index.refresh()

    together(work, 8)
    assert [each.number for each in index.log()] == list(range(1, 17))
    assert list(index.documents) == list(dsi.load(tmp_path / "index").documents) == ids_of(OLD)


@pytest.mark.parametrize("killed_at", [1, 2, 3, 10])
def test_a_purge_that_is_interrupted(
    changed: Path, killed_at: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While it removes folder number `killed_at`: what is still there can be restored, the rest is refused."""
    index, remove, removed = opened(changed, tmp_path / "index"), shutil.rmtree, [0]

    def half(path: Path, **options: Any) -> None:
        removed[0] += ".gone-" in str(path)
        if removed[0] < killed_at:
            remove(path, **options)
            return
        for file in [each for each in path.rglob("*") if each.is_file()][::2]:
            file.unlink()
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(generations.shutil, "rmtree", half)
        with pytest.raises(KeyboardInterrupt):
            index.compact(purge=True)
    index = dsi.load(tmp_path / "index")
    assert len(index) == 71
    for number in (0, 1, 2):
        with suppress(DsiError):
            index.restore(number)
        assert len(dsi.load(tmp_path / "index")) == len(index)
        assert answers(index)
    index.delete(OLD[0].doc_id)
    index.compact(purge=True)
    assert len(index.log()) == 1
    assert NEW[0].text.encode() not in contents(tmp_path / "index")


HOLD = """
import sys, time
from pathlib import Path
from dsi.index.generations import changing
with changing(Path(sys.argv[1])):
    print("locked", flush=True)
    time.sleep(1)
"""


def test_two_writers(changed: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    index = opened(changed, tmp_path / "index")
    other = subprocess.Popen([sys.executable, "-c", HOLD, str(index._now.parts.folder)], stdout=subprocess.PIPE)
    assert other.stdout is not None
    assert other.stdout.readline() == b"locked\n"
    changes: list[Callable[[], object]] = [
        lambda: index.add(records(NEW[12:]), wait=False),
        lambda: index.delete(NEW[1].doc_id, wait=False),
        lambda: index.compact(wait=False),
        lambda: index.restore(1, wait=False),
        lambda: index.prune(wait=False),
    ]
    for change in changes:
        with pytest.raises(DsiError, match=r"another process is changing this index; try again later$"):
            change()
    assert index.delete(NEW[1].doc_id).number == 3
    assert "another process is changing this index, waiting" in capsys.readouterr().err
    assert other.wait() == 0
    other.stdout.close()


def test_without_locks(changed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def none(*_: object, **__: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(generations, "lock", none)
    index = opened(changed, tmp_path / "index")
    folder = tmp_path / "index/generations/000003"
    with (
        generations.changing(tmp_path / "index"),
        pytest.raises(DsiError, match=f"process {os.getpid()} of .* is changing this index; try again later, or"),
    ):
        index.delete(NEW[1].doc_id)
    assert not folder.exists()
    folder.mkdir()
    done = subprocess.Popen([sys.executable, "-c", ""])
    done.wait()
    (folder / "owner.json").write_text(json.dumps({"process": done.pid, "node": "elsewhere"}))
    for _ in range(2):
        with pytest.raises(DsiError, match=f"or, if it is gone, remove {folder}"):
            index.add(records(NEW[12:]))
    shutil.rmtree(folder)
    assert index.delete(NEW[1].doc_id).number == 3


def test_what_a_killed_writer_left_is_removed(changed: Path, tmp_path: Path) -> None:
    index = opened(changed, tmp_path / "index")
    folder = tmp_path / "index/generations"
    done = subprocess.Popen([sys.executable, "-c", ""])
    done.wait()
    for name in ("000003", f".claim-{done.pid}-0123", ".gone-0123"):
        (folder / name / "segment").mkdir(parents=True)
        (folder / name / "segment/documents.arrow").write_text("half")
    (folder / "000003/owner.json").write_text(json.dumps({"process": done.pid}))
    assert index.delete(NEW[1].doc_id).number == 3
    left = sorted(path.name for path in folder.iterdir())
    assert left == [".lock", "000001", "000002", "000003", "current"]
    assert len(dsi.load(tmp_path / "index")) == 70


def test_a_writer_on_the_same_machine_holds_the_lock(tmp_path: Path) -> None:
    with (tmp_path / "lock").open("wb") as one, (tmp_path / "lock").open("wb") as two:
        lock(one, wait=False)
        with pytest.raises(BlockingIOError):
            lock(two, wait=False)
