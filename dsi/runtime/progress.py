"""The progress of long work, on stderr: a bar on a terminal, elsewhere a line of text from time to time."""

import sys
import time
from collections.abc import Iterable, Iterator, Sized
from typing import TypeVar

from tqdm import tqdm

T = TypeVar("T")

SECONDS_BETWEEN_LINES = 30.0


def progress(items: Iterable[T], what: str, total: int | None = None, unit: str = "docs") -> Iterator[T]:
    """Yield `items` and show how many were yielded.

    Args:
        items: the work.
        what: the name of the work, at the beginning of the bar or line.
        total: the number of items, if they have no length.
        unit: the name of the items.
    """
    total = len(items) if total is None and isinstance(items, Sized) else total
    if sys.stderr.isatty():
        yield from tqdm(items, desc=what, total=total, unit=f" {unit}", leave=False)
        return
    start = last = time.monotonic()
    for count, item in enumerate(items, start=1):
        yield item
        now = time.monotonic()
        if now - last >= SECONDS_BETWEEN_LINES:
            last = now
            rate = count / (now - start)
            whole = f" of {total:,}" if total else ""
            left = f", {(total - count) / rate:.0f} s left" if total else ""
            print(f"{what}: {count:,}{whole} {unit}, {rate:,.0f} a second{left}", file=sys.stderr, flush=True)
