"""Naive docids: the collection's own id, spelled out (Pradeep et al. 2023, section 3.2.3).

They carry what the collection's curators put into their ids, e.g. an order by source or topic.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from transformers import PreTrainedTokenizerBase

END = 0
"""Docid token after the last one, since an id may be the beginning of another id."""

Alphabet = Literal["characters", "tokens"]


def letters(doc_id: str, alphabet: Alphabet, tokenizer: PreTrainedTokenizerBase) -> list[str]:
    """What an id is spelled with: its characters, or its tokens in the text tokenizer."""
    return list(doc_id) if alphabet == "characters" else tokenizer.tokenize(doc_id)


def spell(
    doc_ids: Iterable[str], alphabet: Alphabet, tokenizer: PreTrainedTokenizerBase
) -> tuple[list[str], list[int], NDArray[np.int32]]:
    """One token a letter. Ids that these cannot tell apart share a docid.

    Returns:
        What each token stands for; the text token whose embedding it starts from, -1 where the text vocabulary has
        none; and codes, shape (documents, longest + 1), padded with -1.
    """
    spelled = [letters(doc_id, alphabet, tokenizer) for doc_id in doc_ids]
    strings = sorted({string for strings in spelled for string in strings})
    token = {string: number for number, string in enumerate(strings, start=END + 1)}
    length = max(map(len, spelled)) + 1
    codes = np.full((len(spelled), length), -1, dtype=np.int32)
    for row, own in zip(codes, spelled, strict=True):
        row[: len(own)] = [token[letter] for letter in own]
        row[len(own)] = END
    token_ids = [
        token_id if token_id != tokenizer.unk_token_id else -1 for token_id in tokenizer.convert_tokens_to_ids(strings)
    ]
    return [tokenizer.eos_token, *strings], [tokenizer.eos_token_id, *token_ids], codes
