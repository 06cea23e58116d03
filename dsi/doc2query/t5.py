"""Queries sampled from a sequence-to-sequence model: docTTTTTquery (Nogueira and Lin 2019).

Pradeep et al. 2023 (section 6.1) sample 40 queries per passage from the ten most probable tokens at temperature 1.
"""

from collections.abc import Iterator, Sequence
from typing import Any, Self

import numpy as np
import torch
from transformers import (
    MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING,
    AutoModelForSeq2SeqLM,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from dsi.config import GeneratorConfig, T5GeneratorConfig
from dsi.corpus.store import Document
from dsi.doc2query.sampling import sample
from dsi.errors import DsiError
from dsi.model.loading import check_token_ids, check_weights, load_weights, read_config
from dsi.runtime.device import compute_device, is_bfloat16
from dsi.tokenizer import checkpoint_tokenizer

KEY = "generator.checkpoint"
OWN_LOOP = ("t5", "mt5")
"""The model types that `dsi.doc2query.sampling` supports; for others, `generate` of transformers samples."""


def load_checkpoint(
    checkpoint: str, dtype: torch.dtype, **changes: Any
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Load a sequence-to-sequence model, with `changes` to its configuration, and its tokenizer.

    Raises:
        DsiError: there is no such model under the hub name or in the folder `checkpoint`, or it lacks something.
    """
    config, tokenizer = _described(checkpoint)
    config.update(changes)
    return load_weights(AutoModelForSeq2SeqLM, checkpoint, config, KEY, dtype), tokenizer


def check_generator(config: GeneratorConfig) -> None:
    """Check `generator.checkpoint`, if there is one, without reading its weights: files, sizes, whether all are there.

    Raises:
        DsiError: as `load_checkpoint`, or a size in the configuration is not that of the checkpoint.
    """
    if config.checkpoint is not None:
        described, _ = _described(config.checkpoint)
        check_weights(AutoModelForSeq2SeqLM, config.checkpoint, described, KEY, asked=config)


def _described(checkpoint: str) -> tuple[PreTrainedConfig, PreTrainedTokenizerBase]:
    """The configuration and the tokenizer of a sequence-to-sequence model, which fit each other."""
    config = read_config(checkpoint, KEY)
    if type(config) not in MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING:
        raise DsiError(f"{KEY}: {checkpoint!r} is a {config.model_type}; a sequence-to-sequence model is needed")
    tokenizer = checkpoint_tokenizer(checkpoint, KEY)
    if config.model_type in OWN_LOOP:
        check_token_ids(config, checkpoint, KEY, "pad_token_id", "eos_token_id", "decoder_start_token_id")
        if config.eos_token_id != tokenizer.eos_token_id:
            raise DsiError(
                f"{KEY}: {checkpoint!r}: the end piece is {tokenizer.eos_token_id} in the tokenizer, but"
                f" {config.eos_token_id} in config.json (eos_token_id)"
            )
    return config, tokenizer


class T5Generator:
    """Samples `config.queries` queries per document from a sequence-to-sequence model."""

    def __init__(self, config: T5GeneratorConfig, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
        self.config, self.model, self.tokenizer = config, model.eval(), tokenizer

    @classmethod
    def load(cls, config: T5GeneratorConfig, checkpoint: str) -> Self:
        """Load the checkpoint, a hub name or folder, to the device of this process; DsiError if it cannot be loaded."""
        precision = torch.bfloat16 if is_bfloat16(config.precision, "doc2query.t5.precision") else torch.float32
        model, tokenizer = load_checkpoint(checkpoint, precision)
        return cls(config, model.to(compute_device()), tokenizer)

    def __call__(self, documents: Sequence[Document], random: np.random.Generator) -> list[list[str]]:
        """The queries of each document: fewer if some samples are empty, none for a document without text."""
        contents = [f"{self.config.prefix}{document.content()}" for document in documents]
        token_ids = self.tokenizer(contents, truncation=True, max_length=self.config.document_length)["input_ids"]
        queries: list[list[str]] = [[] for _ in documents]
        for batch in self.batches(list(map(len, token_ids))):
            padded = self.tokenizer.pad({"input_ids": [token_ids[number] for number in batch]}, return_tensors="pt")
            samples = self._sample(padded.to(self.model.device), random)
            texts = self.tokenizer.batch_decode(samples, skip_special_tokens=True)
            for number, first in zip(batch, range(0, len(texts), self.config.queries), strict=True):
                if documents[number].content():
                    stripped = (text.strip() for text in texts[first : first + self.config.queries])
                    queries[number] = [text for text in stripped if text]
        return queries

    def batches(self, lengths: Sequence[int]) -> Iterator[list[int]]:
        """Batches of document numbers, longest documents first, within `config.batch_tokens` if possible."""
        config, batch = self.config, list[int]()
        for number in np.argsort(-np.asarray(lengths, dtype=np.int64), kind="stable").tolist():
            longest = lengths[batch[0]] if batch else 0
            if batch and (len(batch) + 1) * (longest + config.queries * config.query_length) > config.batch_tokens:
                yield batch
                batch = []
            batch.append(number)
        if batch:
            yield batch

    def _sample(self, batch: Any, random: np.random.Generator) -> Any:
        config = self.config
        limits: dict[str, Any] = {"top_k": config.top_k, "temperature": config.temperature}
        if self.model.config.model_type in OWN_LOOP:
            return sample(
                self.model, **batch, samples=config.queries, max_length=config.query_length, random=random, **limits
            )
        torch.manual_seed(int(random.integers(1 << 62)))
        return self.model.generate(
            **batch, do_sample=True, num_return_sequences=config.queries, max_new_tokens=config.query_length, **limits
        )
