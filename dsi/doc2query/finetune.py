"""The stage `generator`: trains the query generator on pairs of a document and a real query (in-domain D2Q).

From random weights a T5 learns neither words nor copying from a few thousand pairs, so it can first be trained on
known-item queries (`generator.simulated_steps`), which need no labels.
"""

import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.utils.data import Dataset, SequentialSampler
from transformers import (
    DataCollatorForSeq2Seq,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    T5Config,
    T5ForConditionalGeneration,
    TrainingArguments,
    set_seed,
)

from dsi.artifacts import WORK
from dsi.config import CorpusConfig, GeneratorConfig, KnownItemConfig, T5GeneratorConfig
from dsi.corpus.ingest import ingest
from dsi.corpus.known_item import KnownItemGenerator, read_collection
from dsi.corpus.store import Corpus, Document
from dsi.doc2query.t5 import T5Generator, check_generator, load_checkpoint
from dsi.errors import DsiError
from dsi.model.build import random_shape
from dsi.model.checkpoints import ResumableTrainer, last_checkpoint
from dsi.model.trainer_arguments import optimizer_of, trainer_arguments
from dsi.runtime.device import is_bfloat16
from dsi.runtime.once import once
from dsi.tokenizer import open_tokenizer, save_tokenizer

Pair = tuple[str, str]
"""The content of a document, and a query for it."""
SHOWN = 5
"""The number of held-out documents whose sampled queries are printed."""
LABEL_PADDING = -100
COPY_GAIN = 8.0
"""The gain of copying: about the square root of the tokens in a passage, by which the mean of their states shrinks."""


def finetune(
    out_folder: Path, *, generator: GeneratorConfig, corpus_folder: Path, tokenizer_folder: Path | None = None
) -> dict[str, Any]:
    """Train the generator and write the model with the smallest held-out loss; return the facts for the manifest.

    Training resumes from the last checkpoint in `out_folder`, if there is one.

    Raises:
        DsiError: there is no labelled pair, the checkpoint cannot be loaded, or the batch does not divide among the
            processes.
    """
    documents = Corpus(corpus_folder)
    checkpoints_folder = out_folder / WORK / "checkpoints"
    pairs = labelled_pairs(generator, documents, out_folder / WORK)
    random = np.random.default_rng(generator.seed)
    held_out = min(generator.held_out, len(pairs) // 10)
    shuffled = [pairs[number] for number in random.permutation(len(pairs))]
    evaluated, trained = shuffled[:held_out], shuffled[held_out:]
    simulated = list(simulated_pairs(documents, generator.simulated_steps * generator.batch_size, random))
    model, tokenizer = open_model(generator, tokenizer_folder)
    steps = generator.steps + generator.simulated_steps
    arguments = trainer_arguments(
        checkpoints_folder,
        section="generator",
        batch_size=generator.batch_size,
        max_steps=steps,
        learning_rate=generator.learning_rate,
        warmup_steps=min(100, steps),
        bf16=is_bfloat16("auto", "generator"),
        seed=generator.seed,
        logging_steps=50,
        eval_strategy="steps" if evaluated else "no",
        eval_steps=generator.eval_steps,
        load_best_model_at_end=bool(evaluated),
        dataloader_pin_memory=torch.cuda.is_available(),
    )
    training_pairs = [*simulated, *repeated(trained, generator.steps * generator.batch_size, random)]
    trainer = GeneratorTrainer(
        model,
        arguments,
        generator.embedding_learning_rate,
        train_dataset=Pairs(training_pairs, tokenizer, generator),
        eval_dataset=Pairs(evaluated, tokenizer, generator) if evaluated else None,
        data_collator=DataCollatorForSeq2Seq(tokenizer, label_pad_token_id=LABEL_PADDING),
    )
    last = last_checkpoint(checkpoints_folder)
    trainer.train(resume_from_checkpoint=str(last) if last else None)
    loss = trainer.evaluate()["eval_loss"] if evaluated else None
    trainer.save_model(str(out_folder))
    if not trainer.is_world_process_zero():
        return {}
    save_tokenizer(tokenizer, out_folder)
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
    """Each query of `generator.split` and of the extra BEIR folders with each of its relevant documents.

    Raises:
        DsiError: the corpus has no such split, or there is no pair.
    """
    if not config.steps:
        return []
    corpus.check_split("generator.split", config.split)
    splits = [(corpus, config.split)]
    for number, path in enumerate(config.extra):
        folder = work_folder / f"extra-{number}"
        done = work_folder / f"extra-{number}.done"
        once(done.exists, partial(_ingest, path, folder, done), done.with_suffix(".lock"))
        extra = Corpus(folder)
        splits += [(extra, split) for split in extra.splits]
    pairs = [(source[row].content(), query.text) for source, split in splits for query, row in source.relevant(split)]
    if not pairs:
        raise DsiError(f"generator.split: split {config.split!r} of the corpus has no relevant document")
    return pairs


def _ingest(path: str, folder: Path, done: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    ingest(folder, corpus=CorpusConfig(source="beir", path=path))
    done.touch()


def simulated_pairs(corpus: Corpus, count: int, random: np.random.Generator) -> Iterator[Pair]:
    """Yield `count` pairs of a document and a known-item query; passes over the corpus in random order repeat."""
    if not count:
        return
    collection = read_collection(corpus.contents(), len(corpus))
    while count > 0:
        chosen = random.permutation(len(corpus))[:count]
        documents = [corpus[int(number)] for number in chosen]
        queries = KnownItemGenerator(KnownItemConfig(queries=1), collection)(documents, random)
        pairs = [(document.content(), texts[0]) for document, texts in zip(documents, queries, strict=True) if texts]
        yield from pairs
        count -= max(len(pairs), 1)


def repeated(pairs: list[Pair], count: int, random: np.random.Generator) -> list[Pair]:
    """`count` pairs: one random order of all `pairs` after another."""
    chosen = list[Pair]()
    while pairs and len(chosen) < count:
        chosen += [pairs[number] for number in random.permutation(len(pairs))]
    return chosen[:count]


def open_model(
    config: GeneratorConfig, tokenizer_folder: Path | None
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """The generator before training, from the checkpoint or with random weights, and its tokenizer."""
    set_seed(config.seed)
    if config.checkpoint is not None:
        check_generator(config)
        return load_checkpoint(config.checkpoint, torch.float32, dropout_rate=config.dropout)
    assert tokenizer_folder is not None
    tokenizer = open_tokenizer(tokenizer_folder)
    model = T5ForConditionalGeneration(T5Config(**random_shape(config, len(tokenizer))))
    start_as_copier(model)
    return model, tokenizer


@torch.no_grad()
def start_as_copier(model: T5ForConditionalGeneration) -> None:
    """Initialise a random decoder to copy what it attends to, since queries are mostly words of their document.

    The value and output matrices of each cross-attention become an orthogonal matrix and its scaled transpose, so that
    the states it attends to pass unchanged and outweigh the token that the decoder has read. After 75 steps on
    known-item queries the loss was 7.5 instead of 7.9.
    """
    for block in model.decoder.block:
        attention = block.layer[1].EncDecAttention
        nn.init.orthogonal_(attention.v.weight)
        attention.o.weight.copy_(COPY_GAIN * attention.v.weight.T)


class Pairs(Dataset[dict[str, list[int]]]):
    """The tokenised pairs, in the given order."""

    def __init__(self, pairs: list[Pair], tokenizer: PreTrainedTokenizerBase, config: GeneratorConfig) -> None:
        self.pairs, self.tokenizer, self.config = pairs, tokenizer, config

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, item: int) -> dict[str, list[int]]:
        content, query = self.pairs[item]
        document = self.tokenizer(content, truncation=True, max_length=self.config.document_length)
        labels = self.tokenizer(query, truncation=True, max_length=self.config.query_length)["input_ids"]
        return {"input_ids": document["input_ids"], "attention_mask": document["attention_mask"], "labels": labels}


class GeneratorTrainer(ResumableTrainer):
    """The Trainer over pairs in their given order, with a separate learning rate for the embeddings."""

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


def show_samples(
    folder: Path, pairs: list[Pair], config: GeneratorConfig, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase
) -> None:
    """Sample queries for the held-out documents of `pairs`; print them, and write them to samples.json in `folder`."""
    sampling = T5GeneratorConfig(queries=5, document_length=config.document_length, query_length=config.query_length)
    documents = [Document(str(number), "", content) for number, (content, _) in enumerate(pairs)]
    queries = T5Generator(sampling, model, tokenizer)(documents, np.random.default_rng(config.seed))
    samples = []
    for (content, real), sampled in zip(pairs, queries, strict=True):
        samples.append({"document": content, "query": real, "samples": sampled})
        print(f"   {real!r}: {', '.join(map(repr, sampled))}", flush=True)
    (folder / "samples.json").write_text(json.dumps(samples, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
