"""Train the query generator on pairs of a document and a real query: the paper's in-domain D2Q.

From random weights a T5 learns neither words nor copying from a few thousand pairs, so it can first be taught on
known-item queries (`generator.simulated_steps`), which need no labels.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.utils.data import Dataset, SequentialSampler
from transformers import (
    AutoTokenizer,
    DataCollatorForSeq2Seq,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    T5Config,
    T5ForConditionalGeneration,
    Trainer,
    TrainingArguments,
    set_seed,
)

from dsi.artifacts import WORK
from dsi.config import CorpusConfig, GeneratorConfig, KnownItemConfig, T5GeneratorConfig
from dsi.corpus.ingest import ingest
from dsi.corpus.store import Corpus, Document
from dsi.doc2query.known_item import KnownItemGenerator, read_collection
from dsi.doc2query.t5 import T5Generator, load_checkpoint
from dsi.errors import DsiError
from dsi.model.build import random_shape
from dsi.model.checkpoints import last_checkpoint
from dsi.model.trainer_arguments import optimizer_of, trainer_arguments
from dsi.runtime.device import is_bfloat16
from dsi.runtime.processes import is_first_process, wait_until

Pair = tuple[str, str]
"""Content of a document, and a query for it."""
SHOWN = 5
"""Held-out documents whose sampled queries are printed."""
LABEL_PADDING = -100
COPY_GAIN = 8.0
"""Of the order of the square root of a passage's tokens: the mean of so many states is that much smaller than one."""


def generator_checkpoint(checkpoint: str | None, trained_folder: Path | None) -> str:
    """The model to generate with: what `finetune` left in `trained`, or else the checkpoint itself."""
    if trained_folder is not None and (trained_folder / "config.json").exists():
        return str(trained_folder)
    assert checkpoint is not None  # the configuration sees to it
    return checkpoint


def finetune(
    out_folder: Path, *, generator: GeneratorConfig, corpus_folder: Path, tokenizer_folder: Path | None = None
) -> dict[str, Any]:
    """Train from the last checkpoint in `out`, or from the start; keep the model with the least held-out loss.

    Raises:
        DsiError: no labelled pair, or the checkpoint cannot be loaded.
    """
    documents = Corpus(corpus_folder)
    pairs = labelled_pairs(generator, documents, out_folder / WORK)
    random = np.random.default_rng(generator.seed)
    held_out = min(generator.held_out, len(pairs) // 10)
    shuffled = [pairs[number] for number in random.permutation(len(pairs))]
    evaluated, trained = shuffled[:held_out], shuffled[held_out:]
    simulated = list(simulated_pairs(documents, generator.simulated_steps * generator.batch_size, random))
    model, tokenizer = open_model(generator, tokenizer_folder)
    trainer = GeneratorTrainer(
        model,
        training_arguments(generator, out_folder / WORK / "checkpoints", bool(evaluated)),
        generator.embedding_learning_rate,
        train_dataset=Pairs(
            [*simulated, *repeated(trained, generator.steps * generator.batch_size, random)], tokenizer, generator
        ),
        eval_dataset=Pairs(evaluated, tokenizer, generator) if evaluated else None,
        data_collator=DataCollatorForSeq2Seq(tokenizer, label_pad_token_id=LABEL_PADDING),
    )
    last = last_checkpoint(out_folder / WORK / "checkpoints")
    trainer.train(resume_from_checkpoint=str(last) if last else None)
    loss = trainer.evaluate()["eval_loss"] if evaluated else None
    trainer.save_model(str(out_folder))
    if not trainer.is_world_process_zero():
        return {}
    tokenizer.save_pretrained(out_folder)
    if evaluated:
        show_samples(out_folder, evaluated[:SHOWN], generator, model, tokenizer)
    return {
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "pairs": len(trained),
        "simulated_pairs": len(simulated),
        "held_out_pairs": len(evaluated),
        "held_out_loss": loss,
    }


def labelled_pairs(config: GeneratorConfig, corpus: Corpus, work_folder: Path) -> list[Pair]:
    """Pairs of the corpus's split and of the extra BEIR folders.

    Raises:
        DsiError: the corpus has no such split, or no pair at all.
    """
    if not config.steps:
        return []
    corpus.check_split("generator.split", config.split)
    pairs = list(pairs_of(corpus, config.split))
    for number, path in enumerate(config.extra):
        folder = work_folder / f"extra-{number}"
        done = work_folder / f"extra-{number}.done"
        if is_first_process() and not done.exists():
            folder.mkdir(parents=True, exist_ok=True)
            ingest(folder, corpus=CorpusConfig(source="beir", path=path))
            done.touch()
        wait_until(done.exists)
        extra = Corpus(folder)
        pairs += [pair for split in extra.splits for pair in pairs_of(extra, split)]
    if not pairs:
        raise DsiError(f"generator.split: split {config.split!r} of the corpus has no relevant document")
    return pairs


def pairs_of(corpus: Corpus, split: str) -> Iterator[Pair]:
    """Each query of the split with each of its relevant documents."""
    for query, number in corpus.relevant(split):
        yield corpus[number].content(), query.text


def simulated_pairs(corpus: Corpus, count: int, random: np.random.Generator) -> Iterator[Pair]:
    """`count` pairs of random documents and known-item queries, each document as often as any other."""
    if not count:
        return
    collection = read_collection(corpus.contents(), len(corpus))
    while count > 0:
        chosen = random.permutation(len(corpus))[:count]
        documents = [corpus[int(number)] for number in chosen]
        queries = KnownItemGenerator(KnownItemConfig(queries=1), collection)(documents, random)
        pairs = [(document.content(), own[0]) for document, own in zip(documents, queries, strict=True) if own]
        yield from pairs
        count -= max(len(pairs), 1)


def repeated(pairs: list[Pair], count: int, random: np.random.Generator) -> list[Pair]:
    """`count` of the pairs, one random order of all after another."""
    chosen = list[Pair]()
    while pairs and len(chosen) < count:
        chosen += [pairs[number] for number in random.permutation(len(pairs))]
    return chosen[:count]


def open_model(
    config: GeneratorConfig, tokenizer_folder: Path | None
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """The generator before training, and its tokenizer."""
    set_seed(config.seed)
    if config.checkpoint is not None:
        return load_checkpoint(config.checkpoint, torch.float32, dropout_rate=config.dropout)
    assert tokenizer_folder is not None
    tokenizer = AutoTokenizer.from_pretrained(tokenizer_folder)
    model = T5ForConditionalGeneration(T5Config(**random_shape(config, len(tokenizer))))
    start_as_copier(model)
    return model, tokenizer


@torch.no_grad()
def start_as_copier(model: T5ForConditionalGeneration) -> None:
    """Let a random decoder copy what it attends to: queries are mostly words of their document.

    A cross-attention's value and output matrices start as an orthogonal matrix and its transpose, so that the states
    it attends to pass unchanged, louder than the decoder's own token. After 75 steps on known-item queries the loss was
    7.5 instead of 7.9.
    """
    for block in model.decoder.block:
        attention = block.layer[1].EncDecAttention
        nn.init.orthogonal_(attention.v.weight)
        attention.o.weight.copy_(COPY_GAIN * attention.v.weight.T)


class Pairs(Dataset[dict[str, list[int]]]):
    """Tokenised pairs, in order."""

    def __init__(self, pairs: list[Pair], tokenizer: PreTrainedTokenizerBase, config: GeneratorConfig) -> None:
        self.pairs, self.tokenizer, self.config = pairs, tokenizer, config

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, item: int) -> dict[str, list[int]]:
        content, query = self.pairs[item]
        read = self.tokenizer(content, truncation=True, max_length=self.config.document_length)
        written = self.tokenizer(query, truncation=True, max_length=self.config.query_length)
        return {
            "input_ids": read["input_ids"],
            "attention_mask": read["attention_mask"],
            "labels": written["input_ids"],
        }


class GeneratorTrainer(Trainer):
    """The Trainer over pairs in the order given, with a learning rate of its own for the embeddings."""

    optimizer: torch.optim.Optimizer | None

    def __init__(
        self, model: nn.Module, arguments: TrainingArguments, embedding_learning_rate: float, **options: Any
    ) -> None:
        self.embedding_learning_rate = embedding_learning_rate
        super().__init__(model=model, args=arguments, **options)

    def _get_train_sampler(self, *_: Any, **__: Any) -> SequentialSampler:
        return SequentialSampler(self.train_dataset)

    def create_optimizer(self, model: nn.Module | None = None) -> torch.optim.Optimizer:
        if self.optimizer is None:
            model = model or self.model
            embeddings = list(model.get_input_embeddings().parameters())  # type: ignore[operator]
            tied = {id(parameter) for parameter in embeddings}
            backbone = [parameter for parameter in model.parameters() if id(parameter) not in tied]
            self.optimizer = optimizer_of(
                "adamw", (backbone, self.args.learning_rate), (embeddings, self.embedding_learning_rate)
            )
        return self.optimizer


def training_arguments(config: GeneratorConfig, checkpoints_folder: Path, has_held_out: bool) -> TrainingArguments:
    """The Trainer's arguments for our configuration.

    Raises:
        DsiError: the batch does not divide among the processes.
    """
    steps = config.steps + config.simulated_steps
    return trainer_arguments(
        checkpoints_folder,
        section="generator",
        batch_size=config.batch_size,
        max_steps=steps,
        learning_rate=config.learning_rate,
        warmup_steps=min(100, steps),
        bf16=is_bfloat16("auto", "generator"),
        seed=config.seed,
        logging_steps=50,
        eval_strategy="steps" if has_held_out else "no",
        eval_steps=config.eval_steps,
        load_best_model_at_end=has_held_out,
        dataloader_pin_memory=torch.cuda.is_available(),
    )


def show_samples(
    out_folder: Path,
    pairs: list[Pair],
    config: GeneratorConfig,
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
) -> None:
    """Print, and keep in samples.json, queries sampled for held-out documents beside the real one."""
    sampling = T5GeneratorConfig(queries=5, document_length=config.document_length, query_length=config.query_length)
    documents = [Document(str(number), "", content) for number, (content, _) in enumerate(pairs)]
    queries = T5Generator(sampling, model, tokenizer)(documents, np.random.default_rng(config.seed))
    samples = [
        {"document": content, "query": real, "samples": own}
        for (content, real), own in zip(pairs, queries, strict=True)
    ]
    (out_folder / "samples.json").write_text(json.dumps(samples, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    for (_, real), own in zip(pairs, queries, strict=True):
        print(f"   {real!r}: {', '.join(map(repr, own))}", flush=True)
