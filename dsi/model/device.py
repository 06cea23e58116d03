"""Where a model computes, and in what precision."""

from __future__ import annotations

import torch
from accelerate import PartialState

from dsi.errors import DsiError


def compute_device() -> torch.device:
    """This process's own device: its GPU under `accelerate launch`, the first GPU or the CPU otherwise."""
    device: torch.device = PartialState().device
    return device


def has_bfloat16() -> bool:
    """Whether the GPU computes in bfloat16; False without a GPU."""
    return torch.cuda.is_available() and torch.cuda.is_bf16_supported()


def is_bfloat16(precision: str, key: str) -> bool:
    """Whether `precision` (auto, float32, bfloat16) means bfloat16 here; `key` names it in the configuration.

    Raises:
        DsiError: bfloat16 was asked of a GPU without it.
    """
    if precision == "bfloat16" and torch.cuda.is_available() and not has_bfloat16():
        raise DsiError(f"{key}=bfloat16: this GPU has no bfloat16; use float32")
    return precision == "bfloat16" or (precision == "auto" and has_bfloat16())
