"""Seconds and memory of the docid head's part of a training step, its update included, by the number of documents.

    make bench-head

The decoder's states are given, and made up: rows of random directions, and states near the rows of their documents, as
after a warm start. The peer is the step of training.softmax=full: all logits, their softmax, a gradient of all rows,
AdamW. Each measure is of a process of its own; memory is its peak while stepping over what it has before rows are made,
the rows included.
"""

import argparse
import json
import subprocess
import sys
import threading
import time

import numpy as np
import psutil
import torch
from torch import Tensor
from torch.nn import functional

from dsi.model.trainer_arguments import optimizer_of
from dsi.objectives.output_rows import OutputRows
from dsi.objectives.row_softmax import Label, Visits, chunks, softmax_loss
from dsi.objectives.sampling import Clusters, Sampler
from dsi.report.tables import text_table

BATCH, TEACHER = 256, 32
SECONDS, LEAST = 6.0, 3
"""How long steps are repeated after a first one, and how often at least; the median counts."""
WAYS = ("full", "chunked", "chunked bfloat16", "sampled", "sampled bfloat16", "sampled, teacher")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, nargs="+", default=[36_594, 100_000, 1_000_000])
    parser.add_argument("--widths", type=int, nargs="+", default=[128, 256])
    parser.add_argument("--one", nargs=3, metavar=("WAY", "ROWS", "WIDTH"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        way, rows, width = options.one
        print(json.dumps(measured(way, int(rows), int(width))))
        return
    found: dict[tuple[str, int, int], dict[str, float]] = {}
    for width in options.widths:
        for count in options.rows:
            for way in WAYS:
                command = [sys.executable, __file__, "--one", way, str(count), str(width)]
                found[way, count, width] = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
                print(f"{count:,} x {width} {way}: {found[way, count, width]['seconds']:.4f} s", file=sys.stderr)
    rows = [
        [
            f"{count:,} x {width}",
            way,
            f"{1e3 * one['seconds']:,.1f}",
            f"{found['full', count, width]['seconds'] / one['seconds']:.2f}",
            f"{one['gflops']:,.0f}",
            f"{one['peak'] / 1e6:,.0f}",
            f"{one['peak'] / (4 * count * width):.2f}",
        ]
        for (way, count, width), one in found.items()
    ]
    heads = ["rows", "softmax", "ms a step", "speedup", "GFLOP/s", "peak MB", "peak / float32 rows"]
    print(f"batches of {BATCH} states, {torch.get_num_threads()} threads")
    print(text_table(heads, rows))
    least, most, width = min(options.rows), max(options.rows), min(options.widths)
    full, exact, sampled = (found[way, most, width] for way in ("full", "chunked", "sampled"))
    print(
        f"sampled_speedup_1m={full['seconds'] / sampled['seconds']:.1f}"
        f" exact_speedup_1m={full['seconds'] / exact['seconds']:.2f}"
        f" exact_peak_ratio={exact['peak'] / (4 * most * width):.2f}"
        f" sampled_growth={sampled['seconds'] / found['sampled', least, width]['seconds']:.2f}"
    )


def measured(way: str, count: int, width: int) -> dict[str, float]:
    """The median seconds of a step, its FLOPs a second, and the peak growth of memory in bytes."""
    torch.manual_seed(0)
    torch.randn(64, 64) @ torch.randn(64, 64)  # starts the threads
    visits, process = visits_for(way, count), psutil.Process()
    before = process.memory_info().rss
    weight = torch.randn(count, width)
    functional.normalize(weight, dim=1, out=weight)
    step = Dense(weight) if way == "full" else Outside(weight, visits, "bfloat16" in way)
    del weight
    with PeakMemory(process) as peak:
        random = np.random.default_rng(0)
        seconds, scored, began = list[float](), list[int](), time.perf_counter()
        while len(seconds) <= LEAST or time.perf_counter() - began < SECONDS:
            rows, states = batch(step.rows, random)
            label = labels(rows, count, random) if "teacher" in way else Label.certain(rows)
            start = time.perf_counter()
            scored.append(step(states.requires_grad_(), label))
            seconds.append(time.perf_counter() - start)
    products = 3 if way == "full" else 4
    median = float(np.median(seconds[1:]))
    flops = products * 2.0 * BATCH * width * float(np.mean(scored[1:]))
    return {"seconds": median, "gflops": flops / median / 1e9, "peak": peak.most - before}


def batch(weight: Tensor, random: np.random.Generator) -> tuple[Tensor, Tensor]:
    """The documents of a batch, and states that find them with some noise, (queries, width), of T5's length."""
    rows = torch.from_numpy(random.integers(len(weight), size=BATCH))
    width = weight.shape[1]
    noisy = weight[rows].float() + torch.randn(BATCH, width) / width**0.5
    return rows, functional.normalize(noisy, dim=1) * width**0.5


def labels(rows: Tensor, count: int, random: np.random.Generator) -> Label:
    """A teacher's labels: the document and others, at random."""
    others = torch.from_numpy(random.integers(count, size=(BATCH, TEACHER)))
    weights = torch.rand(BATCH, 1 + TEACHER).softmax(dim=1)
    return Label(torch.cat([rows[:, None], others], dim=1), weights)


class Dense:
    """The peer: the rows are a parameter of AdamW."""

    def __init__(self, weight: Tensor) -> None:
        self.rows = torch.nn.Parameter(weight)
        self.optimizer = optimizer_of("adamw", ([self.rows], 1e-4))

    def __call__(self, states: Tensor, label: Label) -> int:
        log_probs = functional.linear(states, self.rows).log_softmax(dim=1)
        loss = -(label.weights * log_probs.gather(1, label.rows)).sum() / BATCH
        loss.backward()
        self.optimizer.step()
        self.optimizer.zero_grad()
        return len(self.rows)


class Outside:
    """Rows outside the model's parameters."""

    def __init__(self, weight: Tensor, visits: Visits, is_bfloat16: bool) -> None:
        self.table = OutputRows(weight, "sgd", 0.5, torch.bfloat16 if is_bfloat16 else torch.float32)
        self.visits = visits

    @property
    def rows(self) -> Tensor:
        return self.table.weight

    def __call__(self, states: Tensor, label: Label) -> int:
        (softmax_loss(states, label, self.table, self.visits) / BATCH).backward()
        self.table.end_step()
        return self.table.logits // BATCH


def visits_for(way: str, count: int) -> Visits:
    """What a step visits: all rows, or a sample with clusters as large as those of training."""
    if not way.startswith("sampled"):
        return chunks
    of_row = np.random.default_rng(1).integers(int(count**0.5), size=count)
    return Sampler(Clusters(of_row), uniform=1_024, neighbours=1_024, seed=0)


class PeakMemory:
    """The most memory that a process has within the block, looked at every few milliseconds."""

    def __init__(self, process: psutil.Process) -> None:
        self.process, self.most, self.done = process, 0.0, threading.Event()
        self.thread = threading.Thread(target=self.watch)

    def __enter__(self) -> "PeakMemory":
        self.thread.start()
        return self

    def watch(self) -> None:
        while not self.done.wait(0.003):
            self.most = max(self.most, self.process.memory_info().rss)

    def __exit__(self, *_: object) -> None:
        self.done.set()
        self.thread.join()


if __name__ == "__main__":
    main()
