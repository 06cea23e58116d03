"""What a word is."""

from __future__ import annotations

import re

WORD = re.compile(r"[^\W_]+")


def words_of(text: str) -> list[str]:
    """The words of a text in lower case.

    >>> words_of("Copy a directory_tree, 2x!")
    ['copy', 'a', 'directory', 'tree', '2x']
    """
    return WORD.findall(text.lower())
