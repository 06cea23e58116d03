"""The vocabulary trained on a corpus."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sentencepiece
from conftest import Stages, tiny_documents
from transformers import AutoTokenizer

from dsi.config import TokenizerConfig
from dsi.corpus.store import Corpus
from dsi.errors import DsiError
from dsi.tokenizer import tokenize


def test_tokens_are_sentencepieces_own(tiny: Stages, tmp_path: Path) -> None:
    tokenize(
        tmp_path,
        tokenizer=TokenizerConfig(vocabulary=200, punctuation=True),
        checkpoint=None,
        corpus_folder=tiny.corpus,
    )
    theirs = sentencepiece.SentencePieceProcessor(model_file=str(tmp_path / "spiece.model"))
    ours = AutoTokenizer.from_pretrained(tmp_path)
    for document in tiny_documents(20):
        assert ours(document.content().upper())["input_ids"] == [*theirs.encode(document.content().upper()), 1]
    assert (ours.pad_token_id, ours.eos_token_id, ours.unk_token_id) == (0, 1, 2)


def test_punctuation_is_no_part_of_words(tiny: Stages) -> None:
    tokenizer = AutoTokenizer.from_pretrained(tiny.tokenizer)
    assert tokenizer("Bado, (gemi) kulo_nefa!")["input_ids"] == tokenizer("bado gemi kulo nefa")["input_ids"]
    assert (tokenizer.pad_token_id, tokenizer.eos_token_id, tokenizer.unk_token_id) == (0, 1, 2)


def test_a_vocabulary_too_small_for_the_alphabet_is_refused(tiny: Stages, tmp_path: Path) -> None:
    with pytest.raises(DsiError, match=r"tokenizer\.vocabulary=5"):
        tokenize(tmp_path, tokenizer=TokenizerConfig(vocabulary=5), checkpoint=None, corpus_folder=tiny.corpus)


def test_a_large_corpus_is_sampled_evenly(tiny: Stages, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []

    def train(sentence_iterator: Iterator[str], **options: Any) -> None:
        read.extend(sentence_iterator)
        raise RuntimeError("enough")

    monkeypatch.setattr(sentencepiece.SentencePieceTrainer, "train", train)
    corpus = Corpus(tiny.corpus)
    for share, count in ((0.25, len(corpus) // 4), (1.0, len(corpus)), (3.0, len(corpus))):
        read.clear()
        keys = TokenizerConfig(sample=int(corpus.characters() * share) + 1, punctuation=True, lowercase=False)
        with pytest.raises(DsiError, match="enough"):
            tokenize(tmp_path, tokenizer=keys, checkpoint=None, corpus_folder=tiny.corpus)
        assert len(read) == count
    assert read == list(corpus.contents())
    assert corpus.characters() == sum(len(document.title) + len(document.text) for document in corpus)
