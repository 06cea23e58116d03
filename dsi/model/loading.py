"""Loads the weights of a checkpoint, all of them: transformers gives random ones to what is missing or does not fit."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import RLock
from typing import Any

import torch
from transformers import AutoConfig, PreTrainedConfig, PreTrainedModel
from transformers.utils import logging as transformers_logging

from dsi.config import T5Sizes
from dsi.errors import DsiError, first_line
from dsi.runtime.checkpoint_files import CONFIG_FILE, check_checkpoint_files, read_object
from dsi.runtime.processes import local_process_index

DOCID_PARTS = "docid_"
"""How the names of the parts begin that belong to the docids of an index; those for other docids have other shapes."""


def read_config(checkpoint: str, key: str) -> PreTrainedConfig:
    """The configuration of a checkpoint, a hub name or a folder; code that comes with it is not run.

    Raises:
        DsiError: it cannot be read; the message names `key`, the key of this project's configuration.
    """
    check_checkpoint_files(checkpoint, key)
    try:
        config = AutoConfig.from_pretrained(checkpoint, trust_remote_code=False)
    except Exception as error:  # of many kinds, according to what is wrong with the file
        raise DsiError(f"{key}: cannot load {checkpoint!r}: {first_line(error)}") from None
    if getattr(config, "quantization_config", None) is not None:
        raise DsiError(f"{key}: {checkpoint!r} is quantised; weights in float32, bfloat16 or float16 are needed")
    return config


def check_token_ids(config: PreTrainedConfig, checkpoint: str, key: str, *names: str) -> None:
    """DsiError unless the checkpoint's configuration has these token ids, each within its vocabulary."""
    for name in names:
        token_id = getattr(config, name, None)
        if token_id is None:
            hint = "; T5 starts with its padding piece, id 0" if name == "decoder_start_token_id" else ""
            raise DsiError(f"{key}: {checkpoint!r}: config.json has no {name}{hint}")
        if not isinstance(token_id, int) or not 0 <= token_id < config.vocab_size:
            raise DsiError(f"{key}: {checkpoint!r}: {name}={token_id} is not below vocab_size={config.vocab_size}")


def load_weights(
    model_class: Any,
    checkpoint: str,
    config: PreTrainedConfig,
    key: str,
    dtype: torch.dtype = torch.float32,
    new: Sequence[str] = (),
    asked: T5Sizes | None = None,
    only_check: bool = False,
) -> Any:
    """The model of `model_class` with this configuration and the weights of a checkpoint, a hub name or a folder.

    Parts of the model whose names are in `new` may be missing as a whole; with `DOCID_PARTS` there, those of docids may
    differ in any way. They start at random. `asked` are sizes that the checkpoint must have. With `only_check` no
    weight is read: the model is on the device meta.

    Raises:
        DsiError: a file is damaged, a size is not the one asked for, or a weight is missing, of another shape, not used
            or not finite.
    """
    names = check_checkpoint_files(checkpoint, key)
    try:
        with _LOADING, _no_report():
            model, found = model_class.from_pretrained(
                checkpoint,
                config=config,
                dtype=dtype,
                device_map="meta" if only_check else None,
                ignore_mismatched_sizes=True,  # so that all are found; `_fault` allows those of docids only
                output_loading_info=True,
                trust_remote_code=False,
            )
    except Exception as error:  # of many kinds, according to what is wrong with the files
        raise DsiError(f"{key}: cannot load {checkpoint!r}: {first_line(error)}") from None
    faults = [fault] if (fault := _fault(model, found, new) or _lost_head(model, checkpoint, names, key)) else []
    faults = [f"{key}: {checkpoint!r} {fault}" for fault in faults] + _other_sizes(asked, config, key)
    if faults:
        raise DsiError(*faults)
    if not only_check and not local_process_index():  # under FSDP, other processes may not have the weights yet
        for name, parameter in model.named_parameters():
            if parameter.numel() and not all(bound.isfinite() for bound in parameter.aminmax()):
                raise DsiError(f"{key}: {checkpoint!r}: weight {name} holds numbers that are NaN or infinite")
    return model


def check_weights(
    model_class: Any,
    checkpoint: str,
    config: PreTrainedConfig,
    key: str,
    new: Sequence[str] = (),
    asked: T5Sizes | None = None,
) -> None:
    """What `load_weights` would refuse without reading the weights; those of a hub name are not downloaded."""
    if Path(checkpoint).exists():
        load_weights(model_class, checkpoint, config, key, new=new, asked=asked, only_check=True)
    elif faults := _other_sizes(asked, config, key):
        raise DsiError(*faults)


def _other_sizes(asked: T5Sizes | None, found: PreTrainedConfig, key: str) -> list[str]:
    """What to say of each size that is asked for and is not that of the checkpoint under `key`, SECTION.checkpoint."""
    section, faults = key.removesuffix("checkpoint"), []
    for size in T5Sizes.model_fields:
        here, there = getattr(asked, size, None), getattr(found, size, None)
        if here is not None and here != there:
            faults.append(f"{section}{size}={here}, but {key} has {size}={there} of its own: remove the key")
    return faults


def _fault(model: PreTrainedModel, found: Mapping[str, Any], new: Sequence[str]) -> str | None:
    """What is wrong with a model according to transformers' account of its loading; None if all is well."""
    free = tuple(part for part in new if part == DOCID_PARTS)
    missing = sorted(name for name in found["missing_keys"] if not name.startswith(free))
    for part in {name.split(".")[0] for name in missing}:
        whole = {name for name, _ in model.named_parameters() if name.startswith(f"{part}.")}  # tied ones only once
        if whole <= set(missing):
            if part not in new:
                architectures = getattr(model.config, "architectures", None) or ["no class that config.json names"]
                return f"has no weights of the {part}; it was saved as {', '.join(architectures)}"
            missing = [name for name in missing if name not in whole]
    if missing:
        return f"lacks {_listed(missing)}"
    for name, there, here in sorted(found["mismatched_keys"]):
        if not name.startswith(free):
            return f"has weight {name} of shape {_shape(there)}, where its sizes in config.json ask for {_shape(here)}"
    children = dict(model.named_children())
    unused = sorted(name for name in found["unexpected_keys"] if name.split(".")[0] in children)
    unused = [name for name in unused if not name.startswith(free)]
    if unused and model.config.model_type in ("t5", "mt5"):  # other kinds keep constants that are not used
        return f"has {_listed(unused)} for which its sizes in config.json leave no place"
    return None


def _lost_head(model: PreTrainedModel, checkpoint: str, names: set[str] | None, key: str) -> str | None:
    """Whether a T5 with an output head of its own lacks it: transformers would take the embeddings instead."""
    if names is None or not hasattr(model, "lm_head") or any(name.endswith("lm_head.weight") for name in names):
        return None
    is_tied = read_object(Path(checkpoint) / CONFIG_FILE, key).get("tie_word_embeddings", True)
    return None if is_tied else "lacks the weight lm_head.weight, as tie_word_embeddings is false in its config.json"


def _listed(names: Sequence[str]) -> str:
    return f"the weight {names[0]}" + (f" and {len(names) - 1} more" if len(names) > 1 else "")


def _shape(sizes: Sequence[int]) -> str:
    return " x ".join(map(str, sizes))


_LOADING = RLock()
"""What a thread holds while it loads: transformers changes what its classes do meanwhile."""


@contextmanager
def _no_report() -> Iterator[None]:
    """Without what transformers says of new weights, which `_fault` judges, of parallel plans, and its progress bar."""
    loggers = [logging.getLogger(f"transformers.{name}") for name in ("modeling_utils", "distributed.tensor_parallel")]
    levels, has_bar = [logger.level for logger in loggers], transformers_logging.is_progress_bar_enabled()
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
        if has_bar:
            transformers_logging.enable_progress_bar()
