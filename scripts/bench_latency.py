"""What a query costs: from Python and as the command line measures it, and `dsi query` from a cold start.

    make bench-latency [CONFIG=...]         the finished run of that experiment

Every figure comes from processes of its own, started in turn and without any variable that says how many threads there
are or how they wait. What else the machine does only adds to a time, so of several processes the fastest counts. A
latency is the median of the first queries of the split that the run reports, one at a time; the last column divides it
by that of the stage search, which also answers the whole split. A cold start is compared with the import of torch and
transformers alone, which loads hardly more than their names, and with that of the classes that every T5 needs. The last
table shows from how much work on a batch gains by several threads, which `SMALL` in dsi/runtime/threads.py is chosen
by: below it, the index computes with one.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

from dsi.artifacts import read_manifest
from dsi.corpus.store import Corpus
from dsi.errors import DsiError
from dsi.index.index import load
from dsi.index.run import STAGES
from dsi.report.tables import text_table
from dsi.search.run_files import DSI
from dsi.search.search import search

THREADS = ("OMP_", "GOMP_", "KMP_", "MKL_", "OPENBLAS_")
"""How variables begin that change the number of threads, or how they wait."""
QUERIES = 100
CLI = "command line"
PYTHON = {
    "Python, torch imported first": "import torch, dsi",
    "Python, torch imported after": "import dsi\nindex = dsi.load(sys.argv[1])\nimport torch",
}
LATENCY = """
import json, sys, time
{imports}
from dsi.runtime.latency import milliseconds
index, texts = dsi.load(sys.argv[1], prior="none"), json.load(sys.stdin)
start = time.perf_counter()
while time.perf_counter() - start < 2:
    index.search(texts[0])
print(json.dumps(milliseconds(index.search, texts)))
"""
BATCHES = """
import json, sys
import dsi
from dsi.runtime import threads
from dsi.runtime.latency import milliseconds
index, texts = dsi.load(sys.argv[1], prior="none", batch_size=10_000), json.load(sys.stdin)
rows = []
for size in (1, 2, 4, 8, 16, 32):
    batch, times = texts[:size], {0: [], float("inf"): []}
    for turn in range(40):
        for threads.SMALL in times:
            times[threads.SMALL] += milliseconds(index.search, [batch])
    ids = index.searcher.encode(batch)
    rows.append([size, index.searcher.searcher._work(ids, index.config.beam), *times.values()])
print(json.dumps(rows))
"""
QUERY = "dsi query"
START = {
    "import torch, transformers": ["-c", "import torch, transformers"],
    "and the classes of a T5": ["-c", "import torch, transformers; from transformers import AutoTokenizer, T5Model"],
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, nargs="?", default=Path("runs/demo"), help="a finished run")
    parser.add_argument("--rounds", type=int, default=5, help="processes a figure")
    options = parser.parse_args()
    for name in [name for name in os.environ if name.startswith(THREADS)]:
        del os.environ[name]
    manifest = read_manifest(options.run / "search")
    if manifest is None:
        raise DsiError(f"{options.run}: no finished stage search there")
    split = manifest["counts"]["split"]
    config = load(options.run).config.model_copy(
        update={"prior": "none", "error_queries": 0, "latency_queries": QUERIES}
    )
    texts = [query.text for query in Corpus(options.run / "corpus").queries(split)[:QUERIES]]
    folders = {f"{stage}_folder": options.run / stage for stage in STAGES}

    def command_line() -> float:
        with tempfile.TemporaryDirectory() as folder:
            counts = search(Path(folder), search=config, split=split, **folders)
        p50: float = counts["systems"][DSI]["latency_ms"]["p50"]
        return p50

    def python(script: str) -> Any:
        command = [sys.executable, "-c", script, str(options.run)]
        return json.loads(
            subprocess.run(command, input=json.dumps(texts), stdout=subprocess.PIPE, encoding="utf-8").stdout
        )

    latencies: dict[str, list[float]] = {name: [] for name in (CLI, *PYTHON)}
    starts: dict[str, list[tuple[float, float]]] = {name: [] for name in (QUERY, *START)}
    for _ in range(options.rounds):
        os.environ["OMP_WAIT_POLICY"] = "PASSIVE"  # as `dsi` sets it
        latencies[CLI].append(command_line())
        del os.environ["OMP_WAIT_POLICY"]
        for name, imports in PYTHON.items():
            latencies[name].append(median(python(LATENCY.format(imports=imports))))
        starts[QUERY].append(cold(["-m", "dsi", "query", str(options.run), texts[0]]))
        for name, arguments in START.items():
            starts[name].append(cold(arguments))

    p50 = {name: min(times) for name, times in latencies.items()}
    ratios = {name: ms / p50[CLI] for name, ms in p50.items()}
    rows = [[name, f"{ms:.2f}", f"{median(latencies[name]):.2f}", f"{ratios[name]:.2f}"] for name, ms in p50.items()]
    print(text_table([f"{len(texts)} queries", "p50 ms, fastest process", "median process", "ratio"], rows))
    wall, cpu = ({name: min(each[part] for each in times) for name, times in starts.items()} for part in (0, 1))
    alone = next(iter(START))
    print(text_table(["cold start", "seconds", "CPU seconds"], [[n, f"{wall[n]:.2f}", f"{cpu[n]:.2f}"] for n in wall]))
    rows = [
        [str(size), f"{flops / 1e6:.0f}", *(f"{value(ms):.2f}" for value in (min, median) for ms in (one, every))]
        for size, flops, every, one in python(BATCHES)
    ]
    columns = ["batch", "MFLOP", "least ms, one thread", "every thread", "median ms, one thread", "every thread"]
    print(text_table(columns, rows))
    first, after = PYTHON
    print(
        f"cli_ms={p50[CLI]:.2f} torch_first_ms={p50[first]:.2f} torch_after_ms={p50[after]:.2f}"
        f" torch_first_ratio={ratios[first]:.2f} torch_after_ratio={ratios[after]:.2f}"
        f" query_seconds={wall[QUERY]:.2f} import_seconds={wall[alone]:.2f}"
        f" query_cpu_seconds={cpu[QUERY]:.2f} import_cpu_seconds={cpu[alone]:.2f}"
    )


def cold(arguments: list[str]) -> tuple[float, float]:
    """The wall time and the CPU time of a Python process with these arguments, in seconds."""
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run([sys.executable, *arguments], stdout=subprocess.DEVNULL, check=True)
    seconds, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    return seconds, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


if __name__ == "__main__":
    main()
