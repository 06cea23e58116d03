"""Where a model computes, and in what precision."""

from __future__ import annotations

import warnings

import torch

from dsi.errors import DsiError
from dsi.model.architecture import DifferentiableSearchIndex
from dsi.processes import local_process_index


def compute_device() -> torch.device:
    """This process's own GPU, or the CPU. Needs no process group, which a process without work would not join."""
    return torch.device("cuda", local_process_index()) if torch.cuda.is_available() else torch.device("cpu")


def to_precision(model: DifferentiableSearchIndex, precision: str, key: str) -> DifferentiableSearchIndex:
    """`model`, of float32, to search with in `precision`: auto, float32, bfloat16 or int8; changed in place.

    int8 quantises the matrices of encoder and decoder, and their inputs as they come; the docid head stays as it is.

    Raises:
        DsiError: this device cannot compute in it; `key` names it in the configuration.
    """
    if precision != "int8":
        return model.to(torch.bfloat16) if is_bfloat16(precision, key) else model
    if model.device.type != "cpu":
        raise DsiError(f"{key}=int8 is for the CPU; use bfloat16 on a GPU")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that torchao is to replace it
        for part in (model.encoder, model.decoder):
            torch.ao.quantization.quantize_dynamic(part, {torch.nn.Linear}, dtype=torch.qint8, inplace=True)
    return model


def is_bfloat16(precision: str, key: str) -> bool:
    """Whether `precision` (auto, float32, bfloat16) means bfloat16 here; `key` names it in the configuration.

    Raises:
        DsiError: bfloat16 was asked of a GPU without it.
    """
    has_gpu = torch.cuda.is_available()
    has_bfloat16 = has_gpu and torch.cuda.is_bf16_supported()
    if precision == "bfloat16" and has_gpu and not has_bfloat16:
        raise DsiError(f"{key}=bfloat16: this GPU has no bfloat16; use float32")
    return precision == "bfloat16" or (precision == "auto" and has_bfloat16)
