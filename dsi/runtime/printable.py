"""Texts of other people as they may be shown: on one line, without commands to a terminal or to the text around."""

import re

CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
"""Control characters, which may be commands to a terminal."""
DIRECTION = re.compile(r"[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")
"""What sets the direction of a text (Unicode's Bidi_Control), which the text behind it would take over."""


def printable(text: str) -> str:
    """The text without what would steer a terminal, e.g. change its colours, or reverse what stands behind the text.

    >>> printable("red: " + chr(27) + "[31m")
    'red: �[31m'
    >>> printable("a" + chr(0x202E) + "b")
    'ab'
    """
    return CONTROL.sub("\N{REPLACEMENT CHARACTER}", DIRECTION.sub("", text))


def one_line(text: str, length: int) -> str:
    """The beginning of a text on one line, cut after a word if it has more than `length` characters.

    >>> one_line("Copy  a directory tree", 12)
    'Copy a ...'
    """
    line = re.sub(r"\s+", " ", text).strip()
    return line if len(line) <= length else line[:length].rsplit(" ", 1)[0] + " ..."
