"""Naive docids: the collection's own id, spelled out (Pradeep et al. 2023, section 3.2.3).

They carry what the collection's curators put into their ids, e.g. an order by source or topic.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from transformers import AutoTokenizer

END = 0
"""Docid token after the last one, since an id may be the beginning of another id."""


def spell(
    doc_ids: Iterable[str], alphabet: Literal["characters", "pieces"], tokenizer: Path
) -> tuple[list[str], list[int], NDArray[np.int32]]:
    """One token a character, or a piece of the text tokenizer. Ids that it cannot tell apart share a docid.

    Returns:
        What each token stands for; the text piece whose embedding it starts from, -1 where the text vocabulary has
        none; and codes, shape (documents, longest + 1), padded with -1.
    """
    text = AutoTokenizer.from_pretrained(tokenizer)
    if alphabet == "characters":
        spelled = [list(doc_id) for doc_id in doc_ids]
    else:
        spelled = [text.tokenize(doc_id) for doc_id in doc_ids]
    strings = sorted({string for strings in spelled for string in strings})
    token = {string: number for number, string in enumerate(strings, start=END + 1)}
    length = max(map(len, spelled)) + 1
    codes = np.full((len(spelled), length), -1, dtype=np.int32)
    for row, characters in zip(codes, spelled, strict=True):
        row[: len(characters)] = [token[character] for character in characters]
        row[len(characters)] = END
    pieces = [piece if piece != text.unk_token_id else -1 for piece in text.convert_tokens_to_ids(strings)]
    return [text.eos_token, *strings], [text.eos_token_id, *pieces], codes
