"""One round of training: warm start, steps with a learning rate that rises and falls, and the refresh of the rows.

A finished round is a folder with the model and `round.json`, which is written last; the next one starts from it.
"""

from __future__ import annotations

import json
import math
import shutil
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transformers import EarlyStoppingCallback, TrainingArguments

from dsi.artifacts import write_json
from dsi.config import ModelConfig, TrainingConfig
from dsi.corpus.store import Corpus
from dsi.docids.store import Docids
from dsi.model.architecture import DifferentiableSearchIndex, parameters_by_part
from dsi.model.build import DocidShape, build_model
from dsi.model.checkpoints import last_checkpoint, seconds_done, steps_done
from dsi.model.device import is_bfloat16
from dsi.model.document_states import document_states
from dsi.model.trainer_arguments import trainer_arguments
from dsi.model.warm_start import refresh, warm_start
from dsi.training.batch_trainer import DEV_MEASURE
from dsi.training.batches import Batches
from dsi.training.dev import DEV_SPLIT, dev_evaluator
from dsi.training.examples import Examples
from dsi.training.record import dev_curve, training_record
from dsi.training.targets import DocidTargets
from dsi.training.trainer import DocidTrainer

ROUND = "round.json"
UNTRAINED = "untrained"
"""Folder of the model with a warm start alone, which a short training may not better."""
HEAD_RATE_TIMES_DOCUMENTS = 12.0
"""AdamW moves a row that hears nothing of its own document as far as one that does, so a row's step must shrink as its
document comes up less often: 2e-3 is best for 6,000 documents, and ruins a warm start for 36,594."""


@dataclass(frozen=True)
class Round:
    """A finished round."""

    folder: Path
    seconds: float
    """Of training up to its end, the warm start and earlier rounds included."""
    steps: int
    """Done up to its end."""
    curve: list[dict[str, Any]]
    record: list[dict[str, Any]]
    parameters: dict[str, int]
    """Of each part."""
    best_step: int
    refreshed: bool
    """Whether the document states made the rows better."""
    measure: float | None
    """dev RR@10 of the model; None without dev queries."""


def write_round(done: Round) -> None:
    write_json(done.folder / ROUND, {key: value for key, value in vars(done).items() if key != "folder"})


def read_round(folder: Path) -> Round:
    return Round(folder, **json.loads((folder / ROUND).read_text(encoding="utf-8")))


def copy_model(source: Path, target: Path) -> None:
    """The files of a model, without what is noted of its round."""
    for file in source.iterdir():
        if file.name != ROUND:
            shutil.copy2(file, target)


def train_round(
    folder: Path,
    number: int,
    before: Round | None,
    examples: Examples,
    model: ModelConfig,
    training: TrainingConfig,
    corpus: Corpus,
    tokenizer: Path,
    docids: Docids,
) -> None:
    """Fill `folder` with round `number`, which goes on from the last checkpoint, or starts where `before` ended.

    Raises:
        DsiError: the loss is not finite, or bfloat16 was asked of a device without it.
    """
    if training.rounds > 1:
        print(f"round {number + 1} of {training.rounds}", file=sys.stderr, flush=True)
    checkpoints = folder.with_name(f"checkpoints-{number}")
    has_dev = DEV_SPLIT in corpus.splits
    arguments = training_arguments(training, checkpoints, has_dev)
    # PAWA's projections of late positions have no gradient where a batch's docids are short
    arguments.ddp_find_unused_parameters = model.head == "pawa"
    last = last_checkpoint(checkpoints)
    rate = training.head_learning_rate or min(max(HEAD_RATE_TIMES_DOCUMENTS / len(corpus), 1e-4), 2e-3)
    start = model if before is None else model.model_copy(update={"checkpoint": str(before.folder)})
    shape = DocidShape.of(docids, model.head)
    index = build_model(start, tokenizer, training.seed, shape, training.consistency)
    is_warm = model.warm_start and (docids.is_atomic or model.head == "tree")
    evaluate = dev_evaluator(corpus, docids, tokenizer, training.dev_queries, model.query_length)
    seconds_before = seconds_done(last) if last else before.seconds if before else 0.0
    if last is None and before is None and is_warm:
        began = time.monotonic()
        index.to(arguments.device)
        warm_start(index, docids, document_states(index, tokenizer, corpus, model.document_length))
        seconds_before = time.monotonic() - began
        if evaluate is not None and arguments.process_index == 0:
            untrained = folder.with_name(UNTRAINED)
            index.save_pretrained(untrained)
            point = {"step": 0, "examples": 0, "seconds": seconds_before, "loss": math.nan, **evaluate(index)}
            parts = parameters_by_part(index)
            write_round(Round(untrained, seconds_before, 0, [point], [], parts, 0, False, point[DEV_MEASURE]))
    steps_before = before.steps if before else 0
    trainer = DocidTrainer(
        index,
        arguments,
        training,
        Batches(
            examples,
            DocidTargets(docids, with_nodes=model.head == "tree"),
            training.batch_size,
            index.config.pad_token_id,
            training.seed,
            steps_before + training.steps,
            training.tasks.model_dump(),
            first_step=steps_before + steps_done(last),
            accumulation=training.accumulation,
            process=arguments.process_index,
            processes=arguments.world_size,
        ),
        evaluate,
        head_rate=rate,
        seconds_before=seconds_before,
        callbacks=[EarlyStoppingCallback(training.patience)] if training.patience and has_dev else [],
    )
    trainer.train(resume_from_checkpoint=str(last) if last else None)
    trainer.save_model(str(folder))
    if arguments.process_index == 0:
        curve = dev_curve(trainer.state.log_history, training.batch_size, steps_before)
        best = max(curve, key=lambda point: point.get(DEV_MEASURE, point["step"]))
        measure, refreshed = best.get(DEV_MEASURE), False
        if is_warm and evaluate is not None:
            fresh = DifferentiableSearchIndex.from_pretrained(folder).to(arguments.device)
            refresh(fresh, docids, document_states(fresh, tokenizer, corpus, model.document_length))
            found = evaluate(fresh)[DEV_MEASURE]
            print(f"rows refreshed with document states: dev {DEV_MEASURE} {found:.4f}", file=sys.stderr, flush=True)
            curve.append({**curve[-1], "seconds": trainer.seconds, DEV_MEASURE: found})
            refreshed = found > best[DEV_MEASURE]
            if refreshed:
                measure = found
                fresh.save_pretrained(folder)
        seconds, steps = trainer.seconds, steps_before + trainer.state.global_step
        record = training_record(trainer.state.log_history, steps_before)
        parts = parameters_by_part(index)
        write_round(Round(folder, seconds, steps, curve, record, parts, best["step"], refreshed, measure))
        shutil.rmtree(checkpoints)
    trainer.accelerator.wait_for_everyone()


def training_arguments(config: TrainingConfig, checkpoints: Path, has_dev: bool) -> TrainingArguments:
    """The Trainer's arguments for our configuration.

    Raises:
        DsiError: bfloat16 was asked of a device without it, or the batch does not divide among the processes.
    """
    return trainer_arguments(
        checkpoints,
        section="training",
        batch_size=config.batch_size,
        accumulation=config.accumulation,
        max_steps=config.steps,
        warmup_steps=config.warmup_steps,
        bf16=is_bfloat16(config.precision, "training.precision"),
        seed=config.seed,
        logging_steps=math.gcd(50, config.eval_steps),  # a loss that is not finite is seen before it is saved
        logging_nan_inf_filter=False,
        eval_strategy="steps",
        eval_steps=config.eval_steps,
        load_best_model_at_end=has_dev,
        metric_for_best_model=f"eval_{DEV_MEASURE}" if has_dev else None,
        greater_is_better=True if has_dev else None,
        ignore_data_skip=True,  # Batches starts at the right step by itself
        restore_callback_states_from_checkpoint=True,  # patience goes on counting
    )
