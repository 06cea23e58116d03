"""The document states of the model as training starts from it, as vectors: centred over the corpus, of unit length."""

from pathlib import Path

import numpy as np
import torch

from dsi.config import BackboneConfig
from dsi.corpus.vectors import Encode, Vectors
from dsi.model.build import build_backbone, open_index
from dsi.model.document_states import StateEncoder, centred
from dsi.runtime.device import compute_device
from dsi.tokenizer import save_tokenizer

BACKBONE = "backbone"
"""The name of the folder that holds the model and its tokenizer."""
MEAN = "mean.npy"


def untrained(backbone: BackboneConfig, tokenizer_folder: Path, seed: int) -> StateEncoder:
    """The encoder to the document states, not centred, of the model that training would start from."""
    model = build_backbone(backbone, tokenizer_folder, seed).to(compute_device())
    return StateEncoder(model, tokenizer_folder, backbone.document_length)


def centre(vectors: Vectors) -> Vectors:
    """Centre the vectors, (documents, width), and bring them to unit length in place; return their mean, (width,)."""
    states = torch.from_numpy(vectors)
    mean = states.mean(dim=0)
    centred(states, mean)
    return mean.numpy()


def save(folder: Path, encode: StateEncoder, mean: Vectors) -> None:
    """Write what `load` needs into the stage folder, including a copy of a checkpoint that may change elsewhere."""
    encode.model.save_pretrained(folder / BACKBONE)
    save_tokenizer(encode.tokenizer, folder / BACKBONE)
    np.save(folder / MEAN, mean)


def load(folder: Path, length: int) -> Encode:
    """The encoder that `save` wrote into the stage folder; it reads the first `length` tokens of a text."""
    model = open_index(folder / BACKBONE).to(compute_device())
    encode, mean = StateEncoder(model, folder / BACKBONE, length), np.load(folder / MEAN)
    return lambda texts: centred(torch.from_numpy(encode(texts)), torch.from_numpy(mean)).numpy()
