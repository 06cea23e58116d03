"""Tokenised pairs and batches."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import Stages, read_all

from dsi.training.batches import Batches
from dsi.training.examples import write_examples


@pytest.fixture
def batches(tiny: Stages, tmp_path: Path) -> Batches:
    examples = write_examples(tmp_path, tiny.doc2query, tiny.tokenizer, length=12)
    return Batches(examples, tiny.docids, batch_size=8, pad=0, seed=0, steps=200)


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
    def rows(**options: Any) -> list[tuple[int, ...]]:
        part = Batches(batches.examples, tiny.docids, 8, pad=0, seed=0, steps=200, **options)
        items = [part[item] for item in range(options.get("accumulation", 1))]
        return [tuple(row) for item in items for row in np.pad(item["input_ids"].numpy(), ((0, 0), (0, 12)))[:, :12]]

    whole = sorted(rows())
    assert whole == sorted(rows(process=0, processes=2) + rows(process=1, processes=2))
    assert whole == sorted(rows(accumulation=4))
    whole_step_5 = Batches(batches.examples, tiny.docids, 8, pad=0, seed=0, steps=200, first_step=5)[0]
    assert (whole_step_5["input_ids"] == batches[5]["input_ids"]).all()
