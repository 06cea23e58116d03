"""Milliseconds per query among the rows of atomic docids, one at a time and in batches, against a product of all rows.

    make bench-rows

Rows are of length 1 and at random; each query's state is near one of them, so that the best logit is about 20. `plain`
is the search of dsi/search/atomic.py without rounded rows, a product in float32 and the best of each chunk; `torch` is
one product and one topk. The bound is the longer of two times: to read the bytes of the rounded rows at the speed at
which torch sums as many, and to multiply them at the speed of a large product of int8. Both systems find the same
documents, or the script fails.
"""

import argparse
import time
from functools import partial

import torch
from timing import fastest
from torch import Tensor
from torch.nn import functional

from dsi.report.tables import text_table
from dsi.search.rounded_rows import RoundedRows
from dsi.search.top_k import top_k_of_chunks

COUNT, CHUNK, RUNS = 10, 1 << 16, 7


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, nargs="+", default=[100_000, 1_000_000])
    parser.add_argument("--width", type=int, default=128)
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 32])
    options = parser.parse_args()
    torch.manual_seed(0)
    side = torch.randint(-127, 128, (2_048, 2_048), dtype=torch.int8)
    multiplied = 2 * 2_048**3 / fastest(partial(torch._int_mm, side, side.T), RUNS)
    table: list[list[str]] = []
    for rows in options.rows:
        weight = functional.normalize(torch.randn(rows, options.width))
        start = time.perf_counter()
        rounded = RoundedRows(weight)
        seconds = time.perf_counter() - start
        size = rounded.rounded.nbytes + rounded.scale.nbytes
        summed = weight.flatten()[: size // 4]
        read = summed.nbytes / fastest(summed.sum, RUNS)
        for queries in options.batches:
            states = weight[torch.randint(rows, (queries,))] + 0.06 * torch.randn(queries, options.width)
            states = 24 * functional.normalize(states)
            found = rounded.best(states, COUNT)
            assert found.is_proven.all()
            assert torch.equal(found.documents, plain(weight, states))
            ours = fastest(partial(rounded.best, states, COUNT), RUNS)
            peers = [fastest(partial(system, weight, states), RUNS) for system in (plain, with_torch)]
            bound = max(size / read, 2 * queries * weight.numel() / multiplied)
            each = [f"{1e3 * value / queries:.2f}" for value in (ours, *peers, bound)]
            ratios = [f"{min(peers) / ours:.1f}", f"{ours / bound:.1f}"]
            table.append([f"{rows:,}", str(queries), *each, *ratios, f"{size / ours / 1e9:.0f}", f"{seconds:.2f}"])
    print(
        f"{options.width} numbers a row, the best {COUNT}, {torch.get_num_threads()} threads; milliseconds a query;"
        f" {read / 1e9:.0f} GB/s read, {multiplied / 1e9:.0f} GOP/s of int8"
    )
    header = ["rows", "batch", "ours", "plain", "torch", "bound", "peer/ours", "ours/bound", "GB/s", "rounding, s"]
    print(text_table(header, table))
    columns = {"ms": "ours", "speedup": "peer/ours", "times_bound": "ours/bound", "gb_s": "GB/s"}
    for row in table[-len(options.batches) :]:
        print(*(f"{name}_{row[1]}={row[header.index(column)]}" for name, column in columns.items()), end=" ")
    print()


def plain(weight: Tensor, states: Tensor) -> Tensor:
    """The numbers of the best rows for each state."""
    return top_k_of_chunks((functional.linear(states, rows) for rows in weight.split(CHUNK)), COUNT)[0]


def with_torch(weight: Tensor, states: Tensor) -> Tensor:
    """The same from one product of all rows."""
    return (states @ weight.T).topk(COUNT, dim=1).indices


if __name__ == "__main__":
    main()
