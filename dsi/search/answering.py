"""Ask a system the evaluation queries: one call for the index and every baseline.

Latency and memory are measured in a process of their own, which opens the system, answers some queries one at a time
and ends: so a figure is what a user of that system alone would see, whatever ran before.
"""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Sequence
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
"""Queries answered before latency is measured are at least so many, and go on for so long: Java compiles what it has
often run."""

Hits = list[tuple[str, float]]
"""(doc_id, score) of the documents found, best first."""


class System(Protocol):
    """Something that answers queries."""

    def answer(self, texts: Sequence[str]) -> Iterable[Hits]:
        """The ranking for each text, of many that may go together."""

    def answer_alone(self, text: str) -> object:
        """Find the ranking for one text: what latency is of."""


AnySystem = TypeVar("AnySystem", bound=System)


def ask(
    out_folder: Path, name: str, opened: Callable[[], AnySystem], queries: Sequence[Query], latency_queries: int
) -> tuple[AnySystem, dict[str, Any]]:
    """Write the answers to `NAME.run`, and the milliseconds of the first `latency_queries`, asked one at a time, to
    `NAME.latency.tsv`. `opened` opens the system; it is pickled for the process that measures, if there is one.

    Returns:
        The system as it has answered, and queries, queries_per_second, latency_ms (p50, p95), resident_bytes and
        anonymous_bytes (of the process that measured; the latter without memory-mapped files).

    Raises:
        DsiError: the system cannot be opened.
    """
    asked = queries[:latency_queries]
    measured = _measured_apart(opened, [query.text for query in asked]) if asked else {}
    times: list[float] = measured.pop("milliseconds", [])
    rows = ((query.query_id, f"{ms:.3f}") for query, ms in zip(asked, times, strict=True))
    write_tsv(out_folder / f"{name}.latency.tsv", ["query_id", "milliseconds"], rows)
    system = opened()
    start = time.perf_counter()
    answers = zip((query.query_id for query in queries), system.answer([query.text for query in queries]), strict=True)
    write_run(out_folder / f"{name}.run", name, progress(answers, f"{name} search", total=len(queries), unit="queries"))
    seconds = time.perf_counter() - start
    return system, {
        "queries": len(queries),
        "queries_per_second": round(len(queries) / seconds, 1),
        "latency_ms": percentiles(times),
        **measured,
    }


def _measured_apart(opened: Callable[[], System], texts: list[str]) -> dict[str, Any]:
    command = [sys.executable, "-m", "dsi.search.answering"]
    done = subprocess.run(command, input=pickle.dumps((opened, texts)), stdout=subprocess.PIPE)
    if done.returncode:
        raise RuntimeError(f"the process that measures latency and memory ended with status {done.returncode}")
    measured: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])  # what libraries may say comes before it
    if "error" in measured:
        raise DsiError(measured["error"])
    return measured


def _measure() -> dict[str, Any]:
    """What the process that has started this one asks on the standard input."""
    opened, texts = pickle.load(sys.stdin.buffer)
    try:
        system: System = opened()
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
