"""Runs the evaluation queries through a system, the index or a baseline, and measures it.

Latency and memory are measured in a separate process, which opens the system, answers some queries one at a time and
ends. So the figures are those of a user who runs this system alone, whatever ran before.
"""

import json
import pickle
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Sequence, Set
from functools import partial
from itertools import cycle
from pathlib import Path
from typing import Any, Protocol, TypeVar

from dsi.corpus.store import Query
from dsi.errors import DsiError
from dsi.runtime.latency import milliseconds, percentiles
from dsi.runtime.machine import memory_held
from dsi.runtime.progress import progress
from dsi.runtime.tsv import write_tsv
from dsi.search.run_files import write_run

WARM_UP_QUERIES, WARM_UP_SECONDS = 5, 2.0
"""The least number of queries, and the least time, before latency is measured: Java compiles what has run often."""

Hits = list[tuple[str, float]]
"""The ranking for a query: (doc_id, score) of each document, best first."""


class System(Protocol):
    """Something that answers queries."""

    def answer(self, texts: Sequence[str]) -> Iterable[Hits]:
        """The ranking for each text, in order; the system may batch the texts."""

    def answer_alone(self, text: str) -> object:
        """Find the ranking for one text, the work whose latency is measured."""


AnySystem = TypeVar("AnySystem", bound=System)


def ask(
    out_folder: Path,
    name: str,
    open_system: Callable[[int], AnySystem],
    depth: int,
    queries: Sequence[Query],
    identical: Set[str],
    latency_queries: int,
) -> tuple[AnySystem, dict[str, Any]]:
    """Write the rankings for `queries` to `NAME.run`, and latencies in milliseconds to `NAME.latency.tsv`.

    `open_system` opens the system for rankings of so many documents. They are cut to `depth`; without the document of
    the same id for the queries `identical`, so that the system is asked for one more where there are such.

    Latency is that of the first `latency_queries`, searched one at a time by a process that is sent `open_system`.

    Returns:
        The system after its answers, and queries, queries_per_second, latency_ms (p50, p95), resident_bytes and
        anonymous_bytes (of the process that measured; the latter without memory-mapped files).

    Raises:
        DsiError: the system cannot be opened.
    """
    timed = queries[:latency_queries]
    opened = partial(open_system, depth + bool(identical))
    measured = _measured_apart(opened, [query.text for query in timed]) if timed else {}
    times: list[float] = measured.pop("milliseconds", [])
    rows = ((query.query_id, f"{ms:.3f}") for query, ms in zip(timed, times, strict=True))
    write_tsv(out_folder / f"{name}.latency.tsv", ["query_id", "milliseconds"], rows)
    system = opened()
    start = time.perf_counter()
    rankings = zip(queries, system.answer([query.text for query in queries]), strict=True)
    answers = (
        (query.query_id, [hit for hit in hits if hit[0] != query.query_id or hit[0] not in identical][:depth])
        for query, hits in rankings
    )
    write_run(out_folder / f"{name}.run", name, progress(answers, f"{name} search", total=len(queries), unit="queries"))
    seconds = time.perf_counter() - start
    return system, {
        "queries": len(queries),
        **({"identical_documents_left_out": len(identical)} if identical else {}),
        "queries_per_second": round(len(queries) / seconds, 1),
        "latency_ms": percentiles(times),
        **measured,
    }


def _measured_apart(open_system: Callable[[], System], texts: list[str]) -> dict[str, Any]:
    """What `_measure` returns in a process of its own."""
    command = [sys.executable, "-m", "dsi.search.answering"]
    done = subprocess.run(command, input=pickle.dumps((open_system, texts)), stdout=subprocess.PIPE)
    if done.returncode:
        raise RuntimeError(f"the process that measures latency and memory ended with status {done.returncode}")
    measured: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])  # libraries may print lines before it
    if "error" in measured:
        raise DsiError(measured["error"])
    return measured


def _measure() -> dict[str, Any]:
    """The latencies and the memory of the system that standard input tells how to open, with texts to search for."""
    open_system, texts = pickle.load(sys.stdin.buffer)
    try:
        system: System = open_system()
        start = time.perf_counter()
        for number, text in enumerate(cycle(texts)):
            if number >= WARM_UP_QUERIES and time.perf_counter() - start > WARM_UP_SECONDS:
                break
            system.answer_alone(text)
        times = milliseconds(system.answer_alone, progress(texts, "latency", unit="queries"))
    except DsiError as error:
        return {"error": str(error)}
    return {"milliseconds": times, **memory_held()}


if __name__ == "__main__":
    print("\n" + json.dumps(_measure()))
