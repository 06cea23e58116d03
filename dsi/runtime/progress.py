"""Progress of long work: a bar on a terminal, a plain line now and then elsewhere, both on stderr."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator, Sized
from typing import TypeVar

from tqdm import tqdm

T = TypeVar("T")

SECONDS_BETWEEN_LINES = 30.0


def progress(items: Iterable[T], what: str, total: int | None = None, unit: str = "docs") -> Iterator[T]:
    """Yield `items`, telling how far we are. `total` counts items that have no length; `unit` is what one is called."""
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
            left = f", {(total - count) / rate:.0f} s left" if total else ""
            of = f" of {total:,}" if total else ""
            print(f"{what}: {count:,}{of} {unit}, {rate:,.0f} a second{left}", file=sys.stderr, flush=True)
