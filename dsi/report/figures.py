"""A figure of a report: what it shows in words, its numbers, and the files that it becomes.

Figures are made for paper and for screens, light and dark: text and axes have the colour of the text around them.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dsi.report.markdown_text import escaped
from dsi.report.quantities import csv_text
from dsi.report.styles import INK

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FIGURES = "figures"
"""The folder of the figures, below that of a report."""
WIDTH = 5.2
"""The width of a figure in inches: that of a column of text, and little enough for a telephone."""
LEGEND = 64
"""The number of letters that fit into a line of a legend."""
LEGEND_LINE = 0.21
"""The height of a line of a legend in inches."""
RC = {
    "font.size": 10,
    "text.parse_math": False,
    "svg.fonttype": "none",
    "pdf.fonttype": 42,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.alpha": 0.15,
    "legend.frameon": False,
    **dict.fromkeys(
        ("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color", "grid.color"), INK
    ),
}
"""The settings of matplotlib that make the style."""
FILES: dict[str, dict[str, Any]] = {
    "svg": {"transparent": True, "metadata": dict.fromkeys(("Date", "Creator", "Format", "Type"))},
    "png": {"facecolor": "white", "dpi": 200},
    "pdf": {"facecolor": "white", "metadata": {"CreationDate": None}},
}
"""How the file with each ending is saved, without a date, so that equal numbers make equal files."""
STYLE_SHEET = "<style>svg:root { color-scheme: light dark; color: CanvasText }</style>"
"""What gives an SVG that is shown by itself, rather than in a page, the colours of the reader's screen."""


@dataclass(frozen=True)
class Figure:
    """A plot with the numbers that it draws."""

    name: str
    """The name of its files, without ending."""
    title: str
    """What it shows, for a caption."""
    alternative: str
    """What is to be seen, with the main numbers, in a sentence or two for those who do not see it."""
    header: Sequence[str]
    rows: Sequence[Sequence[object]]
    """The numbers drawn as they are, not rounded, (rows, columns)."""
    draw: Callable[[Axes], None]
    """What draws it on these axes, their labels too; what has a label there gets into a legend above them."""
    height: float = 3.0
    """The height in inches, without the legend."""

    def markdown(self) -> str:
        """The figure as an image in Markdown, its alternative before and its title after the address."""
        return f'![{escaped(self.alternative)}]({FIGURES}/{self.name}.svg "{escaped(self.title)}")'

    def save(self, folder: Path) -> None:
        """Write `NAME.svg`, `NAME.png`, `NAME.pdf` and, with the numbers, `NAME.csv` into a folder."""
        from matplotlib import rc_context
        from matplotlib.figure import Figure as Canvas

        folder.mkdir(parents=True, exist_ok=True)
        with rc_context({**RC, "svg.hashsalt": self.name}):
            canvas = Canvas(figsize=(WIDTH, self.height), layout="constrained")
            axes = canvas.add_subplot()
            self.draw(axes)
            handles, labels = axes.get_legend_handles_labels()
            if handles:
                columns = max(LEGEND // (max(map(len, labels)) + 8), 1)  # a marker takes the room of 8 letters
                canvas.set_figheight(self.height + LEGEND_LINE * math.ceil(len(handles) / columns))
                canvas.legend(handles, labels, loc="outside upper left", ncols=columns)
            for ending, arguments in FILES.items():
                canvas.savefig(folder / f"{self.name}.{ending}", **arguments)
        svg = folder / f"{self.name}.svg"
        svg.write_text(self._within_a_page(svg.read_text(encoding="utf-8")), encoding="utf-8")
        (folder / f"{self.name}.csv").write_text(csv_text([self.header, *self.rows]), encoding="utf-8")

    def _within_a_page(self, svg: str) -> str:
        """An SVG of matplotlib as a part of a page: ids that no other figure has, a title, a description."""
        described = f'role="img" aria-labelledby="{self.name}-title {self.name}-description"'
        svg = re.sub(r'(\bid="|url\(#|href="#)', rf"\g<1>{self.name}-", svg[svg.index("<svg") :])
        start, _, rest = svg.replace(INK, "currentColor").partition(">")
        return (
            f'{start.replace("<svg", f"<svg {described}", 1)}>\n <title id="{self.name}-title">{escape(self.title)}'
            f'</title>\n <desc id="{self.name}-description">{escape(self.alternative)}</desc>\n {STYLE_SHEET}{rest}'
        )


def without_figures(markdown: str) -> str:
    r"""A report in Markdown without its figures, for a terminal or a place where their files are not.

    >>> without_figures("# R\n\n![a](figures/a.svg)\n\n## Cost\n")
    '# R\n\n## Cost\n'
    """
    return re.sub(rf"^!\[.*\]\({FIGURES}/.*\n\n?", "", markdown, flags=re.MULTILINE)
