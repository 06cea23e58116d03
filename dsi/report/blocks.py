"""A report as a list of blocks: text in Markdown, and tables and figures, of which each has files of its own."""

from collections.abc import Iterable
from pathlib import Path

from dsi.report.figures import FIGURES, Figure
from dsi.report.tables import TABLES, Table

Block = str | Table | Figure


def markdown(blocks: Iterable[Block]) -> str:
    """The blocks in Markdown, with a blank line between them."""
    texts = (block if isinstance(block, str) else block.markdown() for block in blocks)
    return "\n\n".join(text.rstrip("\n") for text in texts) + "\n"


def save(folder: Path, blocks: Iterable[Block]) -> None:
    """Write the files of every table and figure among the blocks into the folders of their kind below this one."""
    for block in blocks:
        if isinstance(block, Table):
            block.save(folder / TABLES)
        elif isinstance(block, Figure):
            block.save(folder / FIGURES)
