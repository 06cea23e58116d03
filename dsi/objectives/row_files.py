"""Output rows outside the model's parameters on disk: whole, whatever the number of processes, some at a time.

They are in the model's own checkpoint file (safetensors), under the name that they have as a parameter of the head, so
that a trained index is read like any other; what adagrad keeps is beside it while training goes on.
"""

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import torch
from safetensors import safe_open
from torch import Tensor
from transformers.utils import SAFE_WEIGHTS_NAME

from dsi.objectives.output_rows import AT_ONCE, OutputRows

NAME = "docid_head.weight"
SQUARES_FILE, SQUARES = "row_squares.safetensors", "squares"
DTYPES = {torch.float32: "F32", torch.bfloat16: "BF16"}


def write_rows(folder: Path, rows: OutputRows, with_squares: bool) -> None:
    """Add the rows to the checkpoint in `folder`, which the first process has written; all processes call this."""
    _append(folder / SAFE_WEIGHTS_NAME, NAME, rows.whole(), (rows.share.total, rows.weight.shape[1]), rows)
    if with_squares and rows.squares is not None:
        if rows.rank.process == 0:
            _write_header(folder / SQUARES_FILE, {})
        _append(folder / SQUARES_FILE, SQUARES, rows.whole_squares(), (rows.share.total,), rows)


def read_rows(folder: Path, rows: OutputRows) -> None:
    """Give `rows` the own ones of those in the checkpoint in `folder`."""
    _read(folder / SAFE_WEIGHTS_NAME, NAME, rows, rows.weight)
    if rows.squares is not None and (folder / SQUARES_FILE).exists():
        _read(folder / SQUARES_FILE, SQUARES, rows, rows.squares)


def read_others(folder: Path) -> dict[str, Tensor]:
    """The weights in the checkpoint in `folder` but the rows, by their names."""
    with safe_open(folder / SAFE_WEIGHTS_NAME, "pt") as file:
        return {name: file.get_tensor(name) for name in file.keys() if name != NAME}  # noqa: SIM118


def _read(path: Path, name: str, rows: OutputRows, into: Tensor) -> None:
    with safe_open(path, "pt") as file:
        whole = file.get_slice(name)
        for start in range(rows.share.start, rows.share.stop, AT_ONCE):
            stop = min(start + AT_ONCE, rows.share.stop)
            into[start - rows.share.start : stop - rows.share.start] = whole[start:stop].to(into)


def _append(path: Path, name: str, parts: Iterator[Tensor], shape: tuple[int, ...], rows: OutputRows) -> None:
    """Put one more tensor, whose parts come to the first process, into a safetensors file."""
    if rows.rank.process:
        assert not list(parts)  # it sends them
        return
    temporary = path.with_suffix(".partial")
    with path.open("rb") as old:
        header = json.loads(old.read(int.from_bytes(old.read(8), "little")))
        stop = max((entry["data_offsets"][1] for entry in header.values() if "data_offsets" in entry), default=0)
        dtype = torch.float32 if name == SQUARES else rows.weight.dtype
        size = torch.Size(shape).numel() * dtype.itemsize
        entry = {"dtype": DTYPES[dtype], "shape": list(shape), "data_offsets": [stop, stop + size]}
        _write_header(temporary, {**header, name: entry})
        with temporary.open("ab") as new:
            shutil.copyfileobj(old, new, 1 << 24)
            for part in parts:
                new.write(part.contiguous().view(torch.uint8).numpy().data)
    os.replace(temporary, path)


def _write_header(path: Path, header: dict[str, object]) -> None:
    """Begin a safetensors file: the length of the header and the header, JSON padded to 8 bytes."""
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(len(text).to_bytes(8, "little") + text)
