"""An index that grows: what was added is found, what was deleted is gone, and all that is told of it is true."""

import json
import shutil
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
    QUERIES,
    answers,
    built,
    check_same,
    contents,
    float_rows,
    ids_of,
    opened,
    query_of,
    records,
)
from test_saved import SMALL, TREE, in_fresh_process
from transformers import Trainer

import dsi
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
        check_same(answers(often), answers(once), 1e-5, relative=1e-5)
        of_model = [answers(dsi.load(tmp_path / name, prior="none")) for name in ("once", "often")]
        check_same(of_model[0], of_model[1], 1e-5, relative=1e-5)
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


def test_a_tree_without_its_deepest_documents(made: dict[str, Path], tmp_path: Path) -> None:
    index = opened(made["tree"], tmp_path / "index")
    lengths = (index.searcher.searcher.docids.codes >= 0).sum(axis=1)
    index.delete([OLD[number].doc_id for number in np.flatnonzero(lengths == lengths.max())])
    before = answers(index)
    index.compact(purge=True)
    assert [hits.keys() for hits in answers(dsi.load(tmp_path / "index"))] == [hits.keys() for hits in before]
    assert index.add(records(NEW[:3])).documents == len(index)


def test_consolidate_when_no_trained_document_is_left(made: dict[str, Path], tmp_path: Path) -> None:
    index = opened(made["atomic"], tmp_path / "index")
    index.add(records(NEW))
    index.delete(ids_of(OLD))
    assert "old_RR@10_after" not in index.consolidate(2).facts
    assert list(index.documents) == ids_of(NEW)
    index.add([("signs", "!!! ???")])
    with pytest.raises(DsiError, match="what was added has no words to make queries of"):
        index.consolidate(2)


def test_consolidate_one_document_of_an_index_from_a_checkpoint(made: dict[str, Path], tmp_path: Path) -> None:
    """The sizes are those of the checkpoint, and of so few queries hardly one is held out."""
    sizes = ("model.d_model", "model.d_kv", "model.d_ff", "tokenizer.vocabulary")
    keys = {key: value for key, value in SMALL.items() if key not in sizes}
    shutil.copytree(made["tree"] / "model", tmp_path / "checkpoint")
    shutil.copytree(made["tree"] / "tokenizer", tmp_path / "checkpoint", dirs_exist_ok=True)
    keys |= {"model.checkpoint": str(tmp_path / "checkpoint"), "doc2query.known_item.queries": 2}
    index = dsi.build(records(OLD), tmp_path / "index", keys=keys)
    index.add(records(NEW[:1]))
    facts = index.consolidate(2).facts
    assert facts["steps"] == 2
    assert {"old_RR@10_before", "old_RR@10_after", "new_RR@10_before", "new_RR@10_after"} < facts.keys()
    assert index.documents[NEW[0].doc_id] == NEW[0]


def test_a_training_that_has_bettered_nothing_leaves_states_in_the_rows(tmp_path: Path) -> None:
    """The warm start, whose rows are the document states; a consolidation adds them again."""
    rates = ("learning_rate", "embedding_learning_rate", "head_learning_rate")
    slow = {f"training.{rate}": 1e-9 for rate in rates}
    index = dsi.build(records(OLD), tmp_path / "index", keys=SMALL | TREE | slow)
    assert index._now.growth.states_added


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
    found = answers(dsi.load(tmp_path / "index", prior="none"))
    differences = [
        [abs(one[doc_id] - other[doc_id]) for doc_id in other] for one, other in zip(found, scores, strict=True)
    ]
    assert all(one.keys() == other.keys() for one, other in zip(found, scores, strict=True))
    # in a tree, a document that others joined has lent its row to the node above them, and so to their siblings
    assert (np.array(differences) > 1e-5).mean() <= (0.15 if kind == "tree" else 0)
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
