"""Tokenised pairs and batches."""

from concurrent.futures import ThreadPoolExecutor
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import Stages, read_all
from hypothesis import given
from hypothesis import strategies as st

from dsi.config import Doc2QueryConfig, KnownItemConfig, TasksConfig
from dsi.corpus.store import Corpus
from dsi.doc2query.expand import expand
from dsi.errors import DsiError
from dsi.runtime.processes import Rank
from dsi.training.batches import Batches, permuted
from dsi.training.examples import Examples, Task, write_examples
from dsi.training.targets import DocidTargets
from dsi.training.tasks import training_tasks


def write(folder: Path, tiny: Stages, **tasks: float) -> Examples:
    config = TasksConfig(**{"d2q": 0.0, "passage_length": 9, "spans": 4, **tasks})  # type: ignore[arg-type]
    pairs = training_tasks(config, Corpus(tiny.corpus), tiny.doc2query, tiny.text, query_length=12, seed=0)
    return write_examples(folder, pairs, vocabulary=len(tiny.text))


@pytest.fixture
def batches(tiny: Stages, tmp_path: Path) -> Batches:
    examples = write(tmp_path, tiny, d2q=1.0)
    return Batches(examples, DocidTargets(tiny.docids), batch_size=8, pad=0, seed=0, steps=200, weights={"d2q": 1.0})


def test_examples_hold_the_tokenised_queries(tiny: Stages, batches: Batches) -> None:
    pairs = read_all(tiny.doc2query)
    assert len(batches.examples) == len(pairs) == batches.examples.tasks["d2q"]
    order = np.random.default_rng(0).permutation(len(pairs))
    ids, mask = batches.examples.padded(order, pad=0)
    for number, row, used in zip(order, ids, mask, strict=True):
        doc_index, text = pairs[number]
        assert row[used].tolist() == tiny.text(text, truncation=True, max_length=12)["input_ids"]
        assert not row[~used].any()
        assert batches.examples.doc_index[number] == doc_index


def test_tasks_come_from_the_document_and_its_real_queries(tiny: Stages, tmp_path: Path) -> None:
    for split in ("queries", "qrels"):  # dev queries as training queries
        (tmp_path / f"{split}.train.arrow").symlink_to(tiny.corpus / f"{split}.dev.arrow")
    (tmp_path / "documents.arrow").symlink_to(tiny.corpus / "documents.arrow")
    corpus = Corpus(tmp_path)
    config = TasksConfig(d2q=0.0, first_p=1.0, daq=1.0, labelled=1.0, passage_length=9, spans=4)
    pairs = training_tasks(config, corpus, tiny.doc2query, tiny.text, query_length=12, seed=0)
    examples = write_examples(tmp_path / "examples", pairs, vocabulary=1 << 17)  # four bytes a token
    assert examples.tokens.dtype == np.uint32
    real = list(corpus.relevant("train"))
    assert examples.tasks == {"first_p": len(corpus), "daq": 4 * len(corpus), "labelled": len(real)}
    ids, mask = examples.padded(np.arange(len(examples)), pad=0)
    texts = [row[used].tolist() for row, used in zip(ids, mask, strict=True)]
    for doc_index, text in zip(examples.doc_index[: 5 * len(corpus)], texts, strict=False):
        document = tiny.text(corpus[int(doc_index)].content())["input_ids"]
        assert len(text) == 9
        assert any(document[start : start + 8] == text[:-1] for start in range(len(document)))
    assert [text[:8] for text in texts[: len(corpus)]] == [
        tiny.text(document.content())["input_ids"][:8] for document in corpus
    ]
    last = zip(examples.doc_index[-len(real) :], texts[-len(real) :], strict=True)
    assert list(last) == [(number, tiny.text(query.text)["input_ids"]) for query, number in real]


def test_processes_that_share_the_tokenising_write_what_one_does(tiny: Stages, tmp_path: Path) -> None:
    queries = tmp_path / "doc2query"
    queries.mkdir()
    config = Doc2QueryConfig(known_item=KnownItemConfig(queries=5), shard_size=7)
    expand(queries, doc2query=config, corpus_folder=tiny.corpus)
    mixed = TasksConfig(first_p=1.0, daq=1.0, passage_length=9, spans=4)

    def own_tasks() -> dict[str, Task]:
        """The tasks of one process: a tokenizer keeps the length it cuts to, so threads cannot share one."""
        return training_tasks(mixed, Corpus(tiny.corpus), queries, deepcopy(tiny.text), query_length=12, seed=0)

    assert own_tasks()["d2q"].shards == 9
    alone = write_examples(tmp_path / "one", own_tasks(), 200)
    with ThreadPoolExecutor() as pool:
        ranks = [(own_tasks(), Rank(process, 3)) for process in range(3)]
        shared = list(pool.map(lambda own: write_examples(tmp_path / "three", own[0], 200, own[1]), ranks))
    assert all(examples.tasks == alone.tasks for examples in shared)
    files = sorted(path.name for path in (tmp_path / "one").iterdir())
    assert files == ["doc_index.bin", "lengths.bin", "starts.npy", "tasks.json", "tokens.bin"]
    for name in files:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "three" / name).read_bytes()


def test_a_task_without_examples_is_an_error(tiny: Stages, tmp_path: Path) -> None:
    with pytest.raises(DsiError, match=r"training\.tasks\.labelled: the corpus has no split 'train'"):
        write(tmp_path, tiny, labelled=1.0)
    (tmp_path / "nothing").mkdir()
    config = TasksConfig()
    pairs = training_tasks(config, Corpus(tiny.corpus), tmp_path / "nothing", tiny.text, 12, seed=0)
    with pytest.raises(DsiError, match=r"training\.tasks\.d2q: there is nothing to train on"):
        write_examples(tmp_path / "examples", pairs, 100)


def test_every_example_comes_once_an_epoch_in_batches_of_similar_length(batches: Batches) -> None:
    size = len(batches.examples)
    seen = np.concatenate([batches.batch(step) for step in range(64 * 3)])
    assert np.bincount(seen, minlength=size).min() >= len(seen) // size
    assert np.bincount(seen, minlength=size).max() <= len(seen) // size + 1
    spread = np.mean([np.ptp(batches.examples.lengths[batches.batch(step)]) for step in range(64)])
    assert spread < 1.0 < np.ptp(batches.examples.lengths)


def test_tasks_come_in_the_shares_asked_for(tiny: Stages, tmp_path: Path) -> None:
    examples = write(tmp_path, tiny, d2q=1.0, first_p=2.0, daq=5.0)
    mixed = Batches(
        examples,
        DocidTargets(tiny.docids),
        8,
        pad=0,
        seed=0,
        steps=999,
        weights={"d2q": 1.0, "first_p": 2.0, "daq": 5.0},
    )
    sizes = list(examples.tasks.values())
    for steps in (64, 640):
        rows = np.concatenate([mixed.batch(step) for step in range(steps)])
        task = np.searchsorted(np.cumsum(sizes), rows, side="right")
        np.testing.assert_allclose(np.bincount(task) / len(rows), [1 / 8, 2 / 8, 5 / 8], atol=1 / 512)
    for number, start in enumerate(np.cumsum(sizes) - sizes):  # and each task's examples equally often
        times = np.bincount(rows[task == number] - start, minlength=sizes[number])
        assert np.ptp(times) <= 1


@given(st.integers(1, 3000), st.integers(0, 9))
def test_permuted_is_a_permutation(size: int, seed: int) -> None:
    key = np.random.default_rng(seed).integers(1 << 32, size=4)
    assert sorted(permuted(np.arange(size), size, key)) == list(range(size))


def test_permuted_shuffles_well() -> None:
    size = 100_000
    first, second = (
        permuted(np.arange(size), size, np.random.default_rng(seed).integers(1 << 32, size=4)) for seed in (0, 1)
    )
    for values, others in ((first, np.arange(size)), (first, second), (first[1:], first[:-1])):
        assert abs(np.corrcoef(values, others)[0, 1]) < 0.02
    assert abs((np.diff(first) > 0).mean() - 0.5) < 0.01


def test_processes_and_micro_batches_divide_a_batch(tiny: Stages, batches: Batches) -> None:
    def rows(**options: Any) -> list[tuple[int, ...]]:
        part = Batches(
            batches.examples, DocidTargets(tiny.docids), 8, pad=0, seed=0, steps=200, weights={"d2q": 1.0}, **options
        )
        items = [part[item] for item in range(options.get("accumulation", 1))]
        return [tuple(row) for item in items for row in np.pad(item["input_ids"].numpy(), ((0, 0), (0, 12)))[:, :12]]

    numbers = batches[0]["rows"].numpy()
    ids, _ = batches.examples.padded(numbers, pad=0)
    assert (batches[0]["input_ids"].numpy() == ids).all()
    assert (batches[0]["codes"].numpy()[:, 0] == tiny.docids.codes[batches.examples.doc_index[numbers], 0]).all()
    whole = sorted(rows())
    assert whole == sorted(rows(process=0, processes=2) + rows(process=1, processes=2))
    assert whole == sorted(rows(accumulation=4))
    again = Batches(
        batches.examples, DocidTargets(tiny.docids), 8, pad=0, seed=0, steps=200, weights={"d2q": 1.0}, first_step=5
    )
    assert (again[0]["input_ids"] == batches[5]["input_ids"]).all()
