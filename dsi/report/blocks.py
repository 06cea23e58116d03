"""A report as a list of blocks: paragraphs and headings in Markdown, and tables, of which each is a file too."""

from collections.abc import Iterable
from pathlib import Path

from dsi.report.tables import Table

Block = str | Table
TABLES = "tables"
"""The folder of the tables, below that of a report."""


def markdown(blocks: Iterable[Block]) -> str:
    """The blocks in Markdown, with a blank line between them."""
    texts = (block if isinstance(block, str) else block.markdown().rstrip("\n") for block in blocks)
    return "\n\n".join(texts) + "\n"


def save_tables(folder: Path, blocks: Iterable[Block]) -> None:
    """Write every table among the blocks as `tables/NAME.csv` and `tables/NAME.tex` below a folder."""
    (folder / TABLES).mkdir(exist_ok=True)
    for block in blocks:
        if isinstance(block, Table):
            (folder / TABLES / f"{block.name}.csv").write_text(block.csv(), encoding="utf-8")
            (folder / TABLES / f"{block.name}.tex").write_text(block.latex(), encoding="utf-8")
