"""Tables: aligned for a terminal, in Markdown, in LaTeX, and as CSV with plain numbers.

The first column names the row, the others are numbers.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import inf
from pathlib import Path

from dsi.report.quantities import Quantity, csv_text

TABLES = "tables"
"""The folder of the tables, below that of a report."""
Row = Sequence[str]

IN_LATEX = str.maketrans(
    {character: f"\\{character}" for character in "&%$#_{}"}
    | {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
    | {"<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}"}
    | {"[": "{[}", "*": "{*}", "\n": " "}  # a line break of the row above would take these two for its arguments
)
"""What stands in LaTeX for characters that mean something else there."""


@dataclass(frozen=True)
class Table:
    """A table of texts and quantities.

    >>> from dsi.report.quantities import decimal
    >>> table = Table("results", "Results", ["system", "RR@10"], [["a_b", decimal(0.52)], ["c", decimal(0.4)]], True)
    >>> print(table.text() + table.markdown(), end="")
    system   RR@10
    a_b     0.520*
    c        0.400
    | system | RR@10 |
    | --- | ---: |
    | a_b | **0.520** |
    | c | 0.400 |
    """

    name: str
    """The name of its files, without ending."""
    title: str
    """What it shows, for a caption."""
    header: Row
    rows: Sequence[Row]
    """The cells, (rows, columns). A cell that is a `Quantity` is plain numbers in CSV."""
    marks_best: bool = False
    """Whether the largest value of a column is marked, and what reads like it when rounded."""

    def text(self) -> str:
        """The table with aligned columns, the best values followed by a star."""
        return text_table(self.header, self._marked("{}*", self.rows))

    def markdown(self) -> str:
        """The table in Markdown, the best values in bold."""
        rule = ["---"] + ["---:"] * (len(self.header) - 1)
        rows = [[cell.replace("|", "\\|") for cell in row] for row in (self.header, *self._marked("**{}**", self.rows))]
        return "".join(f"| {' | '.join(line)} |\n" for line in (rows[0], rule, *rows[1:]))

    def latex(self) -> str:
        """A `tabular` with the rules of booktabs, the best values in bold; a comment above it has a caption and a
        label for the environment that it is put into."""
        rows = self._marked(r"\textbf{{{}}}", [list(map(_latex, row)) for row in self.rows])
        header, *others = (f"{' & '.join(row)} \\\\" for row in (list(map(_latex, self.header)), *rows))
        lines = [
            "% needs \\usepackage{booktabs}",
            f"% \\caption{{{_latex(self.title)}}}",
            f"% \\label{{tab:{self.name}}}",
            f"\\begin{{tabular}}{{l{'r' * (len(self.header) - 1)}}}",
            *(r"\toprule", header, r"\midrule", *others, r"\bottomrule"),
            r"\end{tabular}",
        ]
        return "\n".join(lines) + "\n"

    def csv(self) -> str:
        """The table with a column for every number of its quantities, whose unit is in the header; what is not known is
        empty."""
        columns = [column for each in zip(self.header, *self.rows, strict=True) for column in _in_csv(*each)]
        return csv_text(zip(*columns, strict=True))

    def save(self, folder: Path) -> None:
        """Write `NAME.csv` and `NAME.tex` into a folder."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{self.name}.csv").write_text(self.csv(), encoding="utf-8")
        (folder / f"{self.name}.tex").write_text(self.latex(), encoding="utf-8")

    def _marked(self, mark: str, shown: Sequence[Row]) -> list[Row]:
        """The cells as they are `shown`; the best of each column, and what reads like it, in `mark`, e.g. `{}*`."""
        if not self.marks_best:
            return list(shown)
        best = [max(column, key=_number) for column in zip(*self.rows, strict=True)]
        return [
            [
                mark.format(cell) if text == most and _number(text) > -inf else cell
                for cell, text, most in zip(cells, texts, best, strict=True)
            ]
            for cells, texts in zip(shown, self.rows, strict=True)
        ]


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


def _number(cell: str) -> float:
    """The number of a quantity; minus infinity if there is none."""
    return cell.numbers.get("", -inf) if isinstance(cell, Quantity) else -inf


def _latex(cell: str) -> str:
    """A cell in LaTeX; the minus of a number is one."""
    escaped = cell.translate(IN_LATEX)
    return re.sub(r"-(?=\d)", "$-$", escaped) if isinstance(cell, Quantity) else escaped


def _in_csv(name: str, *cells: str) -> list[list[object]]:
    """The columns of CSV that a column with this name becomes, the name of each first."""
    quantities = [cell for cell in cells if isinstance(cell, Quantity)]
    if not quantities or len(quantities) < len(cells):
        return [[name, *cells]]
    unit = next((f"({cell.unit})" for cell in quantities if cell.unit and cell.unit not in name.split()), "")
    parts = dict.fromkeys(part for cell in quantities for part in cell.numbers) or [""]
    return [
        [" ".join(filter(None, (name, part, unit))), *(cell.numbers.get(part, "") for cell in quantities)]
        for part in parts
    ]
