"""Encoders of the package sentence-transformers."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from dsi.corpus.vectors import Encode
from dsi.errors import DsiError, first_line
from dsi.runtime.device import compute_device


def sentence_encoder(name: str, key: str) -> Any:
    """Load the sentence-transformers model `name`, a hub name or folder; `key` is its key in the configuration.

    Raises:
        DsiError: the package is not installed, or there is no such model.
    """
    try:
        from sentence_transformers import SentenceTransformer
    except ImportError:
        raise DsiError(f"{key} needs sentence-transformers: pip install 'dsi[sentence-transformers]'") from None
    try:
        return SentenceTransformer(name, device=str(compute_device()))
    except (OSError, ValueError) as error:
        raise DsiError(f"{key}: cannot load {name!r}: {first_line(error)}") from None


def half_precision(model: Any) -> Encode:
    """An encoder of many texts by `model.encode`, to float16: half of the disk, and precise enough for exact search."""

    def encode(texts: list[str]) -> NDArray[np.float16]:
        return np.asarray(model.encode(texts, show_progress_bar=False), dtype=np.float16)

    return encode
