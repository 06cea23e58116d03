"""The stage `model`: trains the index on the texts of the chosen tasks, round after round."""

import sys
from pathlib import Path
from typing import Any

from dsi.artifacts import WORK, is_written, read_manifest
from dsi.config import DEV, ModelConfig, TrainingConfig
from dsi.corpus.store import Corpus
from dsi.docids.store import Docids
from dsi.errors import DsiError
from dsi.evaluation.measures import DEV_MEASURE
from dsi.model.build import DocidShape
from dsi.model.card import write_card
from dsi.model.loading import read_config
from dsi.runtime.processes import is_first_process, rank, wait_for_everyone
from dsi.teacher.card import learnt
from dsi.teacher.labels import TeacherLabels
from dsi.teacher.store import SoftLabels
from dsi.tokenizer import open_tokenizer, save_tokenizer
from dsi.training.examples import write_examples
from dsi.training.record import write_points
from dsi.training.room import check_room
from dsi.training.rounds import (
    ROUND,
    UNTRAINED,
    Round,
    RoundContext,
    copy_model,
    read_round,
    train_round,
    training_arguments,
)
from dsi.training.tasks import training_tasks


def train(
    out_folder: Path,
    *,
    model: ModelConfig,
    training: TrainingConfig,
    corpus_folder: Path,
    tokenizer_folder: Path,
    doc2query_folder: Path,
    docids_folder: Path,
    teacher_folder: Path | None = None,
) -> dict[str, Any]:
    """Train from the last checkpoint in `out_folder`, or from the start, and save the best model by dev RR@10 there,
    with its tokenizer, the dev curve, the training record and a model card. All processes take part.

    Returns:
        Parameters, steps, seconds, FLOPs and speed of the training, and RR@10 where there are dev queries.

    Raises:
        DsiError: the loss is not finite, or bfloat16 was asked of a GPU without it, or the output rows have no room.
    """
    corpus, docids, work_folder = Corpus(corpus_folder), Docids(docids_folder), out_folder / WORK
    tokenizer = open_tokenizer(tokenizer_folder)
    # refuses what this machine cannot do, before anything is written
    arguments = training_arguments(training, work_folder / "checkpoints", DEV in corpus.splits)
    shape, checkpoint = DocidShape.of(docids, model.head), model.checkpoint
    width = model.d_model if checkpoint is None else read_config(checkpoint, "model.checkpoint").d_model
    assert width is not None
    settled = training.settled(rows := max(shape.nodes, shape.tokens), model.head)
    if training.softmax == "auto" and is_first_process():
        is_ignored = training.head_learning_rate is not None and "head_learning_rate" in settled.unused
        ignored = "; training.head_learning_rate is for full" if is_ignored else ""
        print(
            f"training.softmax=auto: {settled.softmax} for {rows:,} output rows{ignored}", file=sys.stderr, flush=True
        )
    training = settled
    if training.softmax != "full" and model.head == "hierarchical_softmax" and arguments.world_size > 1:
        raise DsiError(
            f"training.softmax={training.softmax}: a tree's rows are not divided among processes, and there are"
            f" {arguments.world_size}; start one, or take training.softmax=full"
        )
    check_room(training, model, rows, width, arguments.device)
    tasks = training_tasks(training.tasks, corpus, doc2query_folder, tokenizer, model.query_length, training.seed)
    examples = write_examples(work_folder / "examples", tasks, len(tokenizer), rank())
    labels = None
    if teacher_folder is not None:
        labels = TeacherLabels(SoftLabels(teacher_folder), examples.tasks, examples.doc_index, training.distillation)
    context = RoundContext(examples, model, training, corpus, tokenizer_folder, docids, labels)
    rounds: list[Round] = []
    for number in range(training.rounds):
        folder = work_folder / f"round-{number}"
        if not is_written(folder / ROUND):
            train_round(folder, number, rounds[-1] if rounds else None, context)
        rounds.append(read_round(folder))
    untrained = work_folder / UNTRAINED
    candidates = [*([read_round(untrained)] if is_written(untrained / ROUND) else []), *rounds]
    best = max(candidates, key=lambda done: done.measure if done.measure is not None else done.steps)
    counts = {
        "parameters": sum(best.parameters.values()),
        "parameters_by_part": best.parameters,
        "examples": len(examples),
        "softmax": training.softmax,
        "steps": rounds[-1].steps,
        "best_step": best.best_step,
        "states_added": best.states_added,
        "training_seconds": rounds[-1].seconds,
        "training_flops": rounds[-1].flops,
        "examples_per_second": round(rounds[-1].steps * training.batch_size / max(rounds[-1].seconds, 1e-9)),
        **({DEV_MEASURE: best.measure} if best.measure is not None else {}),
        **learnt(labels, teacher_folder, model.checkpoint),
    }
    if arguments.process_index == 0:
        copy_model(best.folder, out_folder)
        save_tokenizer(tokenizer, out_folder)
        write_points(out_folder / "dev_curve.tsv", [point for done in candidates for point in done.curve])
        write_points(out_folder / "training.tsv", [point for done in rounds for point in done.record])
        source = (read_manifest(corpus_folder) or {}).get("inputs", {}).get("corpus", {})
        indexed = {
            "source": source.get("dataset") or source.get("source") or "a corpus",
            "documents": len(corpus),
            "docids": docids.vocabulary.kind,
        }
        write_card(out_folder, model, training, indexed, counts)
    wait_for_everyone()
    return counts
