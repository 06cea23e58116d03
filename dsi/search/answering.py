"""Runs the evaluation queries through a system, the index or a baseline, and measures it.

Latency and memory are measured in a separate process, which opens the system, answers some queries one at a time and
ends. So the figures are those of a user who runs this system alone, whatever ran before.
"""

import json
import os
import pickle
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence, Set
from dataclasses import dataclass
from functools import partial
from itertools import cycle
from pathlib import Path
from typing import Any, Protocol, Self, TypeVar

from dsi.corpus.store import Corpus, Query
from dsi.errors import DsiError
from dsi.runtime.latency import milliseconds, percentiles
from dsi.runtime.progress import progress
from dsi.runtime.system import memory_held
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


@dataclass(frozen=True)
class Questions:
    """The queries that every system is asked."""

    queries: Sequence[Query]
    identical: Set[str] = frozenset()
    """The ids of those that are documents themselves: the document of that id is left out of their rankings."""
    timed: int = 0
    """How many of them, the first ones, are also asked one at a time, to measure latency."""

    @classmethod
    def of(cls, corpus: Corpus, split: str, timed: int = 0) -> Self:
        """Those of a split of the corpus."""
        return cls(corpus.queries(split), corpus.identical(split), timed)

    def rankings(self, system: System, depth: int) -> Iterator[tuple[str, Hits]]:
        """Each query_id, and the ranking for it of at most `depth` documents."""
        answers = system.answer([query.text for query in self.queries])
        for query, hits in zip(self.queries, answers, strict=True):
            yield query.query_id, self.without_own(query.query_id, hits)[:depth]

    def without_own(self, query_id: str, hits: Hits) -> Hits:
        """The ranking for a query without the document that it is itself, if it is one."""
        return [hit for hit in hits if hit[0] != query_id] if query_id in self.identical else hits

    def depth(self, depth: int) -> int:
        """The number of documents to ask a system for, so that `depth` are left."""
        return depth + bool(self.identical)


def ask(
    out_folder: Path, name: str, open_system: Callable[[int], AnySystem], depth: int, questions: Questions
) -> tuple[AnySystem, dict[str, Any]]:
    """Write the rankings to `NAME.run`, `depth` documents each, and latencies in milliseconds to `NAME.latency.tsv`.

    `open_system` opens the system for rankings of so many documents. Latency is measured in a process that is sent it.

    Returns:
        The system after its answers, and queries, queries_per_second, latency_ms (p50, p95), resident_bytes and
        anonymous_bytes (of the process that measured; the latter without memory-mapped files).

    Raises:
        DsiError: the system cannot be opened.
    """
    timed, opened = questions.queries[: questions.timed], partial(open_system, questions.depth(depth))
    measured = _measured_apart(opened, [query.text for query in timed]) if timed else {}
    times: list[float] = measured.pop("milliseconds", [])
    rows = ((query.query_id, f"{ms:.3f}") for query, ms in zip(timed, times, strict=True))
    write_tsv(out_folder / f"{name}.latency.tsv", ["query_id", "milliseconds"], rows)
    system = opened()
    start = time.perf_counter()
    count, rankings = len(questions.queries), questions.rankings(system, depth)
    write_run(out_folder / f"{name}.run", name, progress(rankings, f"{name} search", total=count, unit="queries"))
    seconds = time.perf_counter() - start
    return system, {
        "queries": count,
        **({"identical_documents_left_out": len(questions.identical)} if questions.identical else {}),
        "queries_per_second": round(count / seconds, 1),
        "latency_ms": percentiles(times),
        **measured,
    }


def _measured_apart(open_system: Callable[[], System], texts: list[str]) -> dict[str, Any]:
    """What `_measure` returns in a process of its own."""
    command = [sys.executable, "-P", "-m", "dsi.search.answering"]  # -P: no module of the working directory is taken
    modules = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    done = subprocess.run(command, input=pickle.dumps((open_system, texts)), stdout=subprocess.PIPE, env=modules)
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
