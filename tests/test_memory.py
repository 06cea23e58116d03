"""What a process is said to hold."""

from pathlib import Path

import numpy as np
import pytest

from dsi.runtime.machine import machine
from dsi.runtime.system import memory_held, process_peak

LARGE = 300_000_000
"""Bytes, in one token, so that they are given back at once."""


@pytest.mark.skipif("anonymous_bytes" not in memory_held(), reason="the system does not tell")
def test_arrays_are_anonymous_and_mapped_files_are_not(tmp_path: Path) -> None:
    before = memory_held()
    array = np.ones(LARGE, dtype=np.uint8)
    with_array = memory_held()
    for name in ("resident_bytes", "anonymous_bytes"):
        assert 0.9 * LARGE < with_array[name] - before[name] < 1.5 * LARGE
    np.save(tmp_path / "array.npy", array)
    del array
    mapped = np.load(tmp_path / "array.npy", mmap_mode="r")
    assert mapped.sum() == LARGE
    with_file = memory_held()
    assert with_file["resident_bytes"] - before["resident_bytes"] > 0.9 * LARGE
    assert with_file["anonymous_bytes"] - before["anonymous_bytes"] < 0.5 * LARGE
    assert (process_peak() or 0) > 0.9 * LARGE


def test_a_manifest_can_say_what_it_was_made_on() -> None:
    facts = machine()
    assert facts["cpu"]
    assert facts["instruction_set"]
    assert facts["threads"] >= 1
