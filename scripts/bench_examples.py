"""The example store: bytes per pair, and seconds per million pairs to write, and to read in batches as training does.

python scripts/bench_examples.py [MILLIONS]
"""

import argparse
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from timing import timed

from dsi.report.tables import text_table
from dsi.training.batches import Batches
from dsi.training.examples import Pairs, Task, write_examples

TOKENS, VOCABULARY, QUERIES_PER_DOCUMENT, SHARD = 8, 32_000, 40, 10_000
BATCH, STEPS = 512, 2_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("millions", nargs="?", type=float, default=5.0, help="pairs, in millions (default: 5)")
    pairs = int(parser.parse_args().millions * 1e6)
    with TemporaryDirectory() as name:
        folder = Path(name)
        task = synthetic(pairs)
        made_and_written, examples = timed(lambda: write_examples(folder, {"d2q": task}, VOCABULARY))
        made, _ = timed(lambda: sum(len(task.pairs(shard)[0]) for shard in range(task.shards)))
        size = sum(file.stat().st_size for file in folder.iterdir())
        batches = Batches(examples, lambda rows, doc_index, draws: {}, BATCH, 0, 0, STEPS, {"d2q": 1.0})
        seconds, read = timed(lambda: sum(len(batches[step]["rows"]) for step in range(STEPS)))
    per_million = {"write": (made_and_written - made) / pairs * 1e6, "read": seconds / read * 1e6}
    print(f"{pairs:,} pairs of about {TOKENS} tokens, read in random batches of {BATCH}")
    rows = [[what, f"{value:.2f}"] for what, value in per_million.items()]
    print(text_table(["", "seconds per million"], rows))
    print(f"bytes_a_pair={size / pairs:.2f} " + " ".join(f"{what}={value:.2f}" for what, value in per_million.items()))


def synthetic(pairs: int) -> Task:
    """A task of random token ids, in lists as the tokenizer returns them."""

    def shard(number: int) -> Pairs:
        random, first = np.random.default_rng(number), number * SHARD
        count = min(SHARD, pairs - first)
        lengths = 2 + random.poisson(TOKENS - 2, count)
        token_ids = random.integers(3, VOCABULARY, (count, int(lengths.max()))).tolist()
        documents = np.arange(first, first + count, dtype=np.uint32) // QUERIES_PER_DOCUMENT
        return documents, [row[:length] for row, length in zip(token_ids, lengths.tolist(), strict=True)]

    return Task(-(-pairs // SHARD), shard)


if __name__ == "__main__":
    main()
