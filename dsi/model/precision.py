"""The precision that an index is searched in."""

from __future__ import annotations

import warnings

import torch

from dsi.errors import DsiError
from dsi.model.architecture import DifferentiableSearchIndex
from dsi.runtime.device import is_bfloat16


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
