"""A Markdown text as what a check looks at: its code, its links, and the rest, each with its line."""

import re
from collections.abc import Iterator
from typing import NamedTuple

BLOCK = re.compile(r"^(?P<fence>```+|~~~+)(?P<language>[^\n`]*)\n(?P<text>.*?)^(?P=fence)[ \t]*$", re.M | re.S)
SPAN = re.compile(r"(?<!`)(?P<ticks>`+)(?!`)(?P<text>(?:(?!\n\n).)+?)(?<!`)(?P=ticks)(?!`)", re.S)
LINK = re.compile(
    r"\]\(\s*(?P<inline><[^>]*>|[^)\s]+)[^)]*\)"
    r"|^\[[^]]+\]:\s*(?P<named>\S+)"
    r'|\b(?:src|srcset|href)="(?P<html>[^"]+)"',
    re.M,
)
HEADING = re.compile(r"^#{1,6}[ \t]+(.+?)[ \t#]*$", re.M)


class Piece(NamedTuple):
    """A piece of the text."""

    line: int
    """The number of its first line, from 1."""
    text: str
    language: str = ""
    """Of a block of code, the word behind its fence."""


def line_of(text: str, place: int) -> int:
    """The number of the line, from 1, that has this character."""
    return text.count("\n", 0, place) + 1


def blanked(text: str, *patterns: re.Pattern[str]) -> str:
    """The text with blanks for all that the patterns match one after the other, in which every line has its number.

    >>> blanked("a `b` c", SPAN)
    'a     c'
    """
    for pattern in patterns:
        text = pattern.sub(lambda match: re.sub(r"[^\n]", " ", match[0]), text)
    return text


def blocks(text: str) -> Iterator[Piece]:
    """Yield the blocks of code between fences."""
    for match in BLOCK.finditer(text):
        yield Piece(line_of(text, match.start("text")), match["text"], match["language"].strip())


def spans(text: str) -> Iterator[Piece]:
    """Yield the code within lines, on one line each."""
    text = blanked(text, BLOCK)
    for match in SPAN.finditer(text):
        yield Piece(line_of(text, match.start()), " ".join(match["text"].split()))


def links(text: str) -> Iterator[Piece]:
    """Yield the targets of links and images."""
    text = blanked(text, BLOCK, SPAN)
    for match in LINK.finditer(text):
        target = match["inline"] or match["named"] or match["html"]
        yield Piece(line_of(text, match.start()), target.strip("<>"))


def anchors(text: str) -> set[str]:
    """The names under which links reach the headings, as GitHub makes them.

    >>> sorted(anchors("# The table\\n## `dsi query`, again\\n## The table"))
    ['dsi-query-again', 'the-table', 'the-table-1']
    """
    found: dict[str, int] = {}
    for heading in HEADING.findall(blanked(text, BLOCK)):
        visible = re.sub(r"\]\([^)]*\)", "", heading)
        name = re.sub(r"[^\w\- ]", "", visible.lower()).strip().replace(" ", "-")
        found[name] = found.get(name, -1) + 1
    return {name if not number else f"{name}-{number}" for name, last in found.items() for number in range(last + 1)}
