"""The Trainer's checkpoints: when they are whole, which one to resume from, and how far training had come."""

import json
from pathlib import Path
from typing import Any

from transformers import Trainer
from transformers.trainer import TRAINER_STATE_NAME
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR

from dsi.model.report_callbacks import report_callbacks
from dsi.runtime.processes import wait_for_everyone


class ResumableTrainer(Trainer):
    """The Trainer, whose checkpoints are whole once their last file, the state, is written, and stay so.

    It reports to the loggers that are to be reported to at present (dsi.runtime.reporting).
    """

    steps_before = 0
    """The number of steps of earlier rounds of the same training."""

    def train(self, resume_from_checkpoint: str | None = None, **options: Any) -> Any:
        done = steps_done(Path(resume_from_checkpoint) if resume_from_checkpoint else None)
        for callback in report_callbacks(self.steps_before, done):
            self.add_callback(callback)
        return super().train(resume_from_checkpoint, **options)

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        """Write a checkpoint, unless training resumed at this step: a kill would leave it half written anew."""
        if not _state(Path(self.args.output_dir, f"{PREFIX_CHECKPOINT_DIR}-{self.state.global_step}")):
            super()._save_checkpoint(model, trial)

    def _save_rng_state(self, output_dir: str) -> None:
        """Write the random states of every process before the first one writes the state: dropout goes on from them."""
        super()._save_rng_state(output_dir)
        wait_for_everyone()


def last_checkpoint(folder: Path) -> Path | None:
    """The newest complete checkpoint of a folder, None if there is none; the Trainer writes its state file last."""
    complete = [path.parent for path in folder.glob(f"checkpoint-*/{TRAINER_STATE_NAME}") if _state(path.parent)]
    return max(complete, key=steps_done, default=None)


def steps_done(checkpoint: Path | None) -> int:
    """The number of optimiser steps before a checkpoint; 0 for None."""
    return int(checkpoint.name.split("-")[-1]) if checkpoint is not None else 0


def seconds_done(checkpoint: Path | None) -> float:
    """The seconds of training before a checkpoint, over all its starts; 0 for None."""
    history = _state(checkpoint)["log_history"] if checkpoint else []
    return max((entry.get("seconds", 0.0) for entry in history), default=0.0)


def has_stopped(checkpoint: Path | None) -> bool:
    """Whether training ended at a checkpoint, early or at its last step; False for None."""
    control = _state(checkpoint)["stateful_callbacks"]["TrainerControl"] if checkpoint else None
    return bool(control and control["args"]["should_training_stop"])


def _state(checkpoint: Path) -> dict[str, Any]:
    """The Trainer's state at a checkpoint; empty where a process ended before all of it was written."""
    try:
        return json.loads((checkpoint / TRAINER_STATE_NAME).read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return {}
