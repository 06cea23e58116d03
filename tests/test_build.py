"""An index of one's own documents in one call: forms of input, sizes, faults that leave nothing, a kill."""

import gc
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import kill_when, tiny_documents
from test_saved import QUERIES, SMALL

import dsi
from dsi.cli import main
from dsi.config import load_config
from dsi.config.shipped import configuration
from dsi.errors import DsiError
from dsi.from_documents.sizes import TABLE, sizes_for
from dsi.runtime.system import lock

DOCUMENTS = [document._asdict() for document in tiny_documents()]
SET = [f"{key}={value}" for key, value in SMALL.items()]


def found(index: dsi.Index) -> list[list[tuple[str, float]]]:
    return [[(hit.doc_id, hit.score) for hit in hits] for hits in index.search(QUERIES)]


@pytest.fixture(scope="module")
def jsonl(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("given") / "documents.jsonl"
    path.write_text("".join(json.dumps(document) + "\n" for document in DOCUMENTS))
    return path


@pytest.fixture(scope="module")
def built(jsonl: Path) -> Path:
    assert main(["build", str(jsonl), "-o", str(jsonl.parent / "index"), "--set", *SET]) == 0
    return jsonl.parent / "index"


def test_the_command_makes_a_folder_and_nothing_else(built: Path) -> None:
    assert sorted(path.name for path in built.parent.iterdir()) == ["documents.jsonl", "index"]
    assert len(dsi.load(built)) == 60


def test_every_form_of_documents_gives_the_same_index(built: Path, tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    expected = found(dsi.load(built))
    pairs = ((document["doc_id"], f"{document['title']} {document['text']}") for document in DOCUMENTS)
    assert [hits[0][0] for hits in found(dsi.build(pairs, keys=SMALL))]
    dataset = datasets.Dataset.from_list(DOCUMENTS)
    told = SMALL | {"training.report_to": ["tensorboard"]}  # which changes nothing
    for number, documents in enumerate((iter(DOCUMENTS), dataset)):
        assert found(dsi.build(documents, tmp_path / f"{number}", keys=told)) == expected
        (log,) = (tmp_path / f"{number}-logs").iterdir()
        assert [path.name[:10] for path in log.iterdir()] == ["events.out"]


def test_texts_alone_in_a_folder_that_goes_with_the_index() -> None:
    index = dsi.build([document["text"] for document in DOCUMENTS], keys=SMALL | {"search.prior": "none"})
    assert list(index.documents) == [str(number) for number in range(60)]
    folder = index._now.parts.folder
    assert folder.exists()
    index.save(folder.parent / "kept")
    assert dsi.load(folder.parent / "kept").search(QUERIES[0]) == index.search(QUERIES[0])
    del index
    gc.collect()
    assert not folder.exists()


def test_queries_of_ones_own(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    queries = {f"q{number}": " ".join(document["text"].split()[:3]) for number, document in enumerate(DOCUMENTS)}
    qrels = {f"q{number}": [document["doc_id"]] for number, document in enumerate(DOCUMENTS)}
    dsi.build(DOCUMENTS, tmp_path / "index", queries=queries, qrels=qrels, keys=SMALL)
    out = capsys.readouterr().out
    assert "test queries; atomic docids" in out
    assert "simulated" not in out
    assert "simulated" not in (tmp_path / "index/README.md").read_text()
    with pytest.raises(DsiError, match="queries and qrels are given together"):
        dsi.build(DOCUMENTS, tmp_path / "other", queries=queries)
    with pytest.raises(DsiError, match="there is no document 'nowhere', or it is empty"):
        dsi.build(DOCUMENTS, tmp_path / "other", queries=queries, qrels={"q1": "nowhere"}, keys=SMALL)


def failing() -> Iterator[str]:
    yield "one"
    raise OSError("the disk is gone")


@pytest.mark.parametrize(
    ("documents", "keys", "said"),
    [
        ([], {}, "documents: there are none"),
        (iter(()), {}, "documents: there are none"),
        ([("1", "a"), ("1", "b")], {}, "document id '1' is used already"),
        (["a", None], {}, "documents, document 2: a document is a text"),
        (["a", ("1", "b")], {}, "documents, document 2: this document has an id"),
        (failing(), {}, "the iterator failed after 1: OSError: the disk is gone"),
        (["", " "], {}, r"^documents\.jsonl: the corpus is empty: none of its 2 documents has a title or text"),
        (["!!!", "🐟"], {}, r"^corpus\.simulated_queries: no document has a word"),
        (["a"], {"search.beem": 3}, "^keys: search.beem: unknown key; did you mean beam"),
        (["a"], {"search.beam": 0}, "^keys: search.beam"),
        ("nowhere.jsonl", {}, "'nowhere.jsonl': there is no such file or folder; what is no path is given as a list"),
        ("fish " * 2_000, {}, "there is no such file or folder"),
        ({"a", "b"}, {}, "documents: expected a list of them or a path, found set"),
        (Path("no/where"), {}, "there is no such file or folder"),
        (7, {}, "documents: expected a list of them or a path, found int 7"),
    ],
)
def test_faults_leave_nothing(tmp_path: Path, documents: Any, keys: dict[str, Any], said: str) -> None:
    with pytest.raises(DsiError, match=said):
        dsi.build(documents, tmp_path / "index", keys=keys)
    assert not list(tmp_path.iterdir())


def test_tables_are_given_by_their_rows(tmp_path: Path) -> None:
    pandas = pytest.importorskip("pandas")
    with pytest.raises(DsiError, match=r"documents: a table would be the names of its columns; .* to_dict"):
        dsi.build(pandas.DataFrame({"text": ["a b", "c d"]}), tmp_path / "index")
    with (tmp_path / "texts.txt").open("w+") as file, pytest.raises(DsiError, match="found TextIOWrapper"):
        dsi.build(file, tmp_path / "index")
    for qrels in (5, {"q": None}):
        with pytest.raises(DsiError, match=r"^qrels: "):
            dsi.build(["a"], tmp_path / "index", queries={"q": "a"}, qrels=qrels)
    assert [path.name for path in tmp_path.iterdir()] == ["texts.txt"]


def test_one_build_at_a_time_makes_a_folder(jsonl: Path, tmp_path: Path) -> None:
    with (tmp_path / ".index.lock").open("wb") as file:
        lock(file, wait=False)
        with pytest.raises(DsiError, match="index: another process is building it; wait, or name another folder"):
            dsi.build(jsonl, tmp_path / "index", keys=SMALL)
    assert [path.name for path in tmp_path.iterdir()] == [".index.lock"]


def test_a_folder_that_exists_is_refused_before_anything_is_read(tmp_path: Path) -> None:
    (tmp_path / "index").mkdir()
    with pytest.raises(DsiError, match="index exists already; name a new folder, or remove it"):
        dsi.build(failing(), tmp_path / "index")
    assert main(["build", "nowhere", "-o", str(tmp_path / "index")]) == 2
    assert [path.name for path in tmp_path.iterdir()] == ["index"]


def test_killed_it_goes_on(jsonl: Path, built: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "dsi", "build", str(jsonl), "-o", str(tmp_path / "index"), "--set", *SET]
    kill_when(command, tmp_path, ".index.building/runs/index/docids")
    assert sorted(path.name for path in tmp_path.iterdir()) == [".index.building", ".index.lock"]
    kept = next((tmp_path / ".index.building/runs/.store").glob("corpus-*")).stat().st_mtime_ns
    assert kept
    assert main(command[3:]) == 0
    assert [path.name for path in tmp_path.iterdir()] == ["index"]
    assert found(dsi.load(tmp_path / "index")) == found(dsi.load(built))


def test_paragraphs_and_a_configuration(tmp_path: Path) -> None:
    (tmp_path / "notes").mkdir()
    for number, document in enumerate(DOCUMENTS[:20]):
        words = document["text"].split()
        (tmp_path / f"notes/{number}.txt").write_text(" ".join(words[:12]) + "\n\n" + " ".join(words[12:]))
    (tmp_path / "my.yaml").write_text(
        "corpus: {source: pydoc, simulated_queries: 10}\nbaselines: {systems: []}\ntraining: {batch_size: 32}\n"
    )
    options = ["--split", "paragraphs", "--config", str(tmp_path / "my.yaml"), "--set", *SET]
    assert main(["build", str(tmp_path / "notes"), "-o", str(tmp_path / "index"), *options]) == 0
    index = dsi.load(tmp_path / "index")
    assert len(index) == 40
    assert "19.txt#2" in index.documents
    assert index.config.prior == "none"


def test_sizes_follow_the_number_of_documents() -> None:
    bounds = [sizes.documents for sizes in TABLE]
    assert bounds == sorted(bounds)
    assert bounds[-1] == np.inf
    for documents in (1, 1_000, 5_000, 20_000, 10**7):
        keys = sizes_for(documents).keys
        config = load_config(configuration("documents"), [("corpus.path", "x.jsonl"), *keys.items()])
        assert config.training.warmup_steps <= config.training.steps
        assert config.training.eval_steps <= config.training.steps
        assert (config.model.d_model, config.model.d_ff) in ((256, 512), (128, 256))
