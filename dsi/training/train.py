"""Train the index: texts of the chosen tasks -> docids."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from transformers import AutoTokenizer

from dsi.artifacts import WORK, read_manifest
from dsi.config import DEV, ModelConfig, TrainingConfig
from dsi.corpus.store import Corpus
from dsi.docids.store import Docids
from dsi.model.card import write_card
from dsi.runtime.processes import rank, wait_for_everyone
from dsi.training.batch_trainer import DEV_MEASURE
from dsi.training.examples import write_examples
from dsi.training.record import write_points
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
) -> dict[str, Any]:
    """Train from the last checkpoint in `out`, or from the start, and save the best model by dev RR@10.

    Raises:
        DsiError: the loss is not finite, or bfloat16 was asked of a device without it.
    """
    documents, identifiers, tokenizer = (
        Corpus(corpus_folder),
        Docids(docids_folder),
        AutoTokenizer.from_pretrained(tokenizer_folder),
    )
    arguments = training_arguments(training, out_folder / WORK / "checkpoints", DEV in documents.splits)
    tasks = training_tasks(training.tasks, documents, doc2query_folder, tokenizer, model.query_length, training.seed)
    examples = write_examples(out_folder / WORK / "examples", tasks, len(tokenizer), rank())
    context = RoundContext(examples, model, training, documents, tokenizer_folder, identifiers)
    rounds: list[Round] = []
    for number in range(training.rounds):
        folder = out_folder / WORK / f"round-{number}"
        if not (folder / ROUND).exists():
            train_round(folder, number, rounds[-1] if rounds else None, context)
        rounds.append(read_round(folder))
    untrained = out_folder / WORK / UNTRAINED
    candidates = [*([read_round(untrained)] if (untrained / ROUND).exists() else []), *rounds]
    best = max(candidates, key=lambda done: done.measure if done.measure is not None else done.steps)
    counts = {
        "parameters": sum(best.parameters.values()),
        "parameters_by_part": best.parameters,
        "examples": len(examples),
        "steps": rounds[-1].steps,
        "best_step": best.best_step,
        "states_added": best.states_added,
        "training_seconds": rounds[-1].seconds,
        "training_flops": rounds[-1].flops,
        "examples_per_second": round(rounds[-1].steps * training.batch_size / max(rounds[-1].seconds, 1e-9)),
        **({DEV_MEASURE: best.measure} if best.measure is not None else {}),
    }
    if arguments.process_index == 0:
        copy_model(best.folder, out_folder)
        tokenizer.save_pretrained(out_folder)
        write_points(out_folder / "dev_curve.tsv", [point for done in candidates for point in done.curve])
        write_points(out_folder / "training.tsv", [point for done in rounds for point in done.record])
        source = (read_manifest(corpus_folder) or {}).get("inputs", {}).get("corpus", {})
        indexed = {
            "source": source.get("dataset") or source.get("source") or "a corpus",
            "documents": len(documents),
            "docids": identifiers.vocabulary.kind,
        }
        write_card(out_folder, model, training, indexed, counts)
    wait_for_everyone()
    return counts
