"""Draw how a query walks through the docid tree of an index to a document.

    .venv/bin/python scripts/draw_walk.py runs/demo-tree "send an email message" smtplib.SMTP.send_message \\
        -o docs/walk.svg

The index is a run or a saved one whose docids are a tree. The picture is an SVG for light and dark pages, without
scripts or fonts, and always the same for the same index.
"""

import argparse
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

from svg_picture import LETTER, Picture

import dsi
from dsi.corpus.store import Document
from dsi.errors import DsiError
from dsi.index.walk import Branch, Walk

WIDTH, MARGIN, GAP = 800, 16, 32
"""The width of the picture, its margin, and the space between columns, in pixels."""
HEADING, TOP = 28, 46
"""The base line of the headings, and the top of the first row."""
BOX, SPACE = 42, 10
"""The height of a branch, and the space to the next."""
QUERY, STEP, DOCUMENT = 116, 190, 216
"""The widths of the first column, of the others at most, and of the last at least."""
LINE = 17
"""The height of a line."""
TIMES = "\N{NO-BREAK SPACE}\N{MULTIPLICATION SIGN}\N{NO-BREAK SPACE}"
STYLE = """
rect.kept { fill: var(--page); stroke: var(--line); }
rect.dropped { fill: var(--page); stroke: var(--faint); stroke-dasharray: 3 3; }
rect.way { fill: var(--tint); stroke: var(--blue); stroke-width: 2; }
path { fill: none; }
path.kept { stroke: var(--line); }
path.dropped { stroke: var(--faint); stroke-dasharray: 3 3; }
path.way { stroke: var(--blue); }
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("index", type=Path, help="folder of a run or of a saved index")
    parser.add_argument("query", type=words)
    parser.add_argument("doc_id", help="id of the document to walk to")
    parser.add_argument("-o", dest="out", type=Path, required=True, metavar="FILE", help="SVG file to write")
    parser.add_argument("--beam", type=at_least(1), default=4, help="branches the beam keeps on a level (default: 4)")
    options = parser.parse_args()
    try:
        index = dsi.load(options.index, prior="none", ranking="path")
        document, walk = index.documents[options.doc_id], index.walk(options.query, options.beam, options.beam)
        svg = drawn(options.query, document, walk, way_to(document, walk), options.beam)
    except (DsiError, KeyError) as error:
        sys.exit(f"draw_walk: {error.args[0]}")
    options.out.write_text(svg, encoding="utf-8")


def way_to(document: Document, walk: Walk) -> list[Branch]:
    """The branches that lead to a document, from the root.

    Raises:
        DsiError: the docids of the index are no tree, or the beam does not find the document.
    """
    if walk.kind == "atomic":
        raise DsiError("atomic docids are no tree: take an index with docids.kind=semantic")
    branches = {branch.node: branch for level in walk.levels for branch in level.branches}
    ends = [branch for branch in branches.values() if branch.kept and document.doc_id in branch.doc_ids]
    if not ends:
        raise DsiError(f"a beam of {walk.beam} does not find this document: give another query or a wider beam")
    way = ends[:1]
    while way[0].parent:
        way.insert(0, branches[way[0].parent])
    return way


def words(text: str) -> str:
    """A query as an argument of the command."""
    if not text.strip():
        raise argparse.ArgumentTypeError("it is empty; give the words to search for")
    return text


def at_least(least: int) -> Callable[[str], int]:
    """What reads a whole number of at least `least` as an argument of the command."""

    def number(text: str) -> int:
        if int(text) < least:
            raise argparse.ArgumentTypeError(f"{text} is too small; give {least} or more")
        return int(text)

    return number


def drawn(query: str, document: Document, walk: Walk, way: list[Branch], beam: int) -> str:
    """The SVG of the walk from a query to a document by a beam of this width."""
    picture, steps = Picture(WIDTH), len(way)
    picture.text("query", MARGIN + QUERY / 2, HEADING, "soft middle")
    bottom = add_box(picture, "way", MARGIN, TOP, QUERY, [(line, "strong") for line in wrapped(query, QUERY, 5)])
    starts = {0: (MARGIN + QUERY + 0.0, TOP + BOX / 2)}  # of the lines from each node
    free = WIDTH - 2 * MARGIN - QUERY - GAP * steps
    inner = min(STEP, (free - DOCUMENT) / max(steps - 1, 1))
    for number, level in enumerate(walk.levels[:steps], start=1):
        is_last, places = number == steps, list(starts)
        x, width = MARGIN + QUERY + GAP + (number - 1) * (inner + GAP), free - inner * (steps - 1) if is_last else inner
        picture.text(
            f"step {number}: documents" if is_last else f"step {number}", x + width / 2, HEADING, "soft middle"
        )
        y = float(TOP)
        branches = sorted(
            level.branches, key=lambda branch: (branch not in way, not branch.kept, places.index(branch.parent))
        )
        for branch in branches:
            state = "way" if branch in way else "kept" if branch.kept else "dropped"
            beside, texts = ("" if is_last else f"{branch.documents:,} documents"), wrapped(label(branch), width, 1)
            lines = [(percent(branch.probability), "strong"), *((text.rstrip(","), "soft") for text in texts)]
            if is_last and state == "way":
                beside = TIMES.join(percent(each.step) for each in way)
                texts = wrapped(document.text, width, 3)
                lines[1:] = [(document.doc_id, "strong"), *((text, "soft") for text in texts)]
            add_line(picture, state, *starts[branch.parent], x, y + BOX / 2, max(1, 7 * branch.probability))
            starts[branch.node] = x + width, y + BOX / 2
            y = add_box(picture, state, x, y, width, lines, beside)
            bottom = max(bottom, y)
            y += SPACE
    add_legend(picture, bottom + 30, beam)
    described = "; ".join(f"{label(branch)}: {percent(branch.step)}" for branch in way)
    return picture.svg(
        bottom + 46,
        f"The query “{query}” walks through the docid tree to {document.doc_id}",
        f"Each step chooses a branch of a tree of documents: {described}.",
        STYLE,
    )


def label(branch: Branch) -> str:
    """What stands for the documents below a branch."""
    return ", ".join(branch.words or branch.examples)


def wrapped(text: str, width: float, lines: int) -> list[str]:
    """The first lines of a text in a box of this width; a single one shows no cut."""
    return textwrap.wrap(text, int(width / LETTER) - 3, max_lines=lines, placeholder=" ..." if lines > 1 else "")


def percent(probability: float) -> str:
    """A probability in per cent.

    >>> percent(0.494), percent(0.0042)
    ('49 %', '0.4 %')
    """
    return f"{100 * probability:.0f} %" if probability >= 0.01 else f"{100 * probability:.1g} %"


def add_box(
    picture: Picture, state: str, x: float, y: float, width: float, lines: list[tuple[str, str]], beside: str = ""
) -> float:
    """Add a box of lines, each with its class, and a text beside the first; returns the lower side of the box."""
    height = max(BOX, LINE * len(lines) + 8)
    picture.add("rect", state, x=x, y=y, width=width, height=height, rx=6)
    first = y + (height - LINE * len(lines)) / 2 + LINE - 4.5
    picture.text(beside, x + width - 9, first, "soft right")
    for number, (text, kind) in enumerate(lines):
        picture.text(text, x + 9, first + LINE * number, kind)
    return y + height


def add_line(picture: Picture, state: str, x: float, y: float, to_x: float, to_y: float, width: float) -> None:
    """Add a line from a node to one below it."""
    middle = (x + to_x) / 2
    path = f"M{x:g} {y:g}C{middle:g} {y:g} {middle:g} {to_y:g} {to_x:g} {to_y:g}"
    picture.add("path", state, d=path, stroke_width=width)


def add_legend(picture: Picture, y: float, beam: int) -> None:
    """Add what the lines and the numbers mean."""
    x = float(MARGIN)
    for state, width, meaning in (
        ("way", 4, "to the document"),
        ("kept", 1.5, f"kept by a beam of {beam}"),
        ("dropped", 1.5, "dropped"),
    ):
        add_line(picture, state, x, y - 4, x + 28, y - 4, width)
        picture.text(meaning, x + 36, y, "soft")
        x += 36 + LETTER * len(meaning) + 20
    picture.text("per cent: probability of the way so far", WIDTH - MARGIN, y, "soft right")


if __name__ == "__main__":
    main()
