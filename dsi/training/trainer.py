"""The trainer of the index: evaluation by retrieval on dev, a log of the speed, whole checkpoints under FSDP."""

import time
from collections.abc import Mapping
from contextlib import nullcontext
from operator import sub
from pathlib import Path
from typing import Any

import torch
from accelerate.utils import broadcast_object_list
from safetensors.torch import load_file
from torch import nn
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict, set_model_state_dict
from transformers import TrainerCallback, TrainerControl, TrainingArguments

from dsi.config import TrainingConfig
from dsi.errors import DsiError
from dsi.model.architecture import DifferentiableSearchIndex, Objective, placed
from dsi.model.cost import TRAINING, leaf_flops, logit_flops, training_flops
from dsi.objectives.output_rows import OutputRows
from dsi.objectives.row_files import read_others, read_rows, write_rows
from dsi.runtime.device import multiplication_speed
from dsi.training.batch_trainer import BatchTrainer
from dsi.training.batches import Batches
from dsi.training.dev import DevEvaluator


class DocidTrainer(BatchTrainer):
    """Trains the index.

    Args:
        objective: what a step minimises.
        evaluate_dev: the evaluator on the dev queries, or None where there is no dev split.
        head_rate: the learning rate of the docid head, unless `rows` have their own.
        rows: the output rows, where they are outside the model's parameters.
        seconds_before: seconds of training before this start, earlier rounds included.
        steps_before: steps of earlier rounds.
    """

    control: TrainerControl

    def __init__(
        self,
        model: DifferentiableSearchIndex,
        arguments: TrainingArguments,
        config: TrainingConfig,
        objective: Objective,
        batches: Batches,
        evaluate_dev: DevEvaluator | None,
        head_rate: float,
        seconds_before: float,
        callbacks: list[TrainerCallback],
        rows: OutputRows | None = None,
        steps_before: int = 0,
    ) -> None:
        rates = {
            "backbone": config.learning_rate,
            "embeddings": config.embedding_learning_rate,
            "head": head_rate,
            "pawa": config.learning_rate,
        }
        # The Trainer insists on an evaluation set where it is to evaluate; `evaluate` below has its own queries.
        options = {"eval_dataset": batches, "callbacks": callbacks}
        self.objective, self.rows = objective, rows
        passes = self.objective.passes
        self.flops_per_text_token = training_flops(model, 1, 0, passes)
        self.flops_per_docid_token = training_flops(model, 0, 1, passes)
        self.flops_per_logit = logit_flops(model)
        if rows is not None and model.config.docid_head == "plain":  # the rows visited are counted instead
            self.flops_per_docid_token -= TRAINING * 2.0 * model.docid_head.multiplications()
        is_over_leaves = (
            rows is None and config.labels == "teacher" and model.config.docid_head == "hierarchical_softmax"
        )
        self.flops_per_example = leaf_flops(model, passes) if is_over_leaves else 0.0
        super().__init__(
            model, arguments, batches, "training", config.optimizer, rates, self._batch_flops, seconds_before, **options
        )
        self.config, self.steps_before = config, steps_before
        self.evaluate_dev = evaluate_dev
        self.index, self.batches = model, batches
        self.speed = multiplication_speed(arguments.device)
        self.last_log = (time.monotonic(), 0, 0)

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Log, beside the loss, the speed since the last line, and its share of the machine's multiplication speed."""
        if "loss" in logs:
            this_log = (time.monotonic(), *self.batches.served)
            seconds, text_tokens, docid_tokens = map(sub, this_log, self.last_log)
            examples = self.args.logging_steps * self.config.batch_size
            flops = self._flops(text_tokens, docid_tokens, examples / self.args.world_size, self.args.logging_steps)
            logs |= {
                "examples_per_second": examples / seconds,
                "tokens_per_second": text_tokens * self.args.world_size / seconds,
                "share_of_bound": flops / seconds / self.speed,
            }
            self.last_log = this_log
        super().log(logs, start_time)

    def compute_loss(self, model: nn.Module, inputs: dict[str, Any], *_: Any, **__: Any) -> torch.Tensor:
        loss: torch.Tensor = model(self.objective, inputs)
        return loss

    def training_step(self, *arguments: Any, **options: Any) -> torch.Tensor:
        """A step of the Trainer; rows outside the model's parameters follow the same schedule, and have changed too."""
        if self.rows is None:
            return super().training_step(*arguments, **options)
        assert self.optimizer is not None
        group = self.optimizer.param_groups[0]
        self.rows.schedule = group["lr"] / group["initial_lr"]
        loss = super().training_step(*arguments, **options)
        self.rows.end_step()
        return loss

    def _batch_flops(self, inputs: Mapping[str, torch.Tensor]) -> float:
        return self._flops(inputs["input_ids"].numel(), inputs["codes"].numel(), len(inputs["codes"]), steps=1)

    def _flops(self, text_tokens: float, docid_tokens: float, examples: float, steps: int) -> float:
        of_tokens = text_tokens * self.flops_per_text_token + docid_tokens * self.flops_per_docid_token
        of_rows = steps * self.rows.logits * self.flops_per_logit if self.rows is not None else 0.0
        return of_tokens + examples * self.flops_per_example + of_rows

    def evaluate(self, *_: Any, **__: Any) -> dict[str, float]:
        """Measure retrieval on the dev queries and log it; the Trainer keeps the best checkpoint by it."""
        metrics = {"eval_seconds": self.seconds}
        if self.evaluate_dev is not None:
            metrics |= {f"eval_{name}": value for name, value in self._dev_measures(self.evaluate_dev).items()}
        self.log(metrics)
        self.last_log = (time.monotonic(), *self.batches.served)  # the speed is that of training alone
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        return metrics

    def _dev_measures(self, evaluate_dev: DevEvaluator) -> dict[str, float]:
        """The dev measures; where processes divide the model, the first one puts it together and tells the others."""
        is_divided = self.rows is not None and self.rows.rank.processes > 1
        whole = self._gathered_model() if self.is_fsdp_enabled else self.index
        measures: list[Any] = [None]
        with self.rows.lent_to(whole.docid_head) if self.rows is not None else nullcontext():
            if not (self.is_fsdp_enabled or is_divided):
                return evaluate_dev(whole)
            if self.args.process_index == 0:
                measures = [evaluate_dev(placed(whole, self.args.device))]
        return broadcast_object_list(measures)[0]

    def _gathered_model(self) -> DifferentiableSearchIndex:
        """The whole model in the first process, where FSDP divides it, without rows that are no parameters of it."""
        weights = self._gathered_weights()
        with torch.device("meta"):
            whole = DifferentiableSearchIndex(self.index.config)
        if self.rows is not None:
            whole.docid_head.register_parameter("weight", None)
        if self.args.process_index == 0:
            whole.load_state_dict(weights, assign=True)
        return whole

    def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
        """Write one whole checkpoint, also of a model that FSDP divides, or of which processes divide the rows."""
        if self.is_fsdp_enabled:
            weights = self._gathered_weights()
            if self.args.should_save:
                self._save(output_dir, state_dict=weights)
        else:
            super().save_model(output_dir, _internal_call)
        if self.rows is not None:
            write_rows(Path(output_dir or str(self.args.output_dir)), self.rows, with_squares=_internal_call)

    def _load_best_model(self) -> None:
        best = Path(self.state.best_model_checkpoint)
        if not best.exists():  # the Trainer would keep the last model instead, and say so in a warning
            raise DsiError(f"training: the best checkpoint, {best}, is gone; remove {best.parent} to train again")
        if self.is_fsdp_enabled or self.rows is not None:
            self._load_from_checkpoint(str(best))
        else:
            super()._load_best_model()

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: nn.Module | None = None) -> None:
        folder = Path(resume_from_checkpoint)
        if self.is_fsdp_enabled:
            self._spread_weights(folder)
        elif self.rows is not None:
            others = read_others(folder)
            if lacking := {name for name, _ in self.index.named_parameters()} - others.keys():
                raise DsiError(f"{folder}: the checkpoint lacks {', '.join(sorted(lacking))}; remove it")
            self.index.load_state_dict(others, strict=False)  # a shared weight is there once
        else:
            super()._load_from_checkpoint(resume_from_checkpoint, model)
        if self.rows is not None:
            read_rows(folder, self.rows)

    def _spread_weights(self, checkpoint: Path) -> None:
        """Give every process its part of a whole checkpoint."""
        names = {name for name, _ in self.index.named_parameters()}  # a shared weight only once
        read = (load_file(file) for file in checkpoint.glob("*.safetensors"))
        weights = {name: tensor for part in read for name, tensor in part.items() if name in names}
        options = StateDictOptions(full_state_dict=True, strict=False)
        set_model_state_dict(self.model_wrapped, weights, options=options)

    def _gathered_weights(self) -> dict[str, Any]:
        """All weights, whole, on the CPU of the first process, where accelerate's get_state_dict gives divided ones."""
        options = StateDictOptions(full_state_dict=True, cpu_offload=True)
        return get_model_state_dict(self.model_wrapped, options=options)
