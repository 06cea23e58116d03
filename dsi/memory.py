"""Peak memory: of the process, and of a piece of its work."""

from __future__ import annotations

import os
import resource
import sys
from pathlib import Path

CLEAR = Path("/proc/self/clear_refs")
PEAK = "5"
"""What is written there to make the peak the memory held now (Linux only)."""

_MAXRSS_UNIT = 1 if sys.platform == "darwin" else 1024  # getrusage counts bytes on macOS, KiB on Linux
_earlier_peak = 0


def process_peak() -> int:
    """Most bytes that the process has held so far."""
    return max(_earlier_peak, _peak())


class PeakMemory:
    """What the process grows by from now on."""

    def __init__(self) -> None:
        global _earlier_peak
        _earlier_peak = process_peak()
        try:
            CLEAR.write_text(PEAK)
            pages = int(Path("/proc/self/statm").read_text().split()[1])
            self.before: int | None = pages * os.sysconf("SC_PAGE_SIZE")
        except OSError:
            self.before = None

    def growth(self) -> int | None:
        """Bytes at most; None where the system does not tell."""
        return max(_peak() - self.before, 0) if self.before is not None else None


def _peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _MAXRSS_UNIT
