"""What a person is told on stderr: the progress of long work, by a bar on a terminal, elsewhere by a line of text from
time to time; and what is worth saying once.
"""

import sys
import time
from collections.abc import Iterable, Iterator, Sized
from functools import cache
from typing import TypeVar

from tqdm import tqdm

T = TypeVar("T")

SECONDS_BETWEEN_LINES = 30.0


@cache
def say(message: str) -> None:
    """Print a line on stderr, once a process, however often what it is about is read."""
    print(message, file=sys.stderr, flush=True)


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
            speed = f"{rate:,.0f}" if rate >= 10 else f"{rate:.2g}"
            print(f"{what}: {count:,}{whole} {unit}, {speed} a second{left}", file=sys.stderr, flush=True)
