"""The latency of a system that answers one query at a time."""

import time
from collections.abc import Callable, Iterable
from typing import TypeVar

import numpy as np

T = TypeVar("T")


def milliseconds(search: Callable[[T], object], queries: Iterable[T]) -> list[float]:
    """The wall time of each call of `search` with one query, in milliseconds."""
    times = []
    for query in queries:
        start = time.perf_counter()
        search(query)
        times.append(1000 * (time.perf_counter() - start))
    return times


def percentiles(times: list[float]) -> dict[str, float]:
    """The median and the 95th percentile of `times`, in their unit; an empty dict for no times.

    >>> percentiles([1.0, 2.0, 6.0]), percentiles([])
    ({'p50': 2.0, 'p95': 5.6}, {})
    """
    return {f"p{share}": round(float(np.percentile(times, share)), 2) for share in (50, 95)} if times else {}
