"""The Python API: what it accepts, what it refuses, and what it costs beside the model."""

import gc
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import Stages
from models import random_model

import dsi
from dsi.artifacts import Store, link, write_manifest
from dsi.cli import main
from dsi.errors import DsiError
from dsi.index.hits import Hit
from dsi.index.index import Index
from dsi.index.run import STAGES
from dsi.model.architecture import DifferentiableSearchIndex
from dsi.runtime import threads
from dsi.runtime.threads import one_thread, threads_for
from dsi.search.searcher import Searcher

TEXTS = ["bade fido", "gulu mono ri"]


@pytest.fixture(scope="module")
def run(tiny: Stages, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What dsi.load reads of a run, with a model that has learnt nothing."""
    folder, store = tmp_path_factory.mktemp("run"), Store(tmp_path_factory.mktemp("runs"))
    made = {"corpus": tiny.corpus, "tokenizer": tiny.tokenizer, "docids": tiny.docids.folder}

    def make(out_folder: Path) -> dict[str, Any]:
        stage = out_folder.name.split("-")[0]
        if stage in made:
            shutil.copytree(made[stage], out_folder, dirs_exist_ok=True)
            return {}
        vocabulary, sizes = tiny.docids.vocabulary, {"vocab_size": len(tiny.text), "query_length": 8}
        random_model(vocabulary.tokens, vocabulary.length, **sizes).save_pretrained(out_folder)
        return {}

    for stage in STAGES:
        link(store.build(stage, {"stage": stage}, make), folder / stage)
    (folder / "config.yaml").write_text("search: {beam: 5}\n")
    return folder


@pytest.fixture(scope="module")
def index(run: Path) -> Index:
    return dsi.load(run)


def ids(hits: list[Hit]) -> list[str]:
    return [hit.doc_id for hit in hits]


def test_search_arguments(index: Index) -> None:
    both = index.search(TEXTS, k=3)
    assert ids(index.search(TEXTS[0], k=3)) == ids(both[0])  # scores differ by rounding with the batch
    assert [[hit.rank for hit in hits] for hits in both] == [[1, 2, 3]] * 2
    assert index.search([]) == []
    wrong: list[Any] = [0, -1, True, 2.0, "2", float("nan"), np.int64(0)]
    for k in [*wrong, None]:
        with pytest.raises(ValueError, match=r"^k must be a whole number above 0, not "):
            index.search(TEXTS, k=k)
        with pytest.raises(ValueError, match=r"^k must be"):
            index.search([], k=k)
    for beam in wrong:
        with pytest.raises(ValueError, match=r"^beam must be a whole number above 0, not "):
            index.search(TEXTS, beam=beam)
    three, five = np.array([3, 5])
    assert index.search(TEXTS, k=three, beam=five) == both


def test_texts_may_come_in_anything_that_has_an_order(index: Index) -> None:
    pandas = pytest.importorskip("pandas")
    both = index.search(TEXTS)
    for texts in (
        tuple(TEXTS),
        iter(TEXTS),
        np.array(TEXTS),
        np.array(TEXTS, dtype=object),
        pandas.Series(TEXTS, index=[7, 5]),
    ):
        assert index.search(texts) == both
    assert index.search(np.str_(TEXTS[0])) == index.search(TEXTS[0])


@pytest.mark.parametrize("texts", [None, 3, b"bade", {"bade"}, {"bade": 1}, np.array("bade"), np.array([["bade"]])])
def test_what_is_no_sequence_of_texts_is_refused(index: Index, texts: Any) -> None:
    with pytest.raises(TypeError, match=r"^texts must be a string, or a list"):
        index.search(texts)


def test_a_table_is_not_searched_for_the_names_of_its_columns(index: Index) -> None:
    pandas = pytest.importorskip("pandas")
    with pytest.raises(TypeError, match=r"^texts must be a string, or a list .* not DataFrame"):
        index.search(pandas.DataFrame({"bade": TEXTS}))


@pytest.mark.parametrize("wrong", [None, float("nan"), 3, b"bade", ["bade"], ("q1", "bade")])
def test_a_text_that_is_no_string_is_named_by_its_place(index: Index, wrong: Any) -> None:
    with pytest.raises(TypeError, match=r"^texts\[1\] must be a string, not "):
        index.search([TEXTS[0], wrong])


def test_texts_of_any_content(index: Index) -> None:
    with pytest.raises(ValueError, match=r"^texts\[1\] has half a surrogate pair at character 4"):
        index.search([TEXTS[0], "bade\udce9"])
    found = index.search(["", TEXTS[0], " \n\t"])
    assert ids(found[1]) == ids(index.search(TEXTS[0]))
    assert (found[0], found[2], index.search("")) == ([], [], [])
    assert len(index.search("bade " * 10_000, k=2)) == 2
    every = index.search(TEXTS[0], k=10**30)
    assert sorted(ids(every)) == sorted(index.corpus.doc_ids(range(len(index.corpus))))
    assert ids(every)[:3] == ids(index.search(TEXTS[0], k=3, beam=10**30))


def test_what_cannot_be_loaded_is_said(run: Path) -> None:
    for folder, said in (
        (run / "nowhere", "there is no such folder"),
        (run / "config.yaml", "there is no such folder"),
        (run / "model", "model/config.json: no index of dsi, whose class"),
        (run / "docids", "no finished stage corpus there"),
    ):
        with pytest.raises(DsiError, match=said):
            dsi.load(folder)
    with pytest.raises(DsiError, match="unknown key; did you mean beam"):
        dsi.load(run, beem=3)
    assert dsi.load(str(run), beam=7).config.beam == 7


def test_stages_of_two_runs_are_no_index(run: Path, tmp_path: Path) -> None:
    for stage in STAGES:
        shutil.copytree(run / stage, tmp_path / stage)
    write_manifest(tmp_path / "docids", {"stage": "docids", "fingerprint": "a", "inputs": {"corpus/": "another"}})
    with pytest.raises(DsiError, match="its docids was not made from its corpus; copy all stages of"):
        dsi.load(tmp_path)


def test_query_command(run: Path, index: Index, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["query", str(run), f" {TEXTS[0]} ", "-k", "2"]) == 0
    assert gc.isenabled()
    assert [line.split()[-1] for line in capsys.readouterr().out.splitlines()[::2]] == ids(index.search(TEXTS[0], k=2))
    assert main(["query", str(run), TEXTS[0] + "\udce9"]) == 0  # an argument's byte that is not UTF-8
    capsys.readouterr()
    assert main(["query", str(run), " "]) == 2
    assert capsys.readouterr().err == "dsi: error: the query is empty\n"
    assert main(["query", str(run / "nowhere"), TEXTS[0]]) == 2
    assert gc.isenabled()


def test_several_threads_may_search(run: Path) -> None:
    opened, found = dsi.load(run), list[Any]()

    def work() -> None:
        try:
            found.append(opened.search(TEXTS))
        except BaseException as error:
            found.append(error)

    together(work, 8)
    assert found == [opened.search(TEXTS)] * 8


def together(work: Callable[[], object], count: int) -> None:
    workers = [threading.Thread(target=work) for _ in range(count)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()


@pytest.fixture
def two_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def number_of_threads() -> tuple[int, bool]:
    """Those of OpenMP, and whether MKL, if it is there, has two."""
    return torch.get_num_threads(), "mkl_get_max_threads() : 2" in torch.__config__.parallel_info()


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere, torch may have no OpenMP")
@pytest.mark.usefixtures("two_threads")
def test_one_thread_is_of_the_calling_thread_and_until_the_block_is_left() -> None:
    before, elsewhere = number_of_threads(), list[int]()
    with suppress(KeyboardInterrupt), one_thread():
        assert number_of_threads() == (1, False)
        together(lambda: elsewhere.append(torch.get_num_threads()), 1)  # a thread that begins in the meantime
        with one_thread():
            pass
        assert torch.get_num_threads() == 1
        raise KeyboardInterrupt
    assert number_of_threads() == before
    assert before[0] == elsewhere[0] == 2
    torch.set_num_threads(3)
    with one_thread():
        pass
    assert torch.get_num_threads() == 3


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere, torch may have no OpenMP")
@pytest.mark.usefixtures("two_threads")
def test_small_batches_are_searched_with_one_thread_and_large_ones_with_all(
    index: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []
    encode = DifferentiableSearchIndex.encode

    def watched(model: DifferentiableSearchIndex, *inputs: torch.Tensor) -> torch.Tensor:
        seen.append(torch.get_num_threads())
        return encode(model, *inputs)

    monkeypatch.setattr(DifferentiableSearchIndex, "encode", watched)
    index.search(TEXTS)
    monkeypatch.setattr(threads, "SMALL", 0)
    index.search(TEXTS)
    assert (seen, torch.get_num_threads()) == ([1, 2], 2)


def test_work_grows_with_rows_and_beams(index: Index) -> None:
    work = index.searcher.searcher._work
    assert work([[3, 1]] * 20, 5) == pytest.approx(20 * work([[3, 1]], 5))
    assert work([[3, 1]], 1) < work([[3, 1]], 5) < work([[3] * 8, *[[1]] * 3], 5)
    with threads_for(1e12):
        assert torch.get_num_threads() == 1  # that of the tests


def test_int8_is_the_same_work(tiny: Stages) -> None:
    from dsi.model.precision import to_precision

    vocabulary = tiny.docids.vocabulary
    model = random_model(vocabulary.tokens, vocabulary.length)
    work = Searcher(model, tiny.docids)._work([[3, 1]], 5)
    assert Searcher(to_precision(model, "int8", "search.precision"), tiny.docids)._work([[3, 1]], 5) == work


def test_the_start_imports_what_is_needed() -> None:
    """No torch for --help, and of the libraries of other stages none to search."""
    script = """
import sys, dsi, dsi.cli
assert not {"torch", "transformers", "pyarrow", "pandas"} & set(sys.modules)
import dsi.index.index
loaded = {"datasets", "pandas", "sklearn", "pyserini", "ir_measures", "ir_datasets", "matplotlib"} & set(sys.modules)
assert not loaded, loaded
"""
    subprocess.run([sys.executable, "-c", script], check=True)
