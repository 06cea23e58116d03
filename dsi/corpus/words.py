"""The definition of a word, by which queries are simulated, measured and compared with documents."""

import re

WORD = re.compile(r"[^\W_]+")


def words_of(text: str) -> list[str]:
    """The words of a text in order, in lower case.

    >>> words_of("Copy a directory_tree, 2x!")
    ['copy', 'a', 'directory', 'tree', '2x']
    """
    return WORD.findall(text.lower())
