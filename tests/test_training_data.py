"""Synthetic queries, tokenised pairs and batches."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from conftest import Stages

from dsi.config import Doc2QueryConfig, KnownItemConfig
from dsi.corpus.store import Corpus
from dsi.doc2query import expand as expand_module
from dsi.doc2query.expand import expand
from dsi.doc2query.known_item import KnownItemGenerator, document_frequencies, words_of
from dsi.doc2query.shards import read_shards
from dsi.training.batches import Batches
from dsi.training.examples import write_examples


def test_simulated_queries_are_words_of_their_document() -> None:
    contents = ["Copy a directory tree, copy it twice!", "the the the", "", "!?", "Zebra"]
    generator = KnownItemGenerator(KnownItemConfig(queries=30), *document_frequencies(contents))
    queries = generator(contents, np.random.default_rng(0))
    assert [len(texts) for texts in queries] == [30, 30, 0, 0, 30]
    for content, texts in zip(contents, queries, strict=True):
        for text in texts:
            words = text.split()
            assert len(words) == len(set(words)) <= 7
            assert set(words) <= set(words_of(content))
    lengths = Counter(len(text.split()) for text in queries[0])
    assert set(lengths) == {2, 3, 4, 5, 6}  # six different words


def test_spans_are_consecutive_words_and_noise_comes_from_the_collection() -> None:
    contents = ["one two three four five six", "seven eight"]
    frequencies = document_frequencies(contents)
    spans = KnownItemGenerator(KnownItemConfig(queries=50, spans=1.0, max_words=4), *frequencies)
    assert all(text in contents[0] for text in spans(contents, np.random.default_rng(0))[0])
    noisy = KnownItemGenerator(KnownItemConfig(queries=50, noise=0.5), *frequencies)
    words = {word for text in noisy(contents, np.random.default_rng(0))[1] for word in text.split()}
    assert {"seven", "eight"} < words <= set(" ".join(contents).split())


def test_rare_words_are_drawn_more_often() -> None:
    contents = ["common rare"] + ["common filler"] * 50
    generator = KnownItemGenerator(
        KnownItemConfig(queries=500, min_words=1, max_words=1), *document_frequencies(contents)
    )
    counts = Counter(generator(contents[:1], np.random.default_rng(0))[0])
    assert counts["rare"] > 3 * counts["common"] > 0


def read_all(folder: Path) -> list[tuple[int, str]]:
    return [pair for doc_index, texts in read_shards(folder) for pair in zip(doc_index.tolist(), texts, strict=True)]


def test_expansion_goes_on_after_an_interruption(tiny: Stages, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = Doc2QueryConfig(known_item=KnownItemConfig(queries=3), shard_size=7)
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    whole.mkdir()
    parts.mkdir()
    counts = expand(whole, doc2query=config, corpus=tiny.corpus)
    assert counts["queries"] == len(read_all(whole)) == 3 * len(Corpus(tiny.corpus))
    assert [doc_index for doc_index, _ in read_all(whole)] == sorted([*range(len(Corpus(tiny.corpus)))] * 3)

    original = expand_module.write_shard
    written: list[Path] = []

    def write_then_die(path: Path, *arguments: object) -> int:
        if len(written) == 2:
            raise KeyboardInterrupt
        written.append(path)
        return original(path, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(expand_module, "write_shard", write_then_die)
    with pytest.raises(KeyboardInterrupt):
        expand(parts, doc2query=config, corpus=tiny.corpus)
    monkeypatch.setattr(expand_module, "write_shard", original)
    assert expand(parts, doc2query=config, corpus=tiny.corpus) == counts
    files = sorted(path.name for path in whole.iterdir())
    assert files == sorted(path.name for path in parts.iterdir())
    assert all((whole / name).read_bytes() == (parts / name).read_bytes() for name in files)


@pytest.fixture
def batches(tiny: Stages, tmp_path: Path) -> Batches:
    examples = write_examples(tmp_path, tiny.doc2query, tiny.tokenizer, length=12)
    return Batches(examples, tiny.docids.codes, batch_size=8, pad=0, seed=0, steps=200)


def test_examples_hold_the_tokenised_queries(tiny: Stages, batches: Batches) -> None:
    pairs = read_all(tiny.doc2query)
    assert len(batches.examples) == len(pairs)
    ids, mask = batches.examples.padded(np.arange(20), pad=0)
    for (doc_index, text), row, used, number in zip(pairs, ids, mask, range(20), strict=False):
        assert row[used].tolist() == tiny.text(text, truncation=True, max_length=12)["input_ids"]
        assert not row[~used].any()
        assert batches.examples.doc_index[number] == doc_index


def test_every_example_comes_once_an_epoch_in_batches_of_similar_length(batches: Batches) -> None:
    size = len(batches.examples)
    seen = np.concatenate([batches.batch(step) for step in range(64 * 3)])
    assert np.bincount(seen, minlength=size).min() >= len(seen) // size
    assert np.bincount(seen, minlength=size).max() <= len(seen) // size + 1
    spread = np.mean([np.ptp(batches.examples.lengths[batches.batch(step)]) for step in range(64)])
    assert spread < 1.0 < np.ptp(batches.examples.lengths)


def test_processes_and_micro_batches_divide_a_batch(tiny: Stages, batches: Batches) -> None:
    def rows(**options: int) -> list[tuple[int, ...]]:
        part = Batches(batches.examples, tiny.docids.codes, 8, pad=0, seed=0, steps=200, **options)
        items = [part[item] for item in range(options.get("accumulation", 1))]
        return [tuple(row) for item in items for row in np.pad(item["input_ids"].numpy(), ((0, 0), (0, 12)))[:, :12]]

    whole = sorted(rows())
    assert whole == sorted(rows(process=0, processes=2) + rows(process=1, processes=2))
    assert whole == sorted(rows(accumulation=4))
    whole_step_5 = Batches(batches.examples, tiny.docids.codes, 8, pad=0, seed=0, steps=200, first_step=5)[0]
    assert (whole_step_5["input_ids"] == batches[5]["input_ids"]).all()
