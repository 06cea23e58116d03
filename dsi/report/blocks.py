"""A report as a list of blocks: text in Markdown, and tables and figures, of which each has files of its own."""

from collections.abc import Sequence
from pathlib import Path

from dsi.report.figures import FIGURES, Figure
from dsi.report.page import write_page
from dsi.report.tables import TABLES, Table
from dsi.runtime.extras import install, lacking
from dsi.runtime.progress import say

Block = str | Table | Figure
EXTRA = "report"
"""The extra whose packages draw the figures and make the page."""


def draws() -> bool:
    """Whether figures can be drawn here."""
    return not lacking(EXTRA)


def markdown(blocks: Sequence[Block]) -> str:
    """The blocks in Markdown, with a blank line between them."""
    texts = (block if isinstance(block, str) else block.markdown() for block in blocks)
    return "\n\n".join(text.rstrip("\n") for text in texts) + "\n"


def write(folder: Path, name: str, blocks: Sequence[Block], browser: str = "", config: str = "") -> str:
    """Write the report `NAME.md`, the files of its tables and figures in folders beside it, and `NAME.html`, the page,
    which has `browser` and `config` too (see `write_page`); a line says so where the packages for it are missing.

    Returns:
        The text of `NAME.md`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    text = markdown(blocks)
    (folder / f"{name}.md").write_text(text, encoding="utf-8")
    for block in blocks:
        if isinstance(block, Table):
            block.save(folder / TABLES)
        elif isinstance(block, Figure):
            block.save(folder / FIGURES)
    if packages := lacking(EXTRA):
        say(f"dsi: {name}.html and figures are not written; they need {' and '.join(packages)}: {install(EXTRA)}")
    else:
        write_page(folder / f"{name}.html", text, browser, config)
    return text
