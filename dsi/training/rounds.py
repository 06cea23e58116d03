"""One round of training: warm start, steps whose learning rate rises and falls, document states added to output rows.

The trained model is kept apart until the states are added, so that a killed process repeats neither. A finished round
is a folder with the model and `round.json`, which is written last; the next round starts from it.
"""

import json
import math
import shutil
import sys
import time
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import EarlyStoppingCallback, TrainingArguments

from dsi.artifacts import is_written, write_json
from dsi.config import ModelConfig, TrainingConfig
from dsi.corpus.store import Corpus
from dsi.corpus.vectors import Vectors, vector_shards
from dsi.docids.store import Docids
from dsi.errors import DsiError
from dsi.evaluation.measures import DEV_MEASURE
from dsi.model.architecture import DifferentiableSearchIndex, parameters_by_part, placed
from dsi.model.build import DocidShape, build_backbone, build_model, whole_on_every_process
from dsi.model.checkpoints import has_stopped, last_checkpoint, seconds_done, steps_done
from dsi.model.document_states import document_states, states_of
from dsi.model.trainer_arguments import trainer_arguments
from dsi.model.warm_start import add_document_states, warm_start
from dsi.objectives.choice import cluster_rows, objective_of
from dsi.objectives.output_rows import OutputRows
from dsi.objectives.sampling import Clusters
from dsi.runtime.device import compute_device, is_bfloat16
from dsi.runtime.processes import is_first_process, rank, wait_for_everyone
from dsi.runtime.shards import published
from dsi.teacher.labels import TeacherLabels
from dsi.tokenizer import open_tokenizer
from dsi.training.batches import Batches
from dsi.training.dev import DevEvaluator, dev_evaluator
from dsi.training.examples import Examples, write_examples
from dsi.training.record import dev_curve, training_record
from dsi.training.targets import DocidTargets, MakeTargets, TeacherTargets, output_rows
from dsi.training.tasks import document_task
from dsi.training.trainer import DocidTrainer

ROUND = "round.json"
STEPS = "steps.json"
"""The file with the Trainer's log of a round, beside its best model; written before document states are added."""
UNTRAINED = "untrained"
"""The folder of the model after the warm start alone, which a short training may not better."""
CLUSTERS = ".clusters.npy"
"""The suffix of the file of the cluster of each output row, from which a round's steps sample."""
WARM_STATES = "states-before"
"""The folder of the document states of the warm start."""
TOKENISED = "documents"
"""The folder of the documents' token ids."""
HEAD_RATE_TIMES_DOCUMENTS = 12.0
"""The docid head's default learning rate, times the number of documents. AdamW moves an output row as far when its
document is absent from a batch as when it is there, so the rate must fall as each document comes up less often: 2e-3 is
best for 6,000 documents, and ruins a warm start for 36,594."""


@dataclass(frozen=True)
class Round:
    """A finished round; seconds, steps and FLOPs are those of the whole training up to its end."""

    folder: Path
    seconds: float
    """The seconds of training, the warm start included."""
    steps: int
    flops: float
    """The FLOPs of the training steps."""
    curve: list[dict[str, Any]]
    """The points of the dev curve of this round."""
    record: list[dict[str, Any]]
    """The loss and the speed, as logged in this round."""
    parameters: dict[str, int]
    """The number of parameters of each part of the model."""
    best_step: int
    """The step whose model was kept."""
    states_added: bool
    """Whether the document states were added to the output rows, which they are if that is better on dev."""
    measure: float | None
    """RR@10 of the model on dev queries; None without dev queries."""


def write_round(done: Round) -> None:
    """Write `round.json`, which makes the folder of the round complete."""
    write_json(done.folder / ROUND, {key: value for key, value in vars(done).items() if key != "folder"})


def read_round(folder: Path) -> Round:
    """The finished round in a folder."""
    return Round(folder, **json.loads((folder / ROUND).read_text(encoding="utf-8")))


def copy_model(source_folder: Path, target_folder: Path) -> None:
    """Copy the files of a model, without what is noted of its round."""
    shutil.copytree(source_folder, target_folder, ignore=shutil.ignore_patterns(ROUND, STEPS), dirs_exist_ok=True)


@dataclass(frozen=True)
class RoundContext:
    """What all rounds of a training have in common."""

    examples: Examples
    model: ModelConfig
    training: TrainingConfig
    corpus: Corpus
    tokenizer_folder: Path
    docids: Docids
    labels: TeacherLabels | None = None
    """The labels of a teacher, with training.labels=teacher."""
    weights: Mapping[str, float] | None = None
    """The share of each task in the examples; None for those of the configuration."""
    add_states: bool | None = None
    """Whether document states are added to the rows in the end; None: if that is better on dev."""

    @property
    def targets(self) -> MakeTargets:
        """What the model is to predict for the examples."""
        is_tree = self.model.head == "hierarchical_softmax"
        target = DocidTargets(self.docids, with_nodes=is_tree)
        if self.labels is None:
            return target
        return TeacherTargets(self.labels, target, output_rows(self.docids, is_tree), not self.docids.is_atomic)

    @property
    def is_warm(self) -> bool:
        """Whether document states start the output rows, and may be added to them after each round."""
        return self.model.warm_start and (self.docids.is_atomic or self.model.head == "hierarchical_softmax")

    def states(self, backbone: DifferentiableSearchIndex, work_folder: Path) -> list[Path]:
        """The files of the document states, in `work_folder`; all processes compute them together.

        The documents are tokenised once for all rounds, beside that folder: half of the time of a small model's pass.
        """
        model, tokenizer = placed(backbone, compute_device()).eval(), open_tokenizer(self.tokenizer_folder)
        task = {"documents": document_task(self.corpus, tokenizer, self.model.document_length)}
        texts = write_examples(work_folder.with_name(TOKENISED), task, len(tokenizer), rank())

        def encode(numbers: range) -> Vectors:
            return states_of(model, texts.token_ids(numbers))

        return vector_shards(work_folder, self.corpus, encode, "document states", rank())

    def backbone(self, checkpoint: str | None) -> DifferentiableSearchIndex:
        """The model of a checkpoint without its output rows, loaded whole on every process even under FSDP."""
        start = self.model.model_copy(update={"checkpoint": checkpoint})
        return build_backbone(start.backbone, self.tokenizer_folder, self.training.seed)

    @cached_property
    def evaluate(self) -> DevEvaluator | None:
        """The evaluator on the dev queries, or None without a dev split."""
        limit, length, ranking = self.training.dev_queries, self.model.query_length, self.training.dev_ranking
        return dev_evaluator(self.corpus, self.docids, self.tokenizer_folder, limit, length, ranking)


def train_round(folder: Path, number: int, before: Round | None, context: RoundContext) -> None:
    """Fill `folder` with round `number`, which resumes, or starts from the model of the round `before`.

    Raises:
        DsiError: the loss is not finite, or bfloat16 was asked of a GPU without it.
    """
    if context.training.rounds > 1:
        print(f"round {number + 1} of {context.training.rounds}", file=sys.stderr, flush=True)
    trained_folder, checkpoints_folder, states_folder = (
        folder.with_name(f"{name}-{number}") for name in ("trained", "checkpoints", "states")
    )
    has_steps = is_written(trained_folder / STEPS)
    wait_for_everyone()  # before the first process may remove it
    if not has_steps:
        _train(trained_folder, checkpoints_folder, before, context)
        wait_for_everyone()  # until the first process has written it
    began = time.monotonic()
    states: list[Path] = []
    if context.is_warm and context.evaluate is not None and context.add_states is not False:
        states = context.states(context.backbone(str(trained_folder)), states_folder)
    if is_first_process():
        _finish(folder, trained_folder, before, context, states, began)
    wait_for_everyone()
    if is_first_process():
        for leftover in (checkpoints_folder, trained_folder, states_folder, folder.with_name(WARM_STATES)):
            shutil.rmtree(leftover, ignore_errors=True)
        trained_folder.with_suffix(CLUSTERS).unlink(missing_ok=True)


def head_rate(training: TrainingConfig, documents: int) -> float:
    """The learning rate of the docid head for so many documents."""
    return training.head_learning_rate or min(max(HEAD_RATE_TIMES_DOCUMENTS / documents, 1e-4), 2e-3)


def _train(folder: Path, checkpoints_folder: Path, before: Round | None, context: RoundContext) -> None:
    """Do all steps of a round; `folder` gets the best model by dev."""
    model, training, docids, evaluate = context.model, context.training, context.docids, context.evaluate
    arguments = training_arguments(training, checkpoints_folder, evaluate is not None)
    # PAWA's projections of late positions have no gradient where a batch's docids are short
    arguments.ddp_find_unused_parameters = model.head == "pawa"
    last = last_checkpoint(checkpoints_folder)
    rate = head_rate(training, len(context.corpus))
    start = model if before is None else model.model_copy(update={"checkpoint": str(before.folder)})
    shape = DocidShape.of(docids, model.head)
    with whole_on_every_process() if training.softmax != "full" else nullcontext():
        index = build_model(start, context.tokenizer_folder, training.seed, shape)
    seconds_before = seconds_done(last) if last else before.seconds if before else 0.0
    if last is None and before is None and context.is_warm:
        began = time.monotonic()
        backbone = index if model.checkpoint is None else context.backbone(model.checkpoint)
        warm_start(index, docids, document_states(context.states(backbone, folder.with_name(WARM_STATES))))
        seconds_before = time.monotonic() - began
        if evaluate is not None and is_first_process():
            untrained = folder.with_name(UNTRAINED)
            index.save_pretrained(untrained)
            point = {"step": 0, "examples": 0, "seconds": seconds_before, "loss": math.nan}
            point |= evaluate(placed(index, arguments.device))
            parts = parameters_by_part(index)
            write_round(Round(untrained, seconds_before, 0, 0.0, [point], [], parts, 0, False, point[DEV_MEASURE]))
    steps_before = before.steps if before else 0
    last_step = steps_before + training.steps
    rows, clusters = None, None
    if training.softmax != "full":
        clusters = _clusters(folder.with_suffix(CLUSTERS), index, context)
        rows = _take_rows(index, training, arguments.device, steps_before + steps_done(last))
    trainer = DocidTrainer(
        index,
        arguments,
        training,
        objective_of(training, model.head, docids, rows, clusters),
        Batches(
            context.examples,
            context.targets,
            training.batch_size,
            index.config.pad_token_id,
            training.seed,
            last_step,
            training.tasks.model_dump() if context.weights is None else context.weights,
            first_step=last_step if has_stopped(last) else steps_before + steps_done(last),
            accumulation=training.accumulation,
            process=arguments.process_index,
            processes=arguments.world_size,
        ),
        evaluate,
        head_rate=rate,
        seconds_before=seconds_before,
        steps_before=steps_before,
        rows=rows,
        callbacks=[EarlyStoppingCallback(training.patience)] if training.patience and evaluate is not None else [],
    )
    trainer.train(resume_from_checkpoint=str(last) if last else None)
    trainer.save_model(str(folder))
    if is_first_process():
        state = trainer.state
        done = {"steps": state.global_step, "flops": state.total_flos, "seconds": trainer.seconds}
        write_json(folder / STEPS, {**done, "history": state.log_history})


def _clusters(file: Path, index: DifferentiableSearchIndex, context: RoundContext) -> Clusters | None:
    """The clusters of rows that the round's steps sample from, None if they do not; kept in `file`, as a resumed round
    finds other rows."""
    training, head = context.training, context.model.head
    if training.softmax != "sampled" or (head == "hierarchical_softmax" and training.labels == "document"):
        return None
    if not file.exists() and is_first_process():
        if context.docids.is_atomic and training.neighbour_negatives:
            print(f"k-means over {len(index.docid_head.weight):,} output rows", file=sys.stderr, flush=True)
        of_row = cluster_rows(training, head, context.docids, index.docid_head.weight.detach().cpu())
        with published(file) as temporary, temporary.open("wb") as opened:
            np.save(opened, of_row)
    wait_for_everyone()
    return Clusters(np.load(file))


def _take_rows(
    index: DifferentiableSearchIndex, training: TrainingConfig, device: torch.device, steps: int
) -> OutputRows:
    """The output rows of a model, which has none afterwards, in a round that begins after so many steps."""
    weight = index.docid_head.weight.detach()
    index.docid_head.register_parameter("weight", None)
    dtype = getattr(torch, training.row_precision)
    rows = OutputRows(weight, training.row_optimizer, training.row_learning_rate, dtype, rank(), device, training.seed)
    rows.steps = steps
    return rows


def _finish(
    folder: Path, trained_folder: Path, before: Round | None, context: RoundContext, states: list[Path], began: float
) -> None:
    """Put the trained model into `folder`, with the document states in the files `states` added to its output rows if
    that is better on dev, and note the round, whose steps ended at the time `began`."""
    done = json.loads((trained_folder / STEPS).read_text(encoding="utf-8"))
    steps_before = before.steps if before else 0
    curve = dev_curve(done["history"], context.training.batch_size, steps_before)
    best = max(curve, key=lambda point: point.get(DEV_MEASURE, point["step"]))
    measure, states_added = best.get(DEV_MEASURE), False
    index = placed(DifferentiableSearchIndex.from_pretrained(trained_folder), compute_device())
    if states and context.evaluate is not None:
        add_document_states(index, context.docids, document_states(states))
        if context.training.softmax != "full":
            index.docid_head.to(getattr(torch, context.training.row_precision))
        with_states = context.evaluate(index)[DEV_MEASURE]
        print(f"document states added to the rows: dev {DEV_MEASURE} {with_states:.4f}", file=sys.stderr, flush=True)
        curve.append({**curve[-1], "seconds": done["seconds"] + time.monotonic() - began, DEV_MEASURE: with_states})
        states_added = with_states > best[DEV_MEASURE] if context.add_states is None else context.add_states
        if states_added:
            measure = with_states
            index.save_pretrained(folder)
    if not states_added:
        copy_model(trained_folder, folder)
    seconds, steps = done["seconds"] + time.monotonic() - began, steps_before + done["steps"]
    flops = done["flops"] + (before.flops if before else 0.0)
    record = training_record(done["history"], steps_before)
    parts = parameters_by_part(index)
    write_round(Round(folder, seconds, steps, flops, curve, record, parts, best["step"], states_added, measure))


def training_arguments(config: TrainingConfig, checkpoints_folder: Path, has_dev: bool) -> TrainingArguments:
    """The arguments of the Hugging Face Trainer for this section of the configuration.

    Raises:
        DsiError: bfloat16 was asked of a machine without a GPU that has it, or the batch does not divide among the
            processes.
    """
    if config.precision == "bfloat16" and not torch.cuda.is_available():
        raise DsiError("training.precision=bfloat16: there is no GPU here; auto trains in float32 without one")
    return trainer_arguments(
        checkpoints_folder,
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
