"""Training examples a second against the usual recipe, same T5 backbone (t5-small shape), same real queries of a run.

    make bench-train [CONFIG=...]

The usual recipe: Hugging Face Trainer, texts tokenised as they are read, batches padded to their longest query, docids
as strings in the text vocabulary, float32 AdamW. Ours: pairs tokenised once, batches of similar length, docids with a
vocabulary and a head of their own; with the same docids as strings of digits, with docids of k-means clusters, and with
atomic docids, one step of the decoder. Between them, the usual recipe with batches of similar length.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import (
    AutoTokenizer,
    T5Config,
    T5ForConditionalGeneration,
    Trainer,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
    set_seed,
)

from dsi.config import TrainingConfig
from dsi.corpus.store import Corpus
from dsi.docids.kinds import by_position
from dsi.docids.naive import END, spell
from dsi.docids.store import Docids, Vocabulary, write_docids
from dsi.model.architecture import DifferentiableSearchIndex
from dsi.model.config import DsiConfig
from dsi.report.tables import text_table
from dsi.training.batches import Batches
from dsi.training.examples import Task, write_examples
from dsi.training.targets import DocidTargets
from dsi.training.train import training_arguments
from dsi.training.trainer import DocidTrainer

SHAPE = {"d_model": 512, "d_kv": 64, "d_ff": 2048, "num_layers": 6, "num_decoder_layers": 6, "num_heads": 8}
START_ID = {"decoder_start_token_id": 0}
TEXT_VOCABULARY, BATCH, LENGTH = 32_128, 128, 32
WARM_UP, STEPS = 2, 10


class Clock(TrainerCallback):
    """Seconds of the steps after the warm-up."""

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        if state.global_step == WARM_UP:
            self.start = time.perf_counter()
        elif state.global_step == WARM_UP + STEPS:
            self.seconds = time.perf_counter() - self.start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="folder of a run with a corpus and a tokenizer, e.g. runs/demo")
    options = parser.parse_args()
    corpus, tokenizer = Corpus(options.run / "corpus"), options.run / "tokenizer"
    tokenizer = AutoTokenizer.from_pretrained(tokenizer)
    pairs = [(query.text, number) for split in corpus.splits for query, number in corpus.relevant(split)]
    order = np.random.default_rng(0).permutation(len(pairs))
    pairs = [pairs[number] for number in order]
    doc_ids = corpus.documents["doc_id"]
    lengths = [len(token_ids) for token_ids in tokenizer([query for query, _ in pairs])["input_ids"]]

    rates: dict[str, float] = {}
    strings = [(query, f"{doc_ids[number]}") for query, number in pairs]
    rates["usual recipe"] = usual(strings, tokenizer)
    rates["usual, batches of similar length"] = usual(bucketed(strings, lengths), tokenizer)
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        _, _, digits = spell(doc_ids, "characters", tokenizer)
        clusters = by_position(tree_shape(len(corpus)))
        atomic = np.arange(len(corpus))[:, None]
        for kind, codes in (("naive", digits), ("semantic_2d", clusters), ("atomic", atomic)):
            (root / kind).mkdir()
            end = END if kind == "naive" else None
            write_docids(root / kind, Vocabulary(kind, int(codes.max()) + 1, codes.shape[1], end), codes)
            rates[f"dsi, {kind} docids"] = ours(root, Docids(root / kind), pairs, tokenizer)
    first = rates["usual recipe"]
    print(
        f"{len(pairs):,} queries of {np.mean(lengths):.1f} tokens (longest {max(lengths)}), batches of {BATCH},"
        f" {STEPS} steps each"
    )
    rows = [[name, f"{rate:.0f}", f"{rate / first:.2f}"] for name, rate in rates.items()]
    print(text_table(["", "examples/s", "ratio"], rows))
    print(f"ratio={rates['dsi, atomic docids'] / first:.2f} ratio_same_docids={rates['dsi, naive docids'] / first:.2f}")


def tree_shape(documents: int) -> np.ndarray[Any, np.dtype[np.int64]]:
    """A docid of two clusters out of 20 and a number within them for each document."""
    number = np.arange(documents)
    return np.stack([number % 20, number // 20 % 20, number // 400], axis=1)


def usual(pairs: list[tuple[str, str]], text: Any) -> float:
    """Examples a second of the usual recipe on pairs of query and docid, in this order."""
    set_seed(0)
    model = T5ForConditionalGeneration(T5Config(vocab_size=TEXT_VOCABULARY, **SHAPE, **START_ID))

    def collate(batch: list[tuple[str, str]]) -> dict[str, torch.Tensor]:
        queries, docids = zip(*batch, strict=True)
        inputs = text(list(queries), truncation=True, max_length=LENGTH, padding=True, return_tensors="pt")
        labels = text(list(docids), padding=True, return_tensors="pt")["input_ids"]
        return {**inputs, "labels": labels.masked_fill(labels == text.pad_token_id, -100)}

    def trainer(folder: str) -> Trainer:
        arguments = TrainingArguments(
            output_dir=folder,
            max_steps=WARM_UP + STEPS,
            per_device_train_batch_size=BATCH,
            remove_unused_columns=False,
            save_strategy="no",
            disable_tqdm=True,
            report_to="none",
        )
        return InOrder(model=model, args=arguments, train_dataset=pairs, data_collator=collate)

    return rate(trainer)


class InOrder(Trainer):
    """Reads the data in order; it is shuffled before."""

    def _get_train_sampler(self, *_: Any, **__: Any) -> torch.utils.data.Sampler[int]:
        return torch.utils.data.SequentialSampler(self.train_dataset)


def bucketed(pairs: list[tuple[str, str]], lengths: list[int]) -> list[tuple[str, str]]:
    """Batches of pairs of similar length, in random order."""
    order = np.argsort(lengths, kind="stable")
    batches = order[: len(order) // BATCH * BATCH].reshape(-1, BATCH)
    return [pairs[number] for batch in np.random.default_rng(0).permutation(batches) for number in batch]


def ours(root: Path, docids: Docids, pairs: list[tuple[str, int]], text: Any) -> float:
    """Examples a second of ours."""
    set_seed(0)
    vocabulary = docids.vocabulary
    model = DifferentiableSearchIndex(
        DsiConfig(
            vocab_size=TEXT_VOCABULARY,
            docid_tokens=vocabulary.tokens,
            docid_length=vocabulary.length,
            **SHAPE,
            **START_ID,
        )
    )
    token_ids = text([query for query, _ in pairs], truncation=True, max_length=LENGTH)["input_ids"]
    numbers = np.array([number for _, number in pairs], dtype=np.uint32)
    examples = write_examples(root / "examples", {"labelled": Task(1, lambda _: (numbers, token_ids))}, TEXT_VOCABULARY)
    config = TrainingConfig(steps=WARM_UP + STEPS, batch_size=BATCH, eval_steps=1000, warmup_steps=0)
    batches = Batches(examples, DocidTargets(docids), BATCH, 0, 0, config.steps, {"labelled": 1.0})

    def trainer(folder: str) -> Trainer:
        arguments = training_arguments(config, Path(folder), has_dev=False)
        arguments.eval_strategy = arguments.save_strategy = "no"
        return DocidTrainer(model, arguments, config, batches, None, 2e-3, 0.0, [])

    return rate(trainer)


def rate(make: Callable[[str], Trainer]) -> float:
    clock = Clock()
    with tempfile.TemporaryDirectory() as folder:
        trainer = make(folder)
        trainer.add_callback(clock)
        trainer.train()
    return STEPS * BATCH / clock.seconds


if __name__ == "__main__":
    main()
