"""The text vocabulary: the checkpoint's own, or SentencePiece trained on the corpus for a model from scratch."""

from __future__ import annotations

import io
import re
from pathlib import Path
from typing import Any

import sentencepiece
from tokenizers import Regex, normalizers
from transformers import AutoTokenizer, PreTrainedTokenizerBase, PreTrainedTokenizerFast, T5Tokenizer

from dsi.config import TokenizerConfig
from dsi.corpus.store import Corpus
from dsi.errors import DsiError, first_line
from dsi.runtime.progress import progress

SENTENCES = 1_000_000
"""Documents that SentencePiece samples; more do not change a vocabulary of this size."""
PUNCTUATION = r"[\W_]+"
SLICE = 10_000
"""Characters of a document that SentencePiece sees as one sentence."""


def tokenize(
    out_folder: Path, *, tokenizer: TokenizerConfig, checkpoint: str | None, corpus_folder: Path
) -> dict[str, Any]:
    """Write the tokenizer as a Hugging Face folder and return its size."""
    if checkpoint is not None:
        vocabulary = from_checkpoint(checkpoint)
    else:
        vocabulary = train_vocabulary(Corpus(corpus_folder), tokenizer, out_folder / "spiece.model")
    vocabulary.save_pretrained(out_folder)
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
    """Train a unigram vocabulary with T5's special tokens (pad 0, end 1, unknown 2); its model goes to `path`.

    Raises:
        DsiError: the vocabulary is too small for the corpus's characters.
    """
    model = io.BytesIO()
    contents = progress(corpus.contents(), "tokenize", total=len(corpus))
    if not config.punctuation:
        contents = (re.sub(PUNCTUATION, " ", content) for content in contents)
    slices = (content[start : start + SLICE] for content in contents for start in range(0, len(content), SLICE))
    options: dict[str, Any] = {
        "sentence_iterator": slices,
        "model_writer": model,
        "vocab_size": config.vocabulary,
        "hard_vocab_limit": False,  # a small corpus has fewer tokens than asked for
        "character_coverage": 0.9995,
        "normalization_rule_name": "nmt_nfkc_cf" if config.lowercase else "nmt_nfkc",
        "input_sentence_size": SENTENCES,
        "shuffle_input_sentence": True,
        "max_sentence_length": 4 * SLICE,  # in bytes; what is longer would be skipped
        "pad_id": 0,
        "eos_id": 1,
        "unk_id": 2,
        "bos_id": -1,
        "minloglevel": 2,
    }
    try:
        sentencepiece.SentencePieceTrainer.train(**options)
    except RuntimeError as error:
        raise DsiError(f"tokenizer.vocabulary={config.vocabulary}: SentencePiece cannot: {first_line(error)}") from None
    path.write_bytes(model.getvalue())
    vocabulary = T5Tokenizer.from_pretrained(path.parent, extra_ids=0)
    if config.punctuation:
        return vocabulary
    backend = vocabulary.backend_tokenizer
    backend.normalizer = normalizers.Sequence([backend.normalizer, normalizers.Replace(Regex(PUNCTUATION), " ")])
    # T5Tokenizer would make its own normaliser again when it is loaded.
    return PreTrainedTokenizerFast(
        tokenizer_object=backend, pad_token="<pad>", eos_token="</s>", unk_token="<unk>", model_max_length=10**9
    )
