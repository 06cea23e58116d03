"""Encoders of the package sentence-transformers, used as their own files say: modules, prompts, lengths."""

import re
from pathlib import Path
from typing import Any

import numpy as np
from transformers.utils import cached_file

from dsi.corpus.vectors import Encode, Vectors, as_float16
from dsi.errors import DsiError, first_line
from dsi.model.loading import check_weights
from dsi.runtime.checkpoint_files import CONFIG_FILE, check_whole, read_json, read_object
from dsi.runtime.device import compute_device
from dsi.runtime.extras import require
from dsi.tokenizer import ABSENT

MODULES = "modules.json"


def check_encoder(name: str, key: str) -> None:
    """Check a sentence-transformers model, a hub name or folder, without loading it; `key` is its configuration key.

    Raises:
        DsiError: the package is not installed, there is no such model, one of its files is damaged, or it needs code of
            its own, which is not run.
    """
    require("dense", key)
    folder = Path(name)
    if not folder.exists():
        if not re.fullmatch(r"\w[\w.-]*(/\w[\w.-]*)?", name):
            raise DsiError(f"{key}: there is no folder {name}, and this is no name on the Hugging Face hub")
        _check_hub_name(name, key)
        return
    check_whole(sorted(file for kind in ("json", "safetensors") for file in folder.rglob(f"*.{kind}")), key)
    for module in _modules(folder, key):
        if not str(module.get("type")).startswith("sentence_transformers."):
            raise DsiError(f"{key}: {name!r} needs code of its own, {module.get('type')}, which is not run")


def check_bi_encoder(name: str, key: str) -> None:
    """As `check_encoder`, of a model that gives one vector for a text; sentence-transformers averages the states of any
    other.

    Raises:
        DsiError: as `check_encoder`, or it is a model for something else.
    """
    check_encoder(name, key)
    for architecture in architectures(name, key):
        if architecture.endswith("ForSequenceClassification") or architecture == "DifferentiableSearchIndex":
            raise DsiError(f"{key}: {name!r} is a {architecture}, which gives no vectors of texts; take an encoder")


def architectures(name: str, key: str) -> list[str]:
    """The architectures of a model, a hub name or folder, as its config.json names them; none without that file."""
    return list(map(str, model_config(name, key).get("architectures") or []))


def model_config(name: str, key: str) -> dict[str, Any]:
    """What the config.json of a model, a hub name or folder, says; nothing without that file."""
    file = cached_file(name, CONFIG_FILE, **ABSENT)
    return read_object(Path(file), key) if file else {}


def _check_hub_name(name: str, key: str) -> None:
    try:
        is_known = any(cached_file(name, file, **ABSENT) for file in (MODULES, CONFIG_FILE))
    except OSError as error:
        raise DsiError(f"{key}: cannot load {name!r}: {first_line(error)}") from None
    if not is_known:
        raise DsiError(
            f"{key}: cannot load {name!r}: it is neither on the Hugging Face hub, as far as that can be reached,"
            " nor in its cache, nor a folder"
        )


def sentence_encoder(name: str, key: str) -> Any:
    """Load the sentence-transformers model `name`, a hub name or folder; `key` is its key in the configuration.

    Raises:
        DsiError: as `check_bi_encoder`, or some of its weights are missing or do not fit.
    """
    check_bi_encoder(name, key)
    from sentence_transformers import SentenceTransformer

    try:
        model = SentenceTransformer(name, device=str(compute_device()), trust_remote_code=False)
    except Exception as error:  # of many kinds, according to what is wrong with the files
        raise DsiError(f"{key}: cannot load {name!r}: {first_line(error)}") from None
    for number, module in enumerate(_modules(Path(name), key)):
        if (part := getattr(model[number], "auto_model", None)) is not None:
            # transformers gives random weights to what is missing; not all models have a pooler, nor do all use it
            check_weights(type(part), str(Path(name) / module["path"]), part.config, key, new=("pooler",))
    return model


def _modules(folder: Path, key: str) -> list[dict[str, Any]]:
    """The modules of a model in a folder: their types, and their folders as `path`; none for a hub name."""
    if (folder / MODULES).exists():
        modules = read_json(folder / MODULES, key)
        if not isinstance(modules, list) or not all(isinstance(each, dict) and "path" in each for each in modules):
            raise DsiError(f"{key}: {folder / MODULES} is not a list of modules, each with type and path")
        return modules
    return [{"type": "sentence_transformers.models.Transformer", "path": ""}] if folder.exists() else []


def document_encoder(model: Any) -> Encode:
    """An encoder of documents by `model.encode_document`, to float16 where that is precise enough."""

    def encode(texts: list[str]) -> Vectors:
        return as_float16(np.asarray(model.encode_document(texts, show_progress_bar=False)))

    return encode
