"""The text vocabulary: the checkpoint's own, or SentencePiece trained on the corpus for a model from scratch."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import sentencepiece
from transformers import AutoTokenizer, PreTrainedTokenizerBase, T5Tokenizer

from dsi.config import TokenizerConfig
from dsi.corpus.store import Corpus
from dsi.errors import DsiError
from dsi.progress import progress

SENTENCES = 1_000_000
"""Documents that SentencePiece samples; more do not change a vocabulary of this size."""


def tokenize(out: Path, *, tokenizer: TokenizerConfig, checkpoint: str | None, corpus: Path) -> dict[str, Any]:
    """Write the tokenizer as a Hugging Face folder and return its size."""
    if checkpoint is not None:
        vocabulary = from_checkpoint(checkpoint)
    else:
        vocabulary = train_vocabulary(Corpus(corpus), tokenizer, out / "spiece.model")
    vocabulary.save_pretrained(out)
    return {"vocabulary": len(vocabulary)}


def from_checkpoint(checkpoint: str) -> PreTrainedTokenizerBase:
    """The tokenizer of a hub name or folder.

    Raises:
        DsiError: there is none, or it cannot be downloaded.
    """
    try:
        return AutoTokenizer.from_pretrained(checkpoint)
    except (OSError, ValueError) as error:
        raise DsiError(f"model.checkpoint: cannot load a tokenizer from {checkpoint!r}: {first_line(error)}") from None


def train_vocabulary(corpus: Corpus, config: TokenizerConfig, path: Path) -> PreTrainedTokenizerBase:
    """Train a unigram vocabulary with T5's special pieces (pad 0, end 1, unknown 2); its model goes to `path`."""
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=progress(corpus.contents(), "tokenize", total=len(corpus)),
        model_writer=model,
        vocab_size=config.vocabulary,
        hard_vocab_limit=False,  # a small corpus has fewer pieces than asked for
        character_coverage=0.9995,
        normalization_rule_name="nmt_nfkc_cf" if config.lowercase else "nmt_nfkc",
        input_sentence_size=SENTENCES,
        shuffle_input_sentence=True,
        max_sentence_length=1 << 16,  # bytes; longer documents would be skipped
        pad_id=0,
        eos_id=1,
        unk_id=2,
        bos_id=-1,
        minloglevel=2,
    )
    path.write_bytes(model.getvalue())
    return T5Tokenizer.from_pretrained(path.parent, extra_ids=0)


def first_line(error: Exception) -> str:
    """The first line of an error's message, which for Hugging Face errors is the useful one."""
    return str(error).strip().splitlines()[0]
