"""Texts of other people as they may be shown: on one line, and without commands to a terminal."""

import re

CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
"""Control characters, which may be commands to a terminal."""


def printable(text: str) -> str:
    """The text without what would steer a terminal, e.g. change its colours or title.

    >>> printable("red: " + chr(27) + "[31m")
    'red: �[31m'
    """
    return CONTROL.sub("\N{REPLACEMENT CHARACTER}", text)


def one_line(text: str, length: int) -> str:
    """The beginning of a text on one line, cut after a word if it has more than `length` characters.

    >>> one_line("Copy  a directory tree", 12)
    'Copy a ...'
    """
    line = re.sub(r"\s+", " ", text).strip()
    return line if len(line) <= length else line[:length].rsplit(" ", 1)[0] + " ..."
