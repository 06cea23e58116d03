"""Training examples per second against the usual recipe, with the same T5 backbone (t5-small shape) and real queries.

    make bench-train [CONFIG=...]

The usual recipe: Hugging Face Trainer, texts tokenised as they are read, batches padded to their longest query, docids
as strings in the text vocabulary, float32 AdamW; a second time with batches of similar length. Ours: pairs tokenised
once, batches of similar length, docids with a vocabulary and a head of their own; with the same docids as digits, with
docids of k-means clusters, and with atomic docids, which take one step of the decoder.
"""

import argparse
import time
from pathlib import Path
from tempfile import TemporaryDirectory
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
from dsi.docids.clustered import by_position
from dsi.docids.naive import END, spell
from dsi.docids.store import Docids, Vocabulary, write_docids
from dsi.model.architecture import DifferentiableSearchIndex
from dsi.model.config import DsiConfig
from dsi.objectives.single_pass import SinglePass
from dsi.objectives.softmax import negative_log_likelihood
from dsi.report.tables import text_table
from dsi.training.batches import Batches
from dsi.training.examples import Task, write_examples
from dsi.training.rounds import training_arguments
from dsi.training.targets import DocidTargets
from dsi.training.trainer import DocidTrainer

SHAPE = {"d_model": 512, "d_kv": 64, "d_ff": 2048, "num_layers": 6, "num_decoder_layers": 6, "num_heads": 8}
START_ID = {"decoder_start_token_id": 0}
TEXT_VOCABULARY, BATCH, LENGTH = 32_128, 128, 32
WARM_UP, STEPS = 2, 10


class Clock(TrainerCallback):
    """Measures the seconds of the steps after the warm-up."""

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        if state.global_step == WARM_UP:
            self.start = time.perf_counter()
        elif state.global_step == WARM_UP + STEPS:
            self.seconds = time.perf_counter() - self.start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="folder of a run with a corpus and a tokenizer, e.g. runs/demo")
    options = parser.parse_args()
    corpus, tokenizer = Corpus(options.run / "corpus"), AutoTokenizer.from_pretrained(options.run / "tokenizer")
    pairs = [(query.text, number) for split in corpus.splits for query, number in corpus.relevant(split)]
    order = np.random.default_rng(0).permutation(len(pairs))
    pairs = [pairs[number] for number in order]
    doc_ids = corpus.documents["doc_id"].to_pylist()
    lengths = [len(token_ids) for token_ids in tokenizer([query for query, _ in pairs])["input_ids"]]

    rates: dict[str, float] = {}
    strings = [(query, f"{doc_ids[number]}") for query, number in pairs]
    with TemporaryDirectory() as name:
        root = Path(name)
        rates["usual recipe"] = usual(root, strings, tokenizer)
        rates["usual, batches of similar length"] = usual(root, bucketed(strings, lengths), tokenizer)
        _, _, digits = spell(doc_ids, "characters", tokenizer)
        number = np.arange(len(corpus))
        clusters = by_position(np.stack([number % 20, number // 20 % 20, number // 400], axis=1))
        for kind, codes in (("naive", digits), ("semantic_2d", clusters), ("atomic", number[:, None])):
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


def usual(folder: Path, pairs: list[tuple[str, str]], tokenizer: Any) -> float:
    """Examples per second of the usual recipe on pairs of query and docid, in this order."""
    set_seed(0)
    model = T5ForConditionalGeneration(T5Config(vocab_size=TEXT_VOCABULARY, **SHAPE, **START_ID))

    def collate(batch: list[tuple[str, str]]) -> dict[str, torch.Tensor]:
        queries, docids = zip(*batch, strict=True)
        inputs = tokenizer(list(queries), truncation=True, max_length=LENGTH, padding=True, return_tensors="pt")
        labels = tokenizer(list(docids), padding=True, return_tensors="pt")["input_ids"]
        return {**inputs, "labels": labels.masked_fill(labels == tokenizer.pad_token_id, -100)}

    arguments = TrainingArguments(
        output_dir=str(folder / "trainer"),
        max_steps=WARM_UP + STEPS,
        per_device_train_batch_size=BATCH,
        remove_unused_columns=False,
        save_strategy="no",
        disable_tqdm=True,
        report_to="none",
    )
    return rate(InOrder(model=model, args=arguments, train_dataset=pairs, data_collator=collate))


class InOrder(Trainer):
    """A Trainer that reads the data in the order given."""

    def _get_train_sampler(self, *_: Any, **__: Any) -> torch.utils.data.Sampler[int]:
        return torch.utils.data.SequentialSampler(self.train_dataset)


def bucketed(pairs: list[tuple[str, str]], lengths: list[int]) -> list[tuple[str, str]]:
    """The pairs in batches of similar length, the batches in random order."""
    order = np.argsort(lengths, kind="stable")
    batches = order[: len(order) // BATCH * BATCH].reshape(-1, BATCH)
    return [pairs[number] for batch in np.random.default_rng(0).permutation(batches) for number in batch]


def ours(folder: Path, docids: Docids, pairs: list[tuple[str, int]], tokenizer: Any) -> float:
    """Examples per second of our recipe on pairs of query and doc_index; the example store goes into `folder`."""
    set_seed(0)
    vocabulary = docids.vocabulary
    sizes = {"vocab_size": TEXT_VOCABULARY, "docid_tokens": vocabulary.tokens, "docid_length": vocabulary.length}
    model = DifferentiableSearchIndex(DsiConfig(**sizes, **SHAPE, **START_ID))
    token_ids = tokenizer([query for query, _ in pairs], truncation=True, max_length=LENGTH)["input_ids"]
    numbers = np.array([number for _, number in pairs], dtype=np.uint32)
    task = Task(1, lambda _: (numbers, token_ids))
    examples = write_examples(folder / "examples", {"labelled": task}, TEXT_VOCABULARY)
    config = TrainingConfig(steps=WARM_UP + STEPS, batch_size=BATCH, eval_steps=1000, warmup_steps=0)
    batches = Batches(examples, DocidTargets(docids), BATCH, 0, 0, config.steps, {"labelled": 1.0})
    arguments = training_arguments(config, folder / "trainer", has_dev=False)
    arguments.eval_strategy = arguments.save_strategy = "no"
    objective = SinglePass(negative_log_likelihood)
    return rate(DocidTrainer(model, arguments, config, objective, batches, None, 2e-3, 0.0, []))


def rate(trainer: Trainer) -> float:
    """Examples per second of the steps after the warm-up."""
    clock = Clock()
    trainer.add_callback(clock)
    trainer.train()
    return STEPS * BATCH / clock.seconds


if __name__ == "__main__":
    main()
