"""Texts of other people within Markdown: what means something there is shown as it is."""

import re

from dsi.runtime.printable import one_line, printable

SPECIAL = re.compile(r"([\\`*_\[\]<>|~&$\"])")
"""The characters that mean something within a line of Markdown; a backslash in front takes that away."""


def escaped(text: str) -> str:
    """A text as Markdown that shows it as it is, within a line or a cell of a table.

    >>> print(escaped("a | <i>*b*</i>"))
    a \\| \\<i\\>\\*b\\*\\</i\\>
    """
    return SPECIAL.sub(r"\\\1", text)


def beginning(text: str, length: int) -> str:
    """The beginning of a text, escaped, on one line, cut after a word if it has more than `length` characters.

    >>> print(beginning("Copy *all*\\nfiles of a tree", 12))
    Copy \\*all\\* ...
    """
    return escaped(printable(one_line(text, length)))
