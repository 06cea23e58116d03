"""Synthetic queries, tokenised pairs and batches."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import Stages

from dsi.config import Doc2QueryConfig, KnownItemConfig
from dsi.corpus.store import Corpus, Document
from dsi.doc2query import expand as expand_module
from dsi.doc2query.expand import expand
from dsi.doc2query.known_item import KnownItemGenerator, read_collection, words_of
from dsi.doc2query.shards import read_shards
from dsi.training.batches import Batches
from dsi.training.examples import write_examples


def generate(config: KnownItemConfig, documents: list[Document]) -> list[list[str]]:
    collection = read_collection((document.content() for document in documents), len(documents))
    return KnownItemGenerator(config, collection)(documents, np.random.default_rng(0))


def untitled(*texts: str) -> list[Document]:
    return [Document(str(number), "", text) for number, text in enumerate(texts)]


def test_simulated_queries_are_words_of_their_document() -> None:
    documents = untitled("Copy a directory tree, copy it twice!", "the the the", "", "!?", "Zebra")
    queries = generate(KnownItemConfig(queries=30), documents)
    assert [len(texts) for texts in queries] == [30, 30, 0, 0, 30]
    for document, texts in zip(documents, queries, strict=True):
        for text in texts:
            words = text.split()
            assert len(words) == len(set(words)) >= 1
            assert set(words) <= set(words_of(document.text))
    lengths = Counter(len(text.split()) for text in queries[0])
    assert {2, 3, 4, 5} <= set(lengths) <= {1, 2, 3, 4, 5, 6}  # six different words


def test_half_of_the_queries_keep_the_words_in_order() -> None:
    words = [f"w{number}" for number in range(100, 200)]
    queries = generate(KnownItemConfig(queries=2_000, min_words=3, mean_words=3), untitled(" ".join(words)))[0]
    in_order = sum(text.split() == sorted(text.split()) for text in queries)
    assert 0.54 < in_order / len(queries) < 0.63  # a half, and one sixth of the others by chance


def test_lengths_follow_the_model() -> None:
    text = " ".join(f"w{number}" for number in range(10_000))
    queries = generate(KnownItemConfig(queries=5_000, min_words=2, mean_words=5), untitled(text))[0]
    lengths = np.array([len(query.split()) for query in queries])
    assert lengths.min() == 2
    assert abs(lengths.mean() - 5) < 0.1  # standard error 0.024
    assert abs(lengths.var() - 3) < 0.3  # Poisson of mean 3


@pytest.mark.parametrize(
    ("terms", "expected"),
    [
        ("popular", {"often": 3, "once": 1, "common": 1}),
        ("discriminative", {"often": 1, "once": 1, "common": 1 / 51}),
        ("tf_idf", {"often": 2 * np.log(52), "once": np.log(52), "common": np.log(2)}),
    ],
)
def test_words_are_drawn_by_the_term_model(terms: Any, expected: dict[str, float]) -> None:
    config = KnownItemConfig(queries=20_000, min_words=1, mean_words=1, terms=terms, discrimination=1.0)
    drawn = Counter(generate(config, untitled("often once often common often", *["common"] * 50))[0])
    total = sum(expected.values())
    for word, weight in expected.items():
        share = weight / total
        assert abs(drawn[word] / 20_000 - share) < 5 * np.sqrt(share / 20_000)


def test_title_words_count_more() -> None:
    documents = [Document("1", "title", "text"), Document("2", "title", "text")]
    config = KnownItemConfig(queries=10_000, min_words=1, mean_words=1, terms="popular", title_weight=3.0)
    assert abs(Counter(generate(config, documents)[0])["title"] / 10_000 - 0.75) < 0.03


def test_spans_are_consecutive_words_and_noise_comes_from_the_collection() -> None:
    documents = untitled("one two three two one six", "seven eight")
    spans = generate(KnownItemConfig(queries=50, spans=1.0), documents)
    assert all(text in documents[0].text for text in spans[0])
    assert all(text in documents[1].text for text in spans[1])
    noisy = generate(KnownItemConfig(queries=2_000, noise=0.5), documents)[1]
    words = Counter(word for text in noisy for word in text.split())
    assert set(words) == set(words_of("one two three six seven eight"))
    assert abs((words["one"] + words["two"] + words["three"] + words["six"]) / words.total() - 0.5 * 6 / 8) < 0.05


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
