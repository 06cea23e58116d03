"""Latency: what one query at a time takes."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import TypeVar

import numpy as np

T = TypeVar("T")


def milliseconds(search: Callable[[T], object], queries: Iterable[T]) -> list[float]:
    """Of each search."""
    times = []
    for query in queries:
        start = time.perf_counter()
        search(query)
        times.append(1000 * (time.perf_counter() - start))
    return times


def percentiles(times: list[float]) -> dict[str, float]:
    """The median and the 95th percentile; nothing of no times."""
    return {f"p{share}": round(float(np.percentile(times, share)), 2) for share in (50, 95)} if times else {}
