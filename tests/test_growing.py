"""An index that grows: what was added is found, what was deleted is gone, and all that is told of it is true."""

import json
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from growing import ALL, EVERY, KINDS, NEW, OLD, QUERIES, answers, built, check_same, ids_of, opened, query_of, records
from test_faults_python_api import together
from test_saved import in_fresh_process
from transformers import Trainer

import dsi
from dsi.cli import main
from dsi.corpus.store import Document
from dsi.errors import DsiError
from dsi.index.convert import convert
from dsi.index.index import Index
from dsi.index.segments import ABSORBED


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """An index of each kind."""
    return {kind: built(tmp_path_factory.mktemp(kind) / "index", kind) for kind in KINDS}


@pytest.fixture(scope="module")
def plain(made: dict[str, Path]) -> Path:
    """The index with atomic docids, which tests that write nothing there share."""
    return made["atomic"]


@pytest.mark.parametrize("kind", KINDS)
def test_added_documents_are_found(made: dict[str, Path], kind: str, tmp_path: Path) -> None:
    index = opened(made[kind], tmp_path / "index")
    before = index.search([query_of(document) for document in OLD])
    generation = index.add(iter(records(NEW)))
    assert (generation.number, generation.facts["added"], generation.documents) == (1, 20, 80)
    for at in (index, dsi.load(tmp_path / "index")):
        found = at.search([query_of(document) for document in NEW])
        places = [ids_of(hits).index(document.doc_id) for document, hits in zip(NEW, found, strict=True)]
        assert np.mean(np.array(places) < 3) > 0.8
        assert [hits[place].text for hits, place in zip(found, places, strict=True)] == [each.text for each in NEW]
        hits = at.search(query_of(NEW[3]))
        explained = at.explain(query_of(NEW[3]), hits[0].doc_id)
        assert explained.total == pytest.approx(hits[0].score, abs=1e-4)
        assert explained.rank == 1
        assert hits[0].doc_id in str(explained)
        check_living(at, ALL, 1)
    assert [hits[0].doc_id for hits in before] != [hits[0].doc_id for hits in found]
    model_only = dsi.load(tmp_path / "index", prior="none")
    hits = model_only.search(query_of(NEW[0]), k=EVERY)
    assert set(ids_of(NEW)) <= set(ids_of(hits))
    assert np.isfinite([hit.score for hit in hits]).all()


def check_living(index: Index, documents: list[Document], generation: int) -> None:
    """See that an index says of itself that it has these documents, in this order, and no others."""
    assert len(index) == len(index.documents) == len(documents)
    assert list(index.documents) == ids_of(documents)
    assert list(index.documents.values()) == documents
    assert dict(index.documents.items()) == {document.doc_id: document for document in documents}
    assert f"{len(documents)} documents" in repr(index)
    assert f"generation {generation}>" in repr(index)
    for document in ALL:
        assert (document.doc_id in index.documents) == (document in documents)
    assert {doc_id for scores in answers(index) for doc_id in scores} <= set(ids_of(documents))


@pytest.mark.parametrize("kind", KINDS)
def test_deleted_documents_are_gone(made: dict[str, Path], kind: str, tmp_path: Path) -> None:
    index = opened(made[kind], tmp_path / "index")
    index.add(records(NEW))
    gone = [OLD[0], OLD[27], NEW[2], NEW[19]]
    generation = index.delete(each for each in ids_of(gone))
    assert (generation.facts, generation.documents) == ({"deleted": 4}, 76)
    living = [document for document in ALL if document not in gone]
    for at in (index, dsi.load(tmp_path / "index")):
        check_living(at, living, 2)
        for document in gone:
            assert document.doc_id not in {hit.doc_id for hit in at.search(query_of(document), k=EVERY)}
            with pytest.raises(KeyError, match=document.doc_id):
                at.documents[document.doc_id]
            with pytest.raises(KeyError, match=document.doc_id):
                at.explain(query_of(document), document.doc_id)
        shown = str(at.explain(query_of(gone[0]), OLD[1].doc_id))
        assert not any(each in shown for each in ids_of(gone))
    check_what_is_written(index, living, tmp_path)


def check_what_is_written(index: Index, living: list[Document], tmp_path: Path) -> None:
    """See that all that is written of an index has these documents alone, and answers as it does."""
    convert(tmp_path / "index", "beir", tmp_path / "beir")
    lines = (tmp_path / "beir/corpus.jsonl").read_text().splitlines()
    assert [Document(*json.loads(line).values()) for line in lines] == living
    convert(tmp_path / "index", "trec", tmp_path / "trec")
    rows = (tmp_path / "trec/collection.tsv").read_text().splitlines()
    assert [row.split("\t")[0] for row in rows] == ids_of(living)
    index.save(tmp_path / "whole")
    index.save(tmp_path / "ids", include_documents=False)
    of_model = answers(dsi.load(tmp_path / "index", prior="none"))
    for name in ("whole", "ids"):
        check_same(answers(dsi.load(tmp_path / name, prior="none")), of_model, 1e-5)
        assert list(dsi.load(tmp_path / name).documents) == ids_of(living)
        assert not (tmp_path / name / "generations").exists()
        assert f"{len(living)} documents" in (tmp_path / name / "README.md").read_text()
    index.compact()  # which counts words again, as saving does
    for name in ("whole", "ids"):
        check_same(answers(dsi.load(tmp_path / name)), answers(index), 1e-5)
    assert list(dsi.load(tmp_path / "whole").documents.values()) == living
    again = dsi.load(tmp_path / "whole")
    assert again.add([("D88888888", "fresh words")]).number == 1


def test_one_batch_or_ten(plain: Path, tmp_path: Path) -> None:
    once, often = (opened(plain, tmp_path / name) for name in ("once", "often"))
    once.add(records(NEW))
    for start in range(0, len(NEW), 2):
        generation = often.add(records(NEW[start : start + 2]))
    assert len(generation.segments) < 10 // 2 < ABSORBED
    assert often.log()[3].segments == (4,)  # each took those before in
    for change in (lambda index: None, lambda index: index.compact()):
        for index in (once, often):
            change(index)
        check_same(answers(often), answers(once), 1e-5)
        of_model = [answers(dsi.load(tmp_path / name, prior="none")) for name in ("once", "often")]
        check_same(of_model[0], of_model[1], 1e-5)
        assert list(often.documents.values()) == list(once.documents.values()) == ALL


@pytest.mark.parametrize("kind", KINDS)
def test_add_then_delete_gives_the_old_ranking(made: dict[str, Path], kind: str, tmp_path: Path) -> None:
    index = opened(made[kind], tmp_path / "index")
    before = answers(index)
    index.add(records(NEW[:9]))
    assert answers(index) != before
    index.delete(ids_of(NEW[:9]))
    check_same(answers(index), before)
    check_same(answers(dsi.load(tmp_path / "index")), before)
    index.add(records(NEW[:3]))  # again, under the same ids
    assert {each.doc_id for each in NEW[:3]} <= {hit.doc_id for hit in index.search(query_of(NEW[0]), k=EVERY)}
    assert len(index) == 63


def test_a_fresh_process_answers_the_same(plain: Path, tmp_path: Path) -> None:
    index = opened(plain, tmp_path / "index")
    before = answers(index)
    index.add(records(NEW))
    index.delete(ids_of(NEW))
    code = f"""
import dsi, json
index = dsi.load({str(tmp_path / "index")!r})
answers = [{{hit.doc_id: hit.score for hit in hits}} for hits in index.search({QUERIES!r}, k={EVERY})]
print(json.dumps(answers))
"""
    check_same(json.loads(in_fresh_process(code)), before)


@pytest.mark.parametrize("kind", KINDS)
def test_replace(made: dict[str, Path], kind: str, tmp_path: Path) -> None:
    index, other = (opened(made[kind], tmp_path / name) for name in ("index", "other"))
    new = OLD[5]._replace(title="", text=NEW[5].text)
    with pytest.raises(DsiError, match=rf"has 1 of these documents already \({new.doc_id}\); replace them"):
        index.add(records([new]))
    assert index.add(records([new]), replace=True).facts["replaced"] == 1
    assert index.documents[new.doc_id] == new
    assert len(index) == 60
    [hit] = [hit for hit in index.search(query_of(NEW[5]), k=EVERY) if hit.doc_id == new.doc_id]
    assert hit.text == NEW[5].text
    prior = index.explain(query_of(OLD[5]), new.doc_id).prior
    assert prior is not None
    assert prior.score < index.explain(query_of(NEW[5]), new.doc_id).prior.score  # type: ignore[union-attr]
    other.delete(new.doc_id)
    other.add(records([new]))
    check_same(answers(index), answers(other))


@pytest.mark.parametrize("kind", KINDS)
def test_restore_and_prune(made: dict[str, Path], kind: str, tmp_path: Path) -> None:
    index = opened(made[kind], tmp_path / "index")
    expected = [answers(index)]
    for change in (
        lambda: index.add(records(NEW[:12])),
        lambda: index.delete([OLD[3].doc_id, NEW[3].doc_id]),
        lambda: index.add(records(NEW[12:])),
        lambda: index.compact(),
        lambda: index.delete(NEW[0].doc_id),
    ):
        change()
        expected.append(answers(index))
    assert [each.change for each in index.log()] == ["add", "delete", "add", "compact", "delete"]
    for number in (3, 0, 1, 5, 2, 4, 0):
        assert index.restore(number).facts == {"restored": number}
        assert answers(index) == expected[number]
        assert answers(dsi.load(tmp_path / "index")) == expected[number]
    index.restore(5)
    assert index.prune() == [0, 1, 2, 3, 5, *range(6, 13)]
    assert answers(index) == answers(dsi.load(tmp_path / "index")) == expected[5]
    assert [each.number for each in index.log()] == [4, 13]
    assert index.prune() == []
    for number, said in ((0, "generation 0 was pruned"), (2, "there is no generation 2"), (99, "no generation 99")):
        with pytest.raises(DsiError, match=said):
            index.restore(number)
    index.restore(4)
    assert answers(index) == expected[4]


@pytest.mark.parametrize("kind", ["atomic", "tree"])
def test_consolidate(made: dict[str, Path], kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    index = opened(made[kind], tmp_path / "index")
    with pytest.raises(DsiError, match="nothing was added since the index was trained"):
        index.consolidate(4)
    index.add(records(NEW))
    index.delete([OLD[0].doc_id, NEW[0].doc_id])
    saves, save = [0], Trainer._save_checkpoint

    def interrupted(trainer: Trainer, *arguments: Any) -> None:
        save(trainer, *arguments)
        saves[0] += 1
        if saves[0] == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(Trainer, "_save_checkpoint", interrupted)
    before = answers(index)
    with pytest.raises(KeyboardInterrupt):
        index.consolidate(4)
    assert answers(index) == answers(dsi.load(tmp_path / "index")) == before
    generation = index.consolidate(4)
    assert saves == [4]  # of steps 1 to 4, none of them twice
    assert (generation.number, generation.change) == (3, "consolidate")
    living = [document for document in ALL if document not in (OLD[0], NEW[0])]
    for at in (index, dsi.load(tmp_path / "index")):
        check_living(at, living, 3)
        assert not len(at._now.untrained)
    assert not list((tmp_path / "index/generations").glob(".[!l]*"))
    with pytest.raises(DsiError, match="nothing was added since the index was trained"):
        index.consolidate()
    index.add([("D77777777", OLD[7].text)])
    assert index.search(query_of(OLD[7]), k=EVERY)
    index.restore(2)
    check_same(answers(index), before)


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
