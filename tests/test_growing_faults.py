"""An index that grows, when something is in the way: bad input, damage, full disks; and the command line."""

import errno
import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from growing import (
    NEW,
    OLD,
    answers,
    built,
    files_of,
    opened,
    query_of,
    records,
    with_two_generations,
)
from hub import TOKEN, Hub, stand_in
from test_saved import in_fresh_process

import dsi
from dsi.cli import main
from dsi.errors import DsiError
from dsi.index.index import Index

OTHER = Path(__file__).parent / "data/index-format-1"
"""An index that an older version has saved."""


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An index as it was saved."""
    return built(tmp_path_factory.mktemp("plain") / "index", "atomic")


@pytest.fixture(scope="module")
def changed(plain: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An index with two generations, an `add` of twelve documents and a `delete` of one of them."""
    return with_two_generations(plain, tmp_path_factory.mktemp("changed") / "index")


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
    (lambda index: index.delete("x1"), "there is no document 'x1'; nothing was deleted"),
    (lambda index: index.delete([OLD[0].doc_id, "x1", NEW[0].doc_id]), f"no document '{NEW[0].doc_id}', 'x1'; nothing"),
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


def of_another_model(folder: Path) -> None:
    shutil.rmtree(folder / "generations")
    other = opened(OTHER, folder.parent / "other")
    other.delete(next(iter(other.documents)))
    shutil.copytree(folder.parent / "other/generations", folder / "generations")


def damaged(name: str) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        path = folder / "generations" / name
        content = path.read_bytes()
        path.write_bytes(content[:-9] + b"x" + content[-8:])

    return change


def missing(name: str) -> Callable[[Path], None]:
    return lambda folder: (folder / "generations" / name).unlink()


def strange(name: str) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        (folder / "generations" / name).write_bytes(b"\x93NUMPY")

    return change


def no_pointer(folder: Path) -> None:
    (folder / "generations/current").write_text('{"number": "two"}')


HARMFUL: list[tuple[Callable[[Path], None], str]] = [
    (of_another_model, "generation 1 belongs to another index; get the index again"),
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
def test_damage_is_named(changed: Path, number: int, tmp_path: Path) -> None:
    change, said = HARMFUL[number]
    index = opened(changed, tmp_path / "index")
    change(tmp_path / "index")
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
    damaged("000001/segment/queries.parquet")(tmp_path / "index")
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
    shutil.copytree(OTHER, tmp_path / "old")
    for name, said in (
        ("ids", "was saved without its documents: nothing can be added to it, .*; export it with them"),
        ("old", "was saved by an older version, which kept less than documents added later need; export it again"),
    ):
        index, files = dsi.load(tmp_path / name), files_of(tmp_path / name)
        changes: list[Callable[[], object]] = [lambda: index.add([("x1", "some new words")])]  # noqa: B023
        if name == "ids":
            changes += [index.compact, index.consolidate]
        for change in changes:
            with pytest.raises(DsiError, match=said):
                change()
            assert files_of(tmp_path / name) == files
        assert not index.refresh()
        assert index.log() == []


def test_a_pointer_that_is_lost_or_old(changed: Path, tmp_path: Path) -> None:
    for name in ("lost", "old"):
        folder = tmp_path / name
        shutil.copytree(changed, folder)
        pointer = folder / "generations/current"
        if name == "lost":
            pointer.unlink()
            with pytest.raises(DsiError, match="current: missing or old, as generation 1 is finished; get the index"):
                dsi.load(folder)
            continue
        first = dsi.load(folder).restore(1)
        shutil.copyfile(changed / "generations/current", pointer)
        files = files_of(folder)
        with pytest.raises(DsiError, match=f"current: missing or old, as generation {first.number} is finished"):
            dsi.load(folder).delete(OLD[1].doc_id)
        assert files_of(folder) == files


def test_other_folders_beside_generations(changed: Path, tmp_path: Path) -> None:
    shutil.copytree(changed, tmp_path / "index")
    shutil.copytree(changed / "generations/000001", tmp_path / "index/generations/000001.bak")
    (tmp_path / "index/generations/9abc").mkdir()
    index = dsi.load(tmp_path / "index")
    assert [each.number for each in index.log()] == [1, 2]
    index.add([("x1", "some new words")])
    index.prune()
    assert (tmp_path / "index/generations/000001.bak").exists()


def test_an_index_without_what_growing_needs(plain: Path, tmp_path: Path) -> None:
    shutil.copytree(OTHER, tmp_path / "old")
    index = dsi.load(tmp_path / "old")
    index.delete(next(iter(index.documents)))
    for change in (index.compact, lambda: index.save(tmp_path / "copy")):
        with pytest.raises(DsiError, match=r"was saved by an older version, .*; export it again from its run"):
            change()


def test_what_is_made_but_cannot_be_opened(plain: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    index = opened(plain, tmp_path / "index")
    with monkeypatch.context() as patch:
        patch.setattr(Index, "_take", lambda *_: (_ for _ in ()).throw(DsiError("no memory")))
        with pytest.raises(DsiError, match="generation 1 is made, but cannot be opened by this process: no memory"):
            index.add([("x1", "some new words")])
    assert "x1" in dsi.load(tmp_path / "index").documents


def test_documents_are_deleted_of_an_index_of_ids(plain: Path, tmp_path: Path) -> None:
    dsi.load(plain).save(tmp_path / "ids", include_documents=False)
    index = dsi.load(tmp_path / "ids")
    before = answers(index)
    index.delete(OLD[0].doc_id)
    assert OLD[0].doc_id not in index.documents
    assert all(OLD[0].doc_id not in hits for hits in answers(dsi.load(tmp_path / "ids")))
    with pytest.raises(DsiError, match="without its documents, and has changed since: it cannot be written anew"):
        index.save(tmp_path / "copy", include_documents=False)
    index.restore(0)
    assert answers(index) == before


def test_another_index_in_its_place(plain: Path, tmp_path: Path) -> None:
    index = opened(plain, tmp_path / "index")
    shutil.rmtree(tmp_path / "index")
    shutil.copytree(OTHER, tmp_path / "index")
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


def test_the_command_line(plain: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    opened(plain, tmp_path / "index")
    folder, ids, lines = str(tmp_path / "index"), tmp_path / "ids.txt", tmp_path / "new.jsonl"
    lines.write_text("".join(json.dumps(each._asdict()) + "\n" for each in NEW))
    ids.write_text(f"{NEW[1].doc_id}\n{NEW[2].doc_id}\n\n")

    def dsi_prints(*arguments: str, status: int = 0) -> list[str]:
        capsys.readouterr()
        assert main([*arguments]) == status
        captured = capsys.readouterr()
        return (captured.err if status else captured.out).splitlines()

    assert dsi_prints("log", folder) == ["nothing has changed since the index was saved"]
    assert dsi_prints("add", folder, str(lines))[0].startswith("generation 1: add, 20 added; 80 documents; ")
    [refused] = dsi_prints("add", folder, str(lines), status=2)[-1:]
    assert refused.startswith(f"dsi: error: {folder} has 20 of these documents already (")
    assert dsi_prints("add", folder, str(lines), "--replace")[0].startswith("generation 2: add, 20 added, 20 replaced;")
    said = dsi_prints("delete", folder, NEW[0].doc_id, "--file", str(ids))
    assert said[0].startswith("generation 3: delete, 3 deleted; 77 documents; ")
    log = dsi_prints("log", folder)
    assert [line.split("  ", 1)[1].split(",")[0] for line in log] == [
        "generation 1: add",
        "generation 2: add",
        "generation 3: delete",
    ]
    assert dsi_prints("restore", folder, "1")[0].startswith("generation 4: restore, of generation 1; 80 documents; ")
    assert dsi_prints("restore", folder, "3")[0].startswith("generation 5: restore, of generation 3; 77 documents; ")
    assert NEW[3].doc_id in "\n".join(dsi_prints("query", folder, query_of(NEW[3])))
    assert dsi_prints("prune", folder) == ["removed: generation 1, generation 3, generation 4"]
    compacted = dsi_prints("compact", folder, "--purge")
    assert compacted[0].startswith("generation 6: compact, 77 documents, 23 removed; 77 documents; ")
    assert len(dsi_prints("log", folder)) == 1
    assert dsi_prints("restore", folder, "0", status=2)[-1].startswith(
        f"dsi: error: {folder}: generation 0 was pruned; `dsi log` shows"
    )
    assert NEW[0].doc_id not in "\n".join(dsi_prints("query", folder, query_of(NEW[0])))
    assert dsi_prints("prune", folder) == ["removed: nothing"]
