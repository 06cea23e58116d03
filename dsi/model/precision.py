"""The number format in which a model is searched."""

import warnings

import torch

from dsi.errors import DsiError
from dsi.model.architecture import DifferentiableSearchIndex
from dsi.runtime.device import is_bfloat16


def to_precision(model: DifferentiableSearchIndex, precision: str, key: str) -> DifferentiableSearchIndex:
    """Convert a float32 `model` for search to `precision`, auto, float32, bfloat16 or int8, in place.

    int8 quantises the matrices of encoder and decoder, and their inputs as they come; the docid head is not quantised.

    Raises:
        DsiError: the device cannot compute in this precision; the message names the configuration's `key`.
    """
    if precision != "int8":
        return model.to(torch.bfloat16) if is_bfloat16(precision, key) else model
    if model.device.type != "cpu":
        raise DsiError(f"{key}=int8 is for the CPU; use bfloat16 on a GPU")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PyTorch says that torchao will replace it
        for part in (model.encoder, model.decoder):
            torch.ao.quantization.quantize_dynamic(part, {torch.nn.Linear}, dtype=torch.qint8, inplace=True)
    return model
