"""The example store: bytes a pair, seconds per million pairs to write, and to read in batches as training does.

python scripts/bench_examples.py [MILLIONS]
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from dsi.report.tables import text_table
from dsi.training.batches import Batches
from dsi.training.examples import Pairs, Task, write_examples
from dsi.training.targets import Arrays

TOKENS, VOCABULARY, QUERIES_A_DOCUMENT, SHARD = 8, 32_000, 40, 10_000
BATCH, STEPS = 512, 2_000


def main() -> None:
    pairs = int(float(sys.argv[1]) * 1e6) if len(sys.argv) > 1 else 5_000_000
    with TemporaryDirectory() as name:
        folder = Path(name)
        start = time.perf_counter()
        examples = write_examples(folder, {"d2q": synthetic(pairs)}, VOCABULARY)
        made = time.perf_counter() - start
        start = time.perf_counter()
        task = synthetic(pairs)
        for shard in range(task.shards):
            task.pairs(shard)
        write = made - (time.perf_counter() - start)
        size = sum(file.stat().st_size for file in folder.iterdir())
        batches = Batches(examples, no_targets, BATCH, 0, 0, STEPS, {"d2q": 1.0})
        start = time.perf_counter()
        for step in range(STEPS):
            batches[step]
        read = time.perf_counter() - start
    per_million = {"write": write / pairs * 1e6, "read": read / (STEPS * BATCH) * 1e6}
    print(f"{pairs:,} pairs of about {TOKENS} tokens, read in random batches of {BATCH}")
    rows = [[what, f"{seconds:.2f}"] for what, seconds in per_million.items()]
    print(text_table(["", "seconds per million"], rows))
    print(f"bytes_a_pair={size / pairs:.2f} " + " ".join(f"{what}={value:.2f}" for what, value in per_million.items()))


def synthetic(pairs: int) -> Task:
    """Random tokens in shards, as the tokenizer gives them."""

    def shard(number: int) -> Pairs:
        random, first = np.random.default_rng(number), number * SHARD
        count = min(SHARD, pairs - first)
        lengths = 2 + random.poisson(TOKENS - 2, count)
        token_ids = random.integers(3, VOCABULARY, (count, int(lengths.max()))).tolist()
        documents = np.arange(first, first + count, dtype=np.uint32) // QUERIES_A_DOCUMENT
        return documents, [row[:length] for row, length in zip(token_ids, lengths.tolist(), strict=True)]

    return Task(-(-pairs // SHARD), shard)


def no_targets(doc_index: np.ndarray[Any, Any]) -> Arrays:
    return {}


if __name__ == "__main__":
    main()
