"""The Trainer's loggers: TensorBoard, wandb, trackio, with one axis of steps over rounds and starts of a training."""

import os
from copy import copy
from pathlib import Path
from typing import Any
from uuid import uuid4

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.integrations import TensorBoardCallback, get_reporting_integration_callbacks

from dsi.runtime.processes import is_first_process
from dsi.runtime.reporting import Reporting, reporting

WANDB_ID = "wandb-id"
"""The file with the id of the wandb run of a training, which a new start goes on with."""


class Reported(TrainerCallback):
    """One of the Trainer's loggers, told the steps since the beginning of the first round."""

    def __init__(self, logger: TrainerCallback, steps_before: int) -> None:
        self.logger, self.steps_before = logger, steps_before

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **options: Any
    ) -> None:
        self.logger.on_train_begin(args, self._of_all_rounds(state), control, **options)

    def on_log(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **options: Any) -> None:
        self.logger.on_log(args, self._of_all_rounds(state), control, **options)

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **options: Any
    ) -> None:
        self.logger.on_train_end(args, self._of_all_rounds(state), control, **options)

    def _of_all_rounds(self, state: TrainerState) -> TrainerState:
        state = copy(state)
        state.global_step += self.steps_before
        return state


def report_callbacks(steps_before: int, steps_done: int) -> list[TrainerCallback]:
    """The callbacks of the loggers to report to at present, for a training that has done `steps_done` steps of a round
    after `steps_before` of those before. Only the first process reports."""
    now = reporting()
    loggers = list[TrainerCallback]()
    for name in now.loggers if is_first_process() else ():
        if name == "tensorboard":
            loggers.append(_tensorboard(now.folder, steps_before + steps_done))
            continue
        if name == "wandb":
            _open_wandb(now)
        (callback,) = get_reporting_integration_callbacks([name])
        loggers.append(callback())
    return [Reported(logger, steps_before) for logger in loggers]


def _tensorboard(folder: Path, steps: int) -> TensorBoardCallback:
    """TensorBoard after so many steps; what an earlier start, which was stopped, wrote of later ones does not count."""
    from torch.utils.tensorboard import SummaryWriter

    return TensorBoardCallback(SummaryWriter(str(folder), purge_step=steps + 1))


def _open_wandb(now: Reporting) -> None:
    """Start the wandb run of a stage, or go on with it, unless the caller has one; it ends with the stage."""
    import wandb

    if wandb.run is not None:
        return
    now.folder.mkdir(parents=True, exist_ok=True)
    file = now.folder / WANDB_ID
    if not file.exists():
        file.write_text(uuid4().hex[:12], encoding="utf-8")
    project = os.getenv("WANDB_PROJECT", "huggingface")  # as the Trainer has it
    run_id = file.read_text(encoding="utf-8")
    wandb.init(project=project, name=now.name, id=run_id, resume="allow", dir=str(now.folder))
    now.closing.push(lambda kind, *_: wandb.finish(exit_code=int(kind is not None)))
