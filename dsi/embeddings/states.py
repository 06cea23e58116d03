"""The untrained model's own document states as vectors: centred over the corpus, of unit length."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from dsi.config import BackboneConfig
from dsi.corpus.vectors import Encode, Vectors
from dsi.model.architecture import DifferentiableSearchIndex
from dsi.model.build import build_backbone
from dsi.model.document_states import StateEncoder, centred
from dsi.runtime.device import compute_device

BACKBONE = "backbone"
"""Folder of the model, and of its tokenizer."""
MEAN = "mean.npy"


def untrained(backbone: BackboneConfig, tokenizer_folder: Path, seed: int) -> StateEncoder:
    """The states of the model that training would start from, as it gives them."""
    return StateEncoder(
        build_backbone(backbone, tokenizer_folder, seed).to(compute_device()),
        tokenizer_folder,
        backbone.document_length,
    )


def centre(vectors: Vectors) -> Vectors:
    """The mean of the vectors, which are centred and brought to unit length in place."""
    states = torch.from_numpy(vectors)
    mean = states.mean(dim=0)
    centred(states, mean)
    return mean.numpy()


def save(folder: Path, encode: StateEncoder, mean: Vectors) -> None:
    """Write what `load` needs into the stage folder: also of a checkpoint, which may change where it lies."""
    encode.model.save_pretrained(folder / BACKBONE)
    encode.tokenizer.save_pretrained(folder / BACKBONE)
    np.save(folder / MEAN, mean)


def load(folder: Path, length: int) -> Encode:
    """What made the vectors in a stage folder; `length` text tokens are read."""
    model = DifferentiableSearchIndex.from_pretrained(folder / BACKBONE, dtype=torch.float32)
    encode, mean = StateEncoder(model.to(compute_device()), folder / BACKBONE, length), np.load(folder / MEAN)
    return lambda texts: centred(torch.from_numpy(encode(texts)), torch.from_numpy(mean)).numpy()
