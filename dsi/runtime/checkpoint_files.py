"""The files of a checkpoint in a local folder: are they whole? Only their beginnings are read, and no code is run."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from dsi.errors import DsiError

CONFIG_FILE, WEIGHTS, INDEX = "config.json", "model.safetensors", "model.safetensors.index.json"
LFS_POINTER = b"version https://git-lfs"
READABLE = ("F64", "F32", "F16", "BF16", "I64", "BOOL")
"""The number formats that need nothing else to be read: those of weights, and of places and masks, which old versions
of transformers saved beside them (BERT's position_ids). Quantised weights, in others, need their scales."""


def check_whole(files: Iterable[Path], key: str) -> None:
    """Look at the files, as far as they exist: the header of safetensors, the whole of JSON, the beginning of others.

    Raises:
        DsiError: a file is empty, a Git LFS pointer, cut, or not what its name says; the message names it and `key`,
            the key of the configuration.
    """
    for file in files:
        if not file.is_file():
            continue
        with file.open("rb") as opened:
            start = opened.read(len(LFS_POINTER))
        if start == LFS_POINTER:
            raise DsiError(f"{key}: {file} is a Git LFS pointer, not the file itself; run `git lfs pull` in its folder")
        if not start:
            raise DsiError(f"{key}: {file} is empty; download it again")
        if file.suffix == ".json":
            read_json(file, key)
        elif file.suffix == ".safetensors":
            weights_in(file, key)


def read_json(file: Path, key: str) -> Any:
    """What a JSON file holds; DsiError if it cannot be read."""
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise DsiError(f"{key}: {file} is not valid JSON ({error}); download it again") from None


def read_object(file: Path, key: str) -> dict[str, Any]:
    """The object that a JSON file holds; DsiError if it cannot be read or holds something else."""
    values = read_json(file, key)
    if not isinstance(values, dict):
        raise DsiError(f"{key}: {file} holds a {type(values).__name__}, not a JSON object")
    return values


def weights_in(file: Path, key: str) -> set[str]:
    """The names of the weights in a safetensors file, from its header.

    Raises:
        DsiError: the file is cut or damaged, or its weights are quantised.
    """
    try:
        with safe_open(file, "numpy") as opened:
            formats = {name: opened.get_slice(name).get_dtype() for name in opened.keys()}  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        raise DsiError(f"{key}: {file} is cut or damaged ({error}); download it again") from None
    for name, form in formats.items():
        if form not in READABLE:
            raise DsiError(f"{key}: {file}: weight {name} is {form}; quantised weights cannot be read")
    return set(formats)


def check_checkpoint_files(checkpoint: str, key: str) -> set[str] | None:
    """Check the configuration and weights in the folder `checkpoint`; the names of the weights, None for a hub name.

    Raises:
        DsiError: a file is missing or not whole, or the weights are pickled, which are never opened: reading them can
            run code.
    """
    folder = Path(checkpoint)
    if not folder.exists():
        if folder.is_absolute():
            raise DsiError(f"{key}: there is no folder {folder}; a run's model is there once `dsi train` is done")
        return None
    if not folder.is_dir():
        raise DsiError(f"{key}: {folder} is a file; expected is the folder of a checkpoint, with {CONFIG_FILE}")
    if not (folder / CONFIG_FILE).is_file():
        raise DsiError(f"{key}: {folder} has no {CONFIG_FILE}")
    check_whole([folder / CONFIG_FILE, folder / "generation_config.json", folder / INDEX, folder / WEIGHTS], key)
    read_object(folder / CONFIG_FILE, key)
    if (folder / WEIGHTS).is_file():
        return weights_in(folder / WEIGHTS, key)
    if not (folder / INDEX).is_file():
        if pickled := sorted(folder.glob("*.bin")):
            raise DsiError(
                f"{key}: {pickled[0]} is pickled, which is not opened as that can run code; convert it to"
                f" {WEIGHTS}: load it with transformers where you trust it, and call save_pretrained"
            )
        raise DsiError(f"{key}: {folder} has no weights: neither {WEIGHTS} nor {INDEX}")
    names = read_object(folder / INDEX, key).get("weight_map")
    if not names or not isinstance(names, dict):
        raise DsiError(f"{key}: {folder / INDEX} has no weight_map; download it again")
    files = [folder / str(name) for name in sorted(set(names.values()))]
    if missing := [file for file in files if not file.is_file()]:
        raise DsiError(f"{key}: {missing[0]} is missing, which {INDEX} names; download it again")
    check_whole(files, key)
    return set().union(*(weights_in(file, key) for file in files))
