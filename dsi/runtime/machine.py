"""The machine a result was made on: processor, instruction set and threads, which decide how sums round."""

import platform
import sys
from pathlib import Path
from typing import Any

import numpy as np

from dsi.runtime.system import processors


def machine() -> dict[str, Any]:
    """The processor, its widest instruction set, the number of threads, and the GPU in use, if any."""
    simd = np.show_config(mode="dicts")["SIMD Extensions"]
    facts: dict[str, Any] = {
        "cpu": _processor(),
        "instruction_set": (simd.get("found") or simd.get("baseline") or ["unknown"])[-1],
        "threads": processors(),
    }
    torch = sys.modules.get("torch")
    if torch is not None:  # a stage without a model does not wait for its import
        facts |= {"instruction_set": torch.backends.cpu.get_cpu_capability(), "threads": torch.get_num_threads()}
        if torch.cuda.is_initialized():
            facts["gpu"] = torch.cuda.get_device_name()
        elif torch.backends.mps.is_available():
            facts["gpu"] = "MPS"
    return facts


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return next(iter(names), platform.processor() or platform.machine())
