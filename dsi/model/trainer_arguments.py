"""The Trainer's arguments and the optimizer, the same for index, dual encoder and query generator."""

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import Adafactor, TrainingArguments

from dsi.errors import DsiError
from dsi.runtime.processes import LONGEST_WAIT
from dsi.runtime.reporting import reporting


def trainer_arguments(
    checkpoints_folder: Path,
    *,
    section: str,
    batch_size: int,
    eval_steps: int,
    accumulation: int | None = None,
    **options: Any,
) -> TrainingArguments:
    """The Trainer's arguments: linear decay, a checkpoint at each evaluation, the last two kept.

    `batch_size` is the number of examples per optimiser step over all processes and micro-batches; `accumulation` is
    the number of micro-batches per process, None if `section` of the configuration has no such key. `options` are
    further keys of `TrainingArguments`.

    Raises:
        DsiError: the batch does not divide among processes and micro-batches; the message names `section`.
    """
    arguments = TrainingArguments(
        output_dir=str(checkpoints_folder),
        gradient_accumulation_steps=accumulation or 1,
        lr_scheduler_type="linear",
        max_grad_norm=1.0,
        eval_steps=eval_steps,
        save_steps=eval_steps,
        save_total_limit=2,
        disable_tqdm=not sys.stderr.isatty(),
        report_to="none",  # the callbacks of loggers are added by dsi.model.report_callbacks
        run_name=reporting().name,
        ddp_timeout=int(LONGEST_WAIT.total_seconds()),
        **options,
    )
    # Without a launcher, nn.DataParallel would divide in-batch negatives among the GPUs of the process.
    arguments._n_gpu = min(arguments.n_gpu, 1)
    micro_batches = arguments.world_size * (accumulation or 1)
    if batch_size % micro_batches:
        raise DsiError(
            f"{section}.batch_size={batch_size} does not divide among {arguments.world_size} processes"
            + (f" x {section}.accumulation={accumulation}" if accumulation else "")
        )
    arguments.per_device_train_batch_size = batch_size // micro_batches
    return arguments


def optimizer_of(kind: str, *groups: tuple[Iterable[nn.Parameter], float]) -> torch.optim.Optimizer:
    """The optimizer adamw or adafactor over `groups` of parameters, each with its learning rate.

    Adafactor is set as for T5: its steps are relative to the size of the parameters, and it keeps two vectors of second
    moments per matrix, where AdamW keeps two numbers per parameter (108 GB for 8.8M x 768 rows, their
    weights and gradients included).
    """
    options: list[dict[str, Any]] = [
        {"params": chosen, "lr": rate} for parameters, rate in groups if (chosen := list(parameters))
    ]
    if kind == "adafactor":
        return Adafactor(options, scale_parameter=True, relative_step=False, warmup_init=False)
    return torch.optim.AdamW(options, betas=(0.9, 0.98), weight_decay=0.0, fused=True)
