"""The Trainer's checkpoints, as a killed process leaves them."""

from __future__ import annotations

import json
from pathlib import Path

from transformers.trainer import TRAINER_STATE_NAME


def last_checkpoint(folder: Path) -> Path | None:
    """The newest complete checkpoint: the Trainer writes its state file last."""
    complete = [path.parent for path in folder.glob(f"checkpoint-*/{TRAINER_STATE_NAME}") if _is_json(path)]
    return max(complete, key=steps_done, default=None)


def steps_done(checkpoint: Path | None) -> int:
    """Optimiser steps before a checkpoint; 0 before there is one."""
    return int(checkpoint.name.split("-")[-1]) if checkpoint is not None else 0


def seconds_done(checkpoint: Path | None) -> float:
    """Training seconds before a checkpoint, of all starts; 0 before there is one."""
    if checkpoint is None:
        return 0.0
    history = json.loads((checkpoint / TRAINER_STATE_NAME).read_text())["log_history"]
    return max((entry.get("seconds", 0.0) for entry in history), default=0.0)


def has_stopped(checkpoint: Path | None) -> bool:
    """Whether training ended there, early or at its last step."""
    if checkpoint is None:
        return False
    callbacks = json.loads((checkpoint / TRAINER_STATE_NAME).read_text())["stateful_callbacks"]
    return bool(callbacks["TrainerControl"]["args"]["should_training_stop"])


def _is_json(path: Path) -> bool:
    try:
        json.loads(path.read_text())
    except ValueError:
        return False
    return True
