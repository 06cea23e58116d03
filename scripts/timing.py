"""Wall time of a piece of work, for the benchmarks."""

import time
from collections.abc import Callable
from typing import TypeVar

Result = TypeVar("Result")


def fastest(work: Callable[[], object], runs: int) -> float:
    """The seconds of the fastest of some runs, as what else the machine does only adds to a time."""
    return min(timed(work)[0] for _ in range(runs))


def timed(work: Callable[[], Result]) -> tuple[float, Result]:
    """The seconds that `work` takes, and what it returns."""
    start = time.perf_counter()
    result = work()
    return time.perf_counter() - start, result
