"""Whether the output rows of an index can be trained on a device, and with which keys they could."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from pydantic import ValidationError

from dsi.config import ModelConfig, TrainingConfig
from dsi.errors import DsiError
from dsi.runtime.launcher import is_fsdp
from dsi.runtime.processes import processes_here, rank
from dsi.runtime.system import total_memory

COPIES = {"adamw": 4, "adafactor": 2}
"""The numbers kept for each one of a row that is a parameter: itself, its gradient, and AdamW's two moments."""
BYTES = {"float32": 4, "bfloat16": 2}
WAYS = (
    {"softmax": "full", "optimizer": "adamw"},
    {"softmax": "full", "optimizer": "adafactor"},
    *({"softmax": softmax, "row_precision": each} for softmax in ("chunked", "sampled") for each in BYTES),
)
"""The keys that decide how much memory the rows take."""


@dataclass(frozen=True)
class Rows:
    """The output rows of an index: so many of `width` numbers, of which `head` reads some or all for a docid token."""

    count: int
    width: int
    head: str

    def bytes_for(self, training: TrainingConfig, processes: int, are_divided: bool) -> float:
        """The bytes on the device of each process of rows, and of what a step keeps beside them that grows with their
        number; `are_divided` says whether processes divide those that are parameters."""
        if training.softmax == "full":
            are_scored = self.head == "plain" or (self.head == "hierarchical_softmax" and training.labels == "teacher")
            logits = 8.0 * training.batch_size / (training.accumulation * processes) if are_scored else 0.0
            share = processes if are_divided else 1
            return self.count * (4.0 * COPIES[training.optimizer] * self.width / share + logits)
        squares = 4.0 if training.row_optimizer == "adagrad" else 0.0
        return self.count * (BYTES[training.row_precision] * self.width + squares) / processes


def check_room(training: TrainingConfig, model: ModelConfig, count: int, width: int, device: torch.device) -> None:
    """Check that so many output rows of `width` numbers have room, as they are to be trained: on the device, and before
    that in main memory, in float32 and beside the document states that start them.

    Raises:
        DsiError: they have not; the message names the keys with which they would.
    """
    rows, processes, here = Rows(count, width, model.head), rank().processes, processes_here()
    before, main = 2 * 4.0 * count * width, total_memory() / here
    if before > main:
        raise DsiError(
            f"{count:,} output rows of {width} numbers take {_size(before)} in main memory before training, their"
            f" document states included, and each of {here} processes here has {_size(main)}; start fewer processes on"
            " a machine, or take a smaller model.d_model"
        )
    room = _memory(device) / (here if device.type == "cpu" else 1)
    needed = rows.bytes_for(training, processes, is_fsdp())
    if needed <= room:
        return
    sizes = {way: rows.bytes_for(keys, processes, is_fsdp()) for way, keys in _ways(training, model.head, processes)}
    fitting = [f"{way} ({_size(takes)})" for way, takes in sizes.items() if takes <= room]
    if not fitting and model.head == "plain" and len(sizes) == len(WAYS):
        devices = -(-BYTES["bfloat16"] * count * width // int(room))
        fitting = [f"training.softmax=sampled training.row_precision=bfloat16 on {devices} devices"]
    raise DsiError(
        f"training.softmax={training.softmax}: {count:,} output rows of {width} numbers take {_size(needed)} a process,"
        f" and the device {device} has {_size(room)}; what fits:"
        f" {'; '.join([*fitting, 'a smaller model.d_model'])}"
    )


def _ways(training: TrainingConfig, head: str, processes: int) -> Iterator[tuple[str, TrainingConfig]]:
    """The ways of `WAYS` that go with the other keys, the head and so many processes."""
    for way in WAYS:
        if way["softmax"] != "full" and (head == "pawa" or (head == "hierarchical_softmax" and processes > 1)):
            continue
        try:
            changed = TrainingConfig.model_validate({**training.model_dump(), **way})
        except ValidationError:  # with training.consistency or accumulation
            continue
        yield " ".join(f"training.{key}={value}" for key, value in way.items()), changed


def _memory(device: torch.device) -> float:
    """The memory of a device in bytes; of the CPU, that of the machine."""
    return float(torch.cuda.get_device_properties(device).total_memory if device.type == "cuda" else total_memory())


def _size(count: float) -> str:
    return f"{count / 1e9:,.1f} GB"
