"""Whether the output rows of an index can be trained on a device, and with which keys they could."""

import torch

from dsi.config import TrainingConfig
from dsi.errors import DsiError
from dsi.runtime.processes import Rank
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


def check_room(training: TrainingConfig, rows: int, width: int, device: torch.device, rank: Rank) -> None:
    """Check that so many output rows of `width` numbers have room on a device as they are to be trained.

    Raises:
        DsiError: they have not; the message names the keys with which they would.
    """
    room = _memory(device)
    needed = row_bytes(training, rows, width, rank.processes)
    if needed <= room:
        return
    fitting = []
    for way in WAYS:
        takes = row_bytes(training.model_copy(update=way), rows, width, rank.processes)
        if takes <= room:
            fitting.append(" ".join(f"training.{key}={value}" for key, value in way.items()) + f" ({_size(takes)})")
    processes = -(-BYTES["bfloat16"] * rows * width // int(room))
    fitting = fitting or [
        f"training.softmax=sampled training.row_precision=bfloat16 on {processes} devices, or a smaller model.d_model"
    ]
    raise DsiError(
        f"training.softmax={training.softmax}: {rows:,} output rows of {width} numbers take {_size(needed)} a process,"
        f" and the device {device} has {_size(room)}; what fits: {'; '.join(fitting)}"
    )


def row_bytes(training: TrainingConfig, rows: int, width: int, processes: int = 1) -> float:
    """The bytes of a process's output rows, and of what a step keeps beside them that grows with their number."""
    if training.softmax == "full":
        logits = 8.0 * training.batch_size / (training.accumulation * processes)
        return rows * (4.0 * COPIES[training.optimizer] * width + logits)
    squares = 4.0 if training.row_optimizer == "adagrad" else 0.0
    return rows * (BYTES[training.row_precision] * width + squares) / processes


def _memory(device: torch.device) -> float:
    """The memory of a device in bytes; of the CPU, that of the machine."""
    return float(torch.cuda.get_device_properties(device).total_memory if device.type == "cuda" else total_memory())


def _size(count: float) -> str:
    return f"{count / 1e9:,.1f} GB"
