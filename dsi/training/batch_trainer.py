"""The Hugging Face Trainer with ready-made batches, a learning rate for each part of a model, and a quiet log."""

import math
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn
from torch.utils.data import DataLoader
from transformers import PrinterCallback, TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from dsi.errors import DsiError
from dsi.evaluation.measures import DEV_MEASURE
from dsi.model.architecture import part_of
from dsi.model.checkpoints import ResumableTrainer
from dsi.model.trainer_arguments import optimizer_of
from dsi.training.batches import Batches

SECONDS_BETWEEN_LINES = 30.0


class BatchTrainer(ResumableTrainer):
    """Trains a model on batches that come ready-made.

    Args:
        section: the section of the configuration that has the learning rates, named in messages.
        optimizer: adamw or adafactor.
        rates: the learning rate of each part of the model (see `part_of`).
        flops: a function from a batch to the FLOPs of training on it, padding included.
        seconds_before: seconds of training before this start, for a resumed run.
        options: further arguments of the Hugging Face Trainer.
    """

    optimizer: torch.optim.Optimizer | None

    def __init__(
        self,
        model: nn.Module,
        arguments: TrainingArguments,
        batches: Batches,
        section: str,
        optimizer: str,
        rates: Mapping[str, float],
        flops: Callable[[Mapping[str, torch.Tensor]], float],
        seconds_before: float,
        **options: Any,
    ) -> None:
        super().__init__(model=model, args=arguments, train_dataset=batches, **options)
        self.rates, self.optimizer_kind, self.flops = rates, optimizer, flops
        self.started = time.monotonic() - seconds_before
        self.remove_callback(PrinterCallback)
        self.add_callback(TrainingLog(section, arguments.max_steps, batches.batch_size))

    @property
    def seconds(self) -> float:
        """The seconds of training so far, over all its starts."""
        return round(time.monotonic() - self.started, 2)

    def floating_point_ops(self, inputs: dict[str, Any]) -> int:
        """FLOPs of a batch, which the Trainer adds up over all processes and starts in `state.total_flos`."""
        return int(self.flops(inputs))

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        super().log({"seconds": self.seconds, **logs}, start_time)

    def get_train_dataloader(self) -> DataLoader[dict[str, torch.Tensor]]:
        """The batches as they are: they are divided among the processes already, which accelerate must not do again."""
        own = torch.Generator()  # each start would draw a seed from the one that dropout goes on from
        return DataLoader(self.train_dataset, batch_size=None, pin_memory=torch.cuda.is_available(), generator=own)

    def create_optimizer(self, model: nn.Module | None = None) -> torch.optim.Optimizer:
        """The optimizer, with a learning rate for each part: T5's embeddings need larger steps than its matrices."""
        if self.optimizer is None:
            parts: dict[str, list[nn.Parameter]] = {part: [] for part in self.rates}
            for name, parameter in (model or self.model).named_parameters():
                parts[part_of(name)].append(parameter)
            groups = ((parts[part], rate) for part, rate in self.rates.items())
            self.optimizer = optimizer_of(self.optimizer_kind, *groups)
        return self.optimizer


class TrainingLog(TrainerCallback):
    """Prints a line now and then with the loss, the dev measure and the time left; stops at a loss that is not finite.

    Raises:
        DsiError: the loss is NaN or infinite; the last checkpoint is kept.
    """

    def __init__(self, section: str, steps: int, batch_size: int) -> None:
        self.section, self.steps, self.batch_size = section, steps, batch_size
        self.start: tuple[float, int] | None = None
        self.last_line = time.monotonic()
        self.loss = float("nan")

    def on_log(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, logs: dict[str, float], **_: Any
    ) -> None:
        self.start = self.start or (time.monotonic(), state.global_step)
        self.loss = logs.get("loss", self.loss)
        if "loss" in logs and not math.isfinite(self.loss):
            raise DsiError(
                f"{self.section}: the loss is {self.loss} at step {state.global_step}; lower"
                f" {self.section}.learning_rate, or the other learning rates there, and start again"
            )
        measure = logs.get(f"eval_{DEV_MEASURE}")
        now = time.monotonic()
        if not state.is_world_process_zero or (measure is None and now - self.last_line < SECONDS_BETWEEN_LINES):
            return
        self.last_line = now
        seconds, steps = now - self.start[0], state.global_step - self.start[1]
        line = f"step {state.global_step:,} of {self.steps:,}  loss {self.loss:.3f}"
        if steps:
            left = seconds / steps * (self.steps - state.global_step)
            line += f"  {steps * self.batch_size / seconds:,.0f} examples a second  {left:.0f} s left"
        print(line + (f"  dev {DEV_MEASURE} {measure:.4f}" if measure is not None else ""), file=sys.stderr, flush=True)
