"""An index that grows, when something is in the way: purged documents, other writers, bad input, damage, full disks."""

import errno
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from growing import (
    ALL,
    EVERY,
    KINDS,
    NEW,
    OLD,
    answers,
    built,
    check_same,
    contents,
    files_of,
    float_rows,
    ids_of,
    opened,
    query_of,
    records,
)
from hub import TOKEN, Hub, stand_in
from test_saved import in_fresh_process

import dsi
from dsi.errors import DsiError
from dsi.index import generations
from dsi.index.index import Index
from dsi.runtime.system import lock

DATA = Path(__file__).parent / "data"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """An index of each kind, as it was saved."""
    return {kind: built(tmp_path_factory.mktemp(kind) / "index", kind) for kind in KINDS}


@pytest.fixture(scope="module")
def plain(made: dict[str, Path]) -> Path:
    return made["atomic"]


@pytest.fixture(scope="module")
def changed(plain: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An index with two generations, an `add` of twelve documents and a `delete` of one of them."""
    folder = tmp_path_factory.mktemp("changed") / "index"
    index = opened(plain, folder)
    index.add(records(NEW[:12]))
    index.delete(NEW[0].doc_id)
    return folder


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_is_left_of_what_is_purged(made: dict[str, Path], kind: str, tmp_path: Path) -> None:
    index = opened(made[kind], tmp_path / "index")
    index.add(records(NEW))
    gone = [OLD[7], OLD[42], NEW[3], NEW[11]]
    numbers = [index.corpus.doc_index(document.doc_id) for document in gone]
    owners, texts = index._now.growth.replay()
    queries = [text for owner, text in zip(owners.tolist(), texts, strict=True) if owner in numbers]
    for segment in index._now.segments:
        of_segment = segment.queries.to_pydict()
        queries += [text for owner, text in zip(*of_segment.values(), strict=True) if owner in numbers]
    assert len(queries) == 4 * 5
    rows = rows_of(index, numbers)
    before, arrays = contents(tmp_path / "index"), list(float_rows(tmp_path / "index", 16))
    traces = [*ids_of(gone), *(document.text for document in gone), *queries]
    assert all(trace.encode() in before for trace in traces)
    assert all(is_among(row, arrays) for row in rows)
    index.delete(ids_of(gone))
    scores = answers(dsi.load(tmp_path / "index", prior="none"))
    generation = index.compact(purge=True)
    after, arrays = contents(tmp_path / "index"), list(float_rows(tmp_path / "index", 16))
    assert [trace for trace in traces if trace.encode() in after] == []
    assert not any(is_among(row, arrays) for row in rows)
    assert index.log() == [generation]
    assert sorted(path.name for path in (tmp_path / "index").iterdir()) == ["README.md", "config.json", "generations"]
    # in a tree, a document that others joined has lent its row to the node above them
    within = 1.0 if kind == "tree" else 1e-5
    check_same(answers(dsi.load(tmp_path / "index", prior="none")), scores, within)
    assert index.compact(purge=True) == generation  # nothing more to do
    assert index.add(records(gone)).documents == len(ALL)
    assert gone[0].doc_id in {hit.doc_id for hit in index.search(query_of(gone[0]), k=EVERY)}


def rows_of(index: Index, numbers: list[int]) -> list[np.ndarray]:
    """The output rows of documents; none for a head without."""
    searcher = index.searcher.searcher
    weight, trained = searcher.model.docid_head.weight.detach().numpy(), len(index._now.growth.corpus)
    if searcher.docids.is_atomic:
        added = searcher.changes.rows
        assert added is not None
        return [weight[number] if number < trained else added[number - trained].numpy() for number in numbers]
    is_tree = searcher.model.config.docid_head == "hierarchical_softmax"
    return [weight[searcher.docids.trie.leaf_of[number]] for number in numbers] if is_tree else []


def is_among(row: np.ndarray, arrays: list[np.ndarray]) -> bool:
    return any((array == row).all(axis=1).any() for array in arrays)


@pytest.mark.parametrize("killed_at", range(1, 8))
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


BAD: list[tuple[Callable[[Index], object], str]] = [
    (lambda index: index.add([(OLD[0].doc_id, "text")]), rf"of these documents already \({OLD[0].doc_id}\)"),
    (lambda index: index.add([("x1", "one"), ("x1", "two")]), "document 2: document id 'x1' is given twice"),
    (lambda index: index.add([("x1", "one"), ("x2", " \n")]), "document 2: document 'x2' has neither title nor text"),
    (lambda index: index.add([("x 1", "one")]), "document 1: .*'x 1'.*white space"),
    (lambda index: index.add([("", "one")]), "document 1: "),
    (lambda index: index.add(["a text alone"]), "document 1: this document has no id"),
    (lambda index: index.add([]), "documents: there are none"),
    (lambda index: index.add([("x1", "a\ud800b")]), "document 1: .*surrogate"),
    (lambda index: index.add([{"doc_id": "x1", "body": "text"}]), "document 1: this document has no text"),
    (lambda index: index.add(7), "documents: expected a list of them or a path, found int 7"),
    (lambda index: index.add("no/where.jsonl"), "'no/where.jsonl': there is no such file or folder"),
    (lambda index: index.delete("x1"), "there is no document x1; nothing was deleted"),
    (lambda index: index.delete([OLD[0].doc_id, "x1", NEW[0].doc_id]), f"no document {NEW[0].doc_id}, x1; nothing"),
    (lambda index: index.delete([]), "there is no document to delete"),
    (lambda index: index.delete([7]), "doc_ids: the id of a document is a string, not int 7"),  # type: ignore[list-item]
    (lambda index: index.delete(["a\ud800b"]), "doc_ids: .* has half a surrogate pair"),
    (lambda index: index.delete(list(index.documents)), "no document would be left, and an index has at least one"),
    (lambda index: index.restore(3), "there is no generation 3; `dsi log` shows those that there are"),
    (lambda index: index.restore(-1), "there is no generation -1"),
]


def test_bad_input_changes_nothing(changed: Path, tmp_path: Path) -> None:
    index = opened(changed, tmp_path / "index")
    files, before = files_of(tmp_path / "index"), answers(index)
    for change, said in BAD:
        with pytest.raises(DsiError, match=said) as raised:
            change(index)
        assert "\n" not in str(raised.value)
        assert files_of(tmp_path / "index") == files
    assert answers(index) == before
    with pytest.raises(ValueError, match="steps must be a whole number above 0, not 0"):
        index.consolidate(0)
    with pytest.raises(KeyError, match="there is no document 'x1'"):
        index.documents["x1"]


def test_bad_files_name_their_lines(changed: Path, tmp_path: Path) -> None:
    index = opened(changed, tmp_path / "index")
    path = tmp_path / "new.jsonl"
    for line, said in (
        ({"doc_id": "x1", "text": "again"}, "document id 'x1' is given twice"),
        ({"doc_id": "x2", "text": ""}, "document 'x2' has neither title nor text"),
        ({"text": "no id"}, "this document has no id"),
    ):
        path.write_text("".join(json.dumps(each) + "\n" for each in ({"doc_id": "x1", "text": "one"}, line)))
        with pytest.raises(DsiError, match=f"new.jsonl.*2.*: {said}"):
            index.add(path)
    assert len(index.log()) == 2


def of_another_model(folder: Path, made: dict[str, Path]) -> None:
    shutil.rmtree(folder / "generations")
    other = opened(made["naive"], folder.parent / "other")
    other.delete(OLD[0].doc_id)
    shutil.copytree(folder.parent / "other/generations", folder / "generations")


def damaged(name: str) -> Callable[[Path, dict[str, Path]], None]:
    def change(folder: Path, _: dict[str, Path]) -> None:
        path = folder / "generations" / name
        content = path.read_bytes()
        path.write_bytes(content[:-9] + b"x" + content[-8:])

    return change


def missing(name: str) -> Callable[[Path, dict[str, Path]], None]:
    return lambda folder, _: (folder / "generations" / name).unlink()


def strange(name: str) -> Callable[[Path, dict[str, Path]], None]:
    def change(folder: Path, _: dict[str, Path]) -> None:
        (folder / "generations" / name).write_bytes(b"\x93NUMPY")

    return change


def no_pointer(folder: Path, _: dict[str, Path]) -> None:
    (folder / "generations/current").write_text('{"number": "two"}')


HARMFUL: list[tuple[Callable[[Path, dict[str, Path]], None], str]] = [
    (of_another_model, "generation 1 belongs to an index with another model; get the index again"),
    (damaged("current"), "current.*is not valid JSON|generation.json: this file is missing, damaged"),
    (no_pointer, "current: damaged; get the index again"),
    (damaged("000002/generation.json"), "000002/generation.json: this file is missing, damaged or was changed"),
    (missing("000002/generation.json"), "000002/generation.json: this file is missing, damaged or was changed"),
    (damaged("000001/segment/documents.arrow"), "000001/segment/documents.arrow: this file is damaged or was changed"),
    (damaged("000001/segment/rows.safetensors"), "segment/rows.safetensors: this file is damaged or was changed"),
    (missing("000001/segment/later.term.npy"), "segment/later.term.npy: this file is missing"),
    (missing("000002/deleted.npy"), "000002/deleted.npy: this file is missing"),
    (strange("000002/deleted.npy"), "000002/deleted.npy: this file is damaged or was changed"),
    (strange("000002/other.npy"), "000002/other.npy: no file of the index"),
]
READ_AGAIN = 5
"""Of these, how many an open index sees, too."""


@pytest.mark.parametrize("number", range(len(HARMFUL)))
def test_damage_is_named(changed: Path, made: dict[str, Path], number: int, tmp_path: Path) -> None:
    change, said = HARMFUL[number]
    index = opened(changed, tmp_path / "index")
    change(tmp_path / "index", made)
    with pytest.raises(DsiError, match=said):
        dsi.load(tmp_path / "index")
    if number < READ_AGAIN:
        for use in (index.refresh, lambda: index.delete(NEW[1].doc_id)):
            files = files_of(tmp_path / "index")
            with pytest.raises(DsiError, match=r"[^\n]*"):
                use()
            assert files_of(tmp_path / "index") == files


def test_what_is_damaged_is_not_restored(changed: Path, tmp_path: Path) -> None:
    index = opened(changed, tmp_path / "index")
    index.compact()
    damaged("000001/segment/queries.parquet")(tmp_path / "index", {})
    (tmp_path / "index/prior/prior.json").write_text("{}")
    files, before = files_of(tmp_path / "index"), answers(index)
    for number, said in ((1, "prior.json: this file is damaged"), (0, "prior.json: this file is damaged")):
        with pytest.raises(DsiError, match=said):
            index.restore(number)
    assert files_of(tmp_path / "index") == files
    assert answers(dsi.load(tmp_path / "index")) == before


@pytest.mark.parametrize(
    "writer",
    [
        "dsi.index.segments.write_rows",
        "dsi.index.segments.pq.write_table",
        "dsi.index.opened.np.save",
        "dsi.index.generations.write_json",
        "dsi.index.generations.to_disk",
        "dsi.index.generations.published",
        "dsi.index.compacting.write_rows",
        "dsi.index.compacting.write_docids",
        "dsi.index.saving.write_json",
    ],
)
def test_a_full_disk(changed: Path, writer: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    index = opened(changed, tmp_path / "index")
    files, before = files_of(tmp_path / "index"), answers(index)

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def change() -> None:
        if "compacting" in writer or "saving" in writer:
            index.compact(purge=True)
        else:
            index.add(records(NEW[12:]))

    with monkeypatch.context() as patch:
        patch.setattr(writer, full)
        with pytest.raises(DsiError, match=f"{tmp_path / 'index'}: the disk is full; .* make room and give the same"):
            change()
    assert files_of(tmp_path / "index") == files
    assert answers(index) == before
    change()
    assert len(index.log()) in (1, 3)


def test_what_cannot_be_changed(plain: Path, tmp_path: Path) -> None:
    dsi.load(plain).save(tmp_path / "ids", include_documents=False)
    shutil.copytree(DATA / "index-format-1", tmp_path / "old")
    for name, said in (
        ("ids", "was saved without its documents, and cannot be changed; export it with them"),
        ("old", "was saved by an older version, which kept less than documents added later need; export it again"),
    ):
        index, files = dsi.load(tmp_path / name), files_of(tmp_path / name)
        some = next(iter(index.documents))
        changes: list[Callable[[], object]] = [lambda: index.add([("x1", "some new words")])]  # noqa: B023
        if name == "ids":
            changes += [lambda: index.delete(some), index.compact, index.consolidate, index.prune]  # noqa: B023
        for change in changes:
            with pytest.raises(DsiError, match=said):
                change()
            assert files_of(tmp_path / name) == files
        assert not index.refresh()
        assert index.log() == []


def test_another_index_in_its_place(plain: Path, made: dict[str, Path], tmp_path: Path) -> None:
    index = opened(plain, tmp_path / "index")
    shutil.rmtree(tmp_path / "index")
    shutil.copytree(made["naive"], tmp_path / "index")
    with pytest.raises(DsiError, match="another index is there since this one was opened; open it again"):
        index.add(records(NEW))
    assert not (tmp_path / "index/generations").exists()


@pytest.fixture
def hub() -> Iterator[Hub]:
    with stand_in() as hub:
        yield hub


def test_the_hub(changed: Path, tmp_path: Path, hub: Hub) -> None:
    environment = {"HF_ENDPOINT": hub.address, "HF_HOME": str(tmp_path), "HF_TOKEN": TOKEN}
    script = f"""
import dsi
dsi.load({str(changed)!r}).push_to_hub("someone/fish")
index = dsi.load("someone/fish")
print(len(index), index.refresh(), {NEW[0].doc_id!r} in index.documents, {NEW[1].doc_id!r} in index.documents)
try:
    index.delete({NEW[1].doc_id!r})
except dsi.DsiError as error:
    print(error)
"""
    told, refused = in_fresh_process(script, **environment).splitlines()
    assert told == "71 False False True"
    assert "is in the cache of the hub; save the index to a folder of yours first" in refused
    assert not any(name.startswith("generations") for name in hub.files["someone/fish"])
    assert not any(NEW[0].doc_id.encode() in content for content in hub.files["someone/fish"].values())
