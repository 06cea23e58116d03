"""Tables as text: aligned for a terminal, or in Markdown. The first column names the row, the others are numbers."""

from collections.abc import Iterable, Sequence

Row = Sequence[str]


def text_table(header: Row, rows: Iterable[Row]) -> str:
    """The table with aligned columns, two blanks apart.

    >>> print(text_table(["system", "RR@10"], [["bm25", "0.5"]]), end="")
    system  RR@10
    bm25      0.5
    """
    lines = [header, *rows]
    first, *others = [max(map(len, column)) for column in zip(*lines, strict=True)]
    aligned = ("  ".join([name.ljust(first), *map(str.rjust, cells, others)]).rstrip() for name, *cells in lines)
    return "\n".join(aligned) + "\n"


def markdown_table(header: Row, rows: Iterable[Row]) -> str:
    """The table in Markdown.

    >>> print(markdown_table(["system", "RR@10"], [["bm25", "0.5"]]), end="")
    | system | RR@10 |
    | --- | ---: |
    | bm25 | 0.5 |
    """
    rule = ["---"] + ["---:"] * (len(header) - 1)
    return "\n".join(f"| {' | '.join(line)} |" for line in (header, rule, *rows)) + "\n"
