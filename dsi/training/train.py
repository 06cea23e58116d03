"""Train the index: texts of the chosen tasks -> docids."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

from transformers import AutoTokenizer, EarlyStoppingCallback, TrainingArguments

from dsi.artifacts import WORK, read_manifest
from dsi.config import ModelConfig, TrainingConfig
from dsi.corpus.store import Corpus
from dsi.docids.store import Docids
from dsi.evaluation.measures import parse_measures, score_run
from dsi.model.architecture import DifferentiableSearchIndex, parameters_by_part
from dsi.model.build import DocidShape, build_model
from dsi.model.card import write_card
from dsi.model.checkpoints import last_checkpoint, seconds_done, steps_done
from dsi.model.device import is_bfloat16
from dsi.model.document_states import document_states
from dsi.model.trainer_arguments import trainer_arguments
from dsi.model.warm_start import warm_start
from dsi.search.searcher import Searcher
from dsi.training.batch_trainer import DEV_MEASURE
from dsi.training.batches import Batches
from dsi.training.examples import write_examples
from dsi.training.targets import DocidTargets
from dsi.training.tasks import training_pairs
from dsi.training.trainer import DocidTrainer
from dsi.tsv import write_tsv

DEV_SPLIT = "dev"
HEAD_RATE_TIMES_DOCUMENTS = 12.0
"""AdamW moves a row that hears nothing of its own document as far as one that does, so a row's step must shrink as its
document comes up less often: 2e-3 is best for 6,000 documents, and ruins a warm start for 36,594."""
DEV_BEAM = 10
"""Enough for RR@10."""


def train(
    out: Path,
    *,
    model: ModelConfig,
    training: TrainingConfig,
    corpus: Path,
    tokenizer: Path,
    doc2query: Path,
    docids: Path,
) -> dict[str, Any]:
    """Train from the last checkpoint in `out`, or from the start, and save the best model by dev RR@10.

    Raises:
        DsiError: the loss is not finite, or bfloat16 was asked of a device without it.
    """
    documents, identifiers, text = Corpus(corpus), Docids(docids), AutoTokenizer.from_pretrained(tokenizer)
    checkpoints = out / WORK / "checkpoints"
    has_dev = DEV_SPLIT in documents.splits
    arguments = training_arguments(training, checkpoints, has_dev)
    # PAWA's projections of late positions have no gradient where a batch's docids are short
    arguments.ddp_find_unused_parameters = model.head == "pawa"
    with arguments.main_process_first(local=False):
        pairs = training_pairs(training.tasks, documents, doc2query, text, model.query_length, training.seed)
        examples = write_examples(out / WORK / "examples", pairs, len(text))
    last = last_checkpoint(checkpoints)
    rate = training.head_learning_rate or min(max(HEAD_RATE_TIMES_DOCUMENTS / len(documents), 1e-4), 2e-3)
    shape = DocidShape.of(identifiers, model.head)
    index = build_model(model, tokenizer, training.seed, shape, training.consistency)
    if last is None and model.warm_start and (identifiers.is_atomic or model.head == "tree"):
        index.to(arguments.device)
        warm_start(index, identifiers, document_states(index, tokenizer, documents, model.document_length))
    trainer = DocidTrainer(
        index,
        arguments,
        training,
        Batches(
            examples,
            DocidTargets(identifiers, with_nodes=model.head == "tree"),
            training.batch_size,
            index.config.pad_token_id,
            training.seed,
            training.steps,
            training.tasks.model_dump(),
            first_step=steps_done(last),
            accumulation=training.accumulation,
            process=arguments.process_index,
            processes=arguments.world_size,
        ),
        dev_evaluator(documents, identifiers, tokenizer, training.dev_queries, model.query_length),
        head_rate=rate,
        seconds_before=seconds_done(last),
        callbacks=[EarlyStoppingCallback(training.patience)] if training.patience and has_dev else [],
    )
    trainer.train(resume_from_checkpoint=str(last) if last else None)
    trainer.save_model(str(out))
    curve = dev_curve(trainer.state.log_history, training.batch_size)
    best = max(curve, key=lambda point: point.get(DEV_MEASURE, point["step"]))
    counts = {
        "parameters": sum(parameters_by_part(index).values()),
        "parameters_by_part": parameters_by_part(index),
        "examples": len(examples),
        "steps": trainer.state.global_step,
        "best_step": best["step"],
        "training_seconds": curve[-1]["seconds"],
        "examples_per_second": round(curve[-1]["examples"] / max(curve[-1]["seconds"], 1e-9)),
        **({DEV_MEASURE: best[DEV_MEASURE]} if DEV_MEASURE in best else {}),
    }
    if arguments.process_index == 0:
        text.save_pretrained(out)
        write_points(out / "dev_curve.tsv", curve)
        write_points(out / "training.tsv", training_record(trainer.state.log_history))
        source = (read_manifest(corpus) or {}).get("inputs", {}).get("corpus", {})
        indexed = {
            "source": source.get("dataset") or source.get("source") or "a corpus",
            "documents": len(documents),
            "docids": identifiers.vocabulary.kind,
        }
        write_card(out, model, training, indexed, counts)
    trainer.accelerator.wait_for_everyone()
    return counts


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


def dev_evaluator(
    corpus: Corpus, docids: Docids, tokenizer: Path, limit: int, length: int
) -> Callable[[DifferentiableSearchIndex], dict[str, float]] | None:
    """A function from a model to its measures on the first `limit` dev queries; None without a dev split."""
    if DEV_SPLIT not in corpus.splits:
        return None
    queries = corpus.queries(DEV_SPLIT)[:limit]
    known = {query.query_id for query in queries}
    qrels = [qrel for qrel in corpus.qrels(DEV_SPLIT) if qrel.query_id in known]
    text = AutoTokenizer.from_pretrained(tokenizer)
    pieces = text([query.text for query in queries], truncation=True, max_length=length)["input_ids"]
    doc_ids = corpus.documents["doc_id"]
    measures = parse_measures([DEV_MEASURE])

    def evaluate(model: DifferentiableSearchIndex) -> dict[str, float]:
        rankings = Searcher(model, docids).search(pieces, DEV_BEAM, batch_size=256)
        run = {
            query.query_id: {doc_ids[number]: score for number, score in ranking.hits()}
            for query, ranking in zip(queries, rankings, strict=True)
        }
        return score_run(measures, qrels, run)

    return evaluate


def dev_curve(history: list[dict[str, Any]], batch_size: int) -> list[dict[str, Any]]:
    """Points of the curve from the Trainer's log: step, examples, seconds, loss, and the dev measure if any."""
    curve: list[dict[str, Any]] = []
    loss = float("nan")
    for entry in history:
        loss = entry.get("loss", loss)
        if "eval_seconds" in entry:
            point = {"step": entry["step"], "examples": entry["step"] * batch_size, "seconds": entry["eval_seconds"]}
            point["loss"] = loss
            if f"eval_{DEV_MEASURE}" in entry:
                point[DEV_MEASURE] = entry[f"eval_{DEV_MEASURE}"]
            curve.append(point)
    return curve


def training_record(history: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What the Trainer logged of the steps: loss, speed and share of the machine's multiplication speed."""
    kept = ("step", "seconds", "loss", "grad_norm", "examples_per_second", "tokens_per_second", "share_of_bound")
    return [{name: entry[name] for name in kept if name in entry} for entry in history if "loss" in entry]


def write_points(path: Path, points: list[dict[str, Any]]) -> None:
    """A row a point; an empty file of none."""
    rows = ([f"{value:.7g}" for value in point.values()] for point in points)
    write_tsv(path, list(points[0]) if points else [], rows)
