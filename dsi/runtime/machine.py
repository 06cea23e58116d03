"""The machine a result was made on: processor, instruction set and threads, which decide how sums round; memory."""

import os
import platform
import resource
import sys
from pathlib import Path
from typing import Any

import numpy as np

_MAXRSS_UNIT = 1 if sys.platform == "darwin" else 1024  # getrusage counts bytes on macOS, KiB on Linux


def machine() -> dict[str, Any]:
    """The processor, its widest instruction set, the number of threads, and the GPU in use, if any."""
    simd = np.show_config(mode="dicts")["SIMD Extensions"]
    facts: dict[str, Any] = {
        "cpu": _processor(),
        "instruction_set": (simd.get("found") or simd.get("baseline") or ["unknown"])[-1],
        "threads": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
    }
    torch = sys.modules.get("torch")
    if torch is not None:  # a stage without a model does not wait for its import
        facts |= {"instruction_set": torch.backends.cpu.get_cpu_capability(), "threads": torch.get_num_threads()}
        if torch.cuda.is_initialized():
            facts["gpu"] = torch.cuda.get_device_name()
    return facts


def process_peak() -> int:
    """The largest resident memory of this process so far, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _MAXRSS_UNIT


def memory_held() -> dict[str, int]:
    """The resident_bytes of this process, and anonymous_bytes, their part that no file backs; {} without /proc."""
    try:
        status = Path("/proc/self/status").read_text(encoding="utf-8")
    except OSError:
        return {}
    fields = dict(line.split(":", 1) for line in status.splitlines())
    return {
        name: int(fields[key].split()[0]) * 1024
        for name, key in (("resident_bytes", "VmRSS"), ("anonymous_bytes", "RssAnon"))
        if key in fields
    }


def total_memory() -> int:
    """The memory that the processes of this machine, or of this container, may have, in bytes."""
    total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    try:
        return min(total, int(Path("/sys/fs/cgroup/memory.max").read_text(encoding="utf-8")))
    except (OSError, ValueError):  # no control group, or "max"
        return total


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return next(iter(names), platform.processor() or platform.machine())
