"""The vocabulary of texts: the checkpoint's own, or SentencePiece trained on the corpus for a model from scratch."""

import io
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import sentencepiece
from tokenizers import Regex, normalizers
from transformers import AutoTokenizer, PreTrainedTokenizerBase, PreTrainedTokenizerFast, T5Tokenizer
from transformers.utils import cached_file

from dsi.config import TokenizerConfig
from dsi.corpus.store import Corpus
from dsi.corpus.words import DOTTED_I, INVISIBLE, JOINERS, LETTERS
from dsi.errors import DsiError, first_line
from dsi.runtime.checkpoint_files import CONFIG_FILE, check_whole, read_object
from dsi.runtime.progress import progress

SENTENCES = 1_000_000
"""The number of sentences that SentencePiece samples; more do not change a vocabulary of this size."""
READ = ("config.json", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json")
SENTENCEPIECE = ("spiece.model", "tokenizer.model")
"""The files of a vocabulary that are read where there is no tokenizer.json."""
ABSENT: dict[str, Any] = {
    "_raise_exceptions_for_missing_entries": False,
    "_raise_exceptions_for_connection_errors": False,
}
"""What makes transformers answer None for a file that a checkpoint lacks."""
SLICE = 10_000
"""The number of characters, all those of most documents, that SentencePiece sees as one sentence."""


def tokenize(
    out_folder: Path, *, tokenizer: TokenizerConfig, checkpoint: str | None, corpus_folder: Path
) -> dict[str, Any]:
    """Write the tokenizer of the checkpoint, or else one trained on the corpus, as a Hugging Face folder.

    Returns the number of its tokens for the manifest.

    Raises:
        DsiError: the checkpoint has no tokenizer that fits it, it cannot be downloaded, or `train_vocabulary` fails.
    """
    if checkpoint is None:
        saved = train_vocabulary(Corpus(corpus_folder), tokenizer, out_folder / "spiece.model")
    else:
        saved = checkpoint_tokenizer(checkpoint, "model.checkpoint")
    saved.save_pretrained(out_folder)
    return {"vocabulary": len(saved)}


def open_tokenizer(folder: Path) -> PreTrainedTokenizerBase:
    """The tokenizer in a stage's folder; code that someone may have put there is not run, nor asked about."""
    return AutoTokenizer.from_pretrained(folder, trust_remote_code=False)


def checkpoint_tokenizer(checkpoint: str, key: str) -> PreTrainedTokenizerBase:
    """The tokenizer of a checkpoint, a hub name or a folder; code that comes with it is not run.

    Raises:
        DsiError: there is none, it has no piece for the end or for padding, or more pieces than the checkpoint has
            embeddings; the message names `key`, the configuration's key.
    """
    folder = Path(checkpoint)
    check_whole((folder / name for name in READ), key)
    if not (folder / "tokenizer.json").exists():
        check_whole((folder / name for name in SENTENCEPIECE), key)
    try:
        tokenizer = AutoTokenizer.from_pretrained(checkpoint, trust_remote_code=False)
        names = [*tokenizer.vocab_files_names.values(), *SENTENCEPIECE] if tokenizer.vocab_files_names else []
        has_vocabulary = not names or any(cached_file(checkpoint, name, **ABSENT) for name in names)
        file = cached_file(checkpoint, CONFIG_FILE, **ABSENT)
        ends = tokenizer.eos_token_id in tokenizer("a")["input_ids"]
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:  # of many kinds, according to what is wrong with the files; Rust's are no Exception
        raise DsiError(f"{key}: cannot load a tokenizer from {checkpoint!r}: {first_line(error)}") from None
    if not has_vocabulary:  # transformers makes one up
        raise DsiError(f"{key}: {checkpoint!r} has no tokenizer: there is no {' or '.join(dict.fromkeys(names))}")
    for name, token_id in (("end", tokenizer.eos_token_id), ("padding", tokenizer.pad_token_id)):
        if token_id is None:
            raise DsiError(f"{key}: the tokenizer of {checkpoint!r} has no {name} piece; T5's has </s> and <pad>")
    if not ends:
        raise DsiError(f"{key}: the tokenizer of {checkpoint!r} does not end texts with its end piece, as T5's does")
    rows = read_object(Path(file), key).get("vocab_size") if file else None
    pieces = max(tokenizer.get_vocab().values()) + 1
    if isinstance(rows, int) and pieces > rows:
        raise DsiError(
            f"{key}: the tokenizer of {checkpoint!r} has {pieces} pieces, but its model has embeddings for {rows} only;"
            " take the tokenizer that it was trained with, or add rows to it (resize_token_embeddings of transformers)"
        )
    return tokenizer


def save_tokenizer(tokenizer: PreTrainedTokenizerBase, folder: Path) -> None:
    """Write a tokenizer as a Hugging Face folder, without the truncation and padding that its last call has set."""
    if tokenizer.is_fast:
        tokenizer.backend_tokenizer.no_truncation()
        tokenizer.backend_tokenizer.no_padding()
    tokenizer.save_pretrained(folder)


def train_vocabulary(corpus: Corpus, config: TokenizerConfig, path: Path) -> PreTrainedTokenizerBase:
    """Train a unigram vocabulary with T5's special tokens (pad 0, end 1, unknown 2) and return its tokenizer.

    The most frequent characters of the sample, up to half of the vocabulary, all have a token. SentencePiece's own
    model is written to `path`.

    Raises:
        DsiError: the vocabulary is too small for the characters of the corpus.
    """
    model = io.BytesIO()
    rule = "nmt_nfkc_cf" if config.lowercase else "nmt_nfkc"
    before = _normalizer(config)

    count = max(min(config.sample * len(corpus) // max(corpus.characters(), 1), len(corpus)), 1)

    def contents(label: str) -> Iterator[str]:
        for document in progress(corpus.spread(count), label, total=count):
            yield before.normalize_str(document.content())

    theirs = sentencepiece.SentencePieceNormalizer(rule_name=rule)
    characters = Counter[str]()
    for content in contents("count characters"):
        characters.update(theirs.normalize(content))
    del characters["▁"]  # a blank, which SentencePiece adds itself; named as required, it hides the others
    slices = (text[start : start + SLICE] for text in contents("tokenize") for start in range(0, len(text), SLICE))
    options: dict[str, Any] = {
        "sentence_iterator": slices,
        "model_writer": model,
        "vocab_size": config.vocabulary,
        "hard_vocab_limit": False,  # a small corpus has fewer tokens than asked for
        "character_coverage": 0.9995,
        "required_chars": "".join(character for character, _ in characters.most_common(config.vocabulary // 2)),
        "normalization_rule_name": rule,
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
    backend = T5Tokenizer.from_pretrained(path.parent, extra_ids=0).backend_tokenizer
    backend.normalizer = normalizers.Sequence([before, backend.normalizer])
    # T5Tokenizer would make its own normaliser again when it is loaded.
    return PreTrainedTokenizerFast(
        tokenizer_object=backend, pad_token="<pad>", eos_token="</s>", unk_token="<unk>", model_max_length=10**9
    )


def _normalizer(config: TokenizerConfig) -> normalizers.Sequence:
    """What is done to a text before SentencePiece's own normaliser, in training and later."""
    steps = [normalizers.NFC(), normalizers.Replace(Regex(f"[{JOINERS}{INVISIBLE}]"), "")]  # it makes blanks of joiners
    if config.lowercase:
        steps += [normalizers.Replace("İ", "i"), normalizers.Replace(DOTTED_I, "i")]  # it has no small letter for it
    if not config.punctuation:
        steps += [normalizers.Replace(Regex(f"[^{LETTERS}]+"), " ")]
    return normalizers.Sequence(steps)
