"""Naive docids: the id of the document in the collection, spelled out (Pradeep et al. 2023, section 3.2.3).

They carry what the curators of the collection put into the ids, e.g. an order by source or topic.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Self

import numpy as np
from numpy.typing import NDArray

from dsi.artifacts import write_json
from dsi.config import DocidsConfig
from dsi.corpus.store import Corpus
from dsi.corpus.vectors import Vectors
from dsi.docids.kind import NewDocument
from dsi.docids.store import Codes, Vocabulary
from dsi.errors import DsiError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

END = 0
"""The docid token that ends every docid, since an id may be the beginning of another one."""

Alphabet = Literal["characters", "tokens"]


class Naive:
    """The id of the document in the collection, spelled out; the text tokenizer that may split it is kept too."""

    def __init__(self, strings: Sequence[str], alphabet: Alphabet, tokenizer: PreTrainedTokenizerBase) -> None:
        self.alphabet, self.tokenizer = alphabet, tokenizer
        self._token = {string: number for number, string in enumerate(strings) if number != END}

    @classmethod
    def assign(
        cls, config: DocidsConfig, corpus: Corpus, vectors: Vectors | None, tokenizer_folder: Path | None
    ) -> tuple[Self, Vocabulary, Codes]:
        assert tokenizer_folder is not None
        from dsi.tokenizer import open_tokenizer  # which imports transformers, and that takes seconds

        tokenizer = open_tokenizer(tokenizer_folder)
        strings, token_ids, codes = spell((document.doc_id for document in corpus), config.alphabet, tokenizer)
        vocabulary = Vocabulary("naive", len(strings), codes.shape[1], END, strings, token_ids)
        return cls(strings, config.alphabet, tokenizer), vocabulary, codes

    def way(self, document: NewDocument) -> list[int]:
        """The tokens of an id; DsiError if it has a letter that no id of the corpus has."""
        spelled = letters(document.doc_id, self.alphabet, self.tokenizer)
        for letter in spelled:
            if letter not in self._token:
                raise DsiError(
                    f"document {document.doc_id!r}: no id of the index has {letter!r}, which a naive docid would spell;"
                    " give the document another id, or build the index anew with it"
                )
        return [*(self._token[letter] for letter in spelled), END]

    def save(self, folder: Path) -> None:
        write_json(folder / "naive.json", {"alphabet": self.alphabet})
        from dsi.tokenizer import save_tokenizer

        save_tokenizer(self.tokenizer, folder / "tokenizer")

    @classmethod
    def load(cls, folder: Path, vocabulary: Vocabulary) -> Self:
        from dsi.tokenizer import open_tokenizer

        alphabet = json.loads((folder / "naive.json").read_text(encoding="utf-8"))["alphabet"]
        return cls(vocabulary.strings, alphabet, open_tokenizer(folder / "tokenizer"))


def letters(doc_id: str, alphabet: Alphabet, tokenizer: PreTrainedTokenizerBase) -> list[str]:
    """The strings that an id is spelled with: its characters, or its tokens in the text tokenizer."""
    return list(doc_id) if alphabet == "characters" else tokenizer.tokenize(doc_id)


def spell(
    doc_ids: Iterable[str], alphabet: Alphabet, tokenizer: PreTrainedTokenizerBase
) -> tuple[list[str], list[int], NDArray[np.int32]]:
    """Spell every id with one docid token per letter; ids with the same letters share a docid.

    Returns:
        The string of each docid token; the id of the text token whose embedding it starts from, -1 if there is none;
        and the codes, (documents, letters of the longest id + 1), padded with -1.
    """
    spelled = [letters(doc_id, alphabet, tokenizer) for doc_id in doc_ids]
    strings = sorted({string for strings in spelled for string in strings})
    token = {string: number for number, string in enumerate(strings, start=END + 1)}
    length = max(map(len, spelled)) + 1
    codes = np.full((len(spelled), length), -1, dtype=np.int32)
    for row, id_letters in zip(codes, spelled, strict=True):
        row[: len(id_letters)] = [token[letter] for letter in id_letters]
        row[len(id_letters)] = END
    token_ids = [
        token_id if token_id != tokenizer.unk_token_id else -1 for token_id in tokenizer.convert_tokens_to_ids(strings)
    ]
    return [tokenizer.eos_token, *strings], [tokenizer.eos_token_id, *token_ids], codes
