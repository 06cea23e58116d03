"""Peak memory of pieces of work, one after the other."""

from __future__ import annotations

import numpy as np
import pytest

from dsi.memory import CLEAR, PeakMemory, process_peak

LARGE = 300_000_000
"""Bytes, in one piece, so that they are given back at once."""


@pytest.mark.skipif(not CLEAR.exists(), reason="the system does not tell")
def test_each_piece_of_work_has_its_own_peak() -> None:
    first = PeakMemory()
    np.ones(LARGE, dtype=np.uint8)
    grown = first.growth()
    second = PeakMemory()
    assert grown is not None
    assert 0.9 * LARGE < grown < 1.5 * LARGE
    small = second.growth()
    assert small is not None
    assert small < LARGE / 2
    assert process_peak() > 0.9 * LARGE
