"""Tables of text: aligned for a terminal, or in Markdown. The first column names the row, the others are numbers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

Row = Sequence[str]


def text_table(header: Row, rows: Iterable[Row]) -> str:
    """Columns padded to one width and two blanks apart."""
    lines = [header, *rows]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(_aligned(line, widths) for line in lines) + "\n"


def markdown_table(header: Row, rows: Iterable[Row]) -> str:
    """The same as a Markdown table."""
    rule = ["---"] + ["---:"] * (len(header) - 1)
    return "\n".join(f"| {' | '.join(line)} |" for line in (header, rule, *rows)) + "\n"


def _aligned(line: Row, widths: list[int]) -> str:
    first, *others = line
    cells = [first.ljust(widths[0])]
    cells += [cell.rjust(width) for cell, width in zip(others, widths[1:], strict=True)]
    return "  ".join(cells).rstrip()
