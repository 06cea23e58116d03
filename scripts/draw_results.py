"""Draw the RR@10 of every system by corpus, from the stored results.

    .venv/bin/python scripts/draw_results.py -o docs/results.svg

Corpora stand in order of size. What was measured has its 95 % interval; what learnt from a teacher is half filled, and
the paper's figures are open. The picture is an SVG for light and dark pages, always the same for the same results.
"""

import argparse
import sys
import xml.etree.ElementTree as ET
from collections import defaultdict
from pathlib import Path
from typing import NamedTuple

from stored_results import BY_HAND, MEASURE, RECORDED, Results, Score, read_results
from svg_picture import LETTER, Picture

from dsi.errors import DsiError

WIDTH, LEFT, RIGHT = 800, 48, 16
"""The width of the picture, and what is left free beside the corpora, in pixels."""
TOP, BOTTOM, HEIGHT = 84, 436, 484
"""The heights of RR@10 1 and 0, and that of the picture."""
SIZE, APART = 4.5, 17
"""Half the width of a mark, and the largest space between the marks of a corpus."""
CORPORA = {"demo": "Python's docs", "msmarco-6k": "MS MARCO", "nfcorpus": "NFCorpus", "squad": "SQuAD"}
"""The corpora of the runs that are drawn, all of atomic docids, and of those with `TAUGHT` behind their names."""
TAUGHT = "-teacher"
PUBLISHED = {"msmarco-100k": 100_000, "msmarco-1m": 1_000_000, "msmarco-full": 8_841_823}
"""The documents of the paper's settings."""
ROWS = {"bm25": "BM25", "dsi": "6b D2Q only/atomic", "dual_encoder": "GTR-Base"}
"""The paper's rows by the systems that they are shown as."""
SHAPES = {
    "bm25": ("ink", "BM25", "-1,-1 1,-1 1,1 -1,1"),
    "dsi": ("blue", "dsi", "-1,0 -.7,-.7 0,-1 .7,-.7 1,0 .7,.7 0,1 -.7,.7"),
    "dsi+bm25": ("orange", "dsi+bm25 in one search", "0,-1.35 1.35,0 0,1.35 -1.35,0"),
    "dual_encoder": ("green", "dual encoder", "0,-1.2 1.2,1 -1.2,1"),
}
"""The colour, the name and the corners of the mark of each system, in order."""
FILLS = {
    "full": "measured",
    "half": "measured, learnt from a teacher",
    "open": "published, Pradeep et al. 2023, T5-Base",
}
STYLE = """
.grid { stroke: var(--faint); }
.mark { stroke-width: 1.8; stroke-linejoin: round; }
.open { fill: var(--page); }
.stop-page { stop-color: var(--page); }
""" + "".join(
    f".{colour} {{ stroke: var(--{colour}); }}\n"
    f".{colour}.full {{ fill: var(--{colour}); }}\n"
    f".{colour}.half {{ fill: url(#half-{colour}); }}\n"
    f".stop-{colour} {{ stop-color: var(--{colour}); }}\n"
    for colour, _, _ in SHAPES.values()
)


class Mark(NamedTuple):
    """A score that is drawn."""

    system: str
    fill: str
    """full, half or open."""
    score: Score


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", dest="out", type=Path, required=True, metavar="FILE", help="SVG file to write")
    parser.add_argument("--recorded", type=Path, default=RECORDED, help="JSON file of recorded runs")
    parser.add_argument("--by-hand", type=Path, default=BY_HAND, help="YAML file of other measurements")
    options = parser.parse_args()
    try:
        results = read_results(options.recorded, options.by_hand)
    except DsiError as error:
        sys.exit(f"draw_results: {error}")
    options.out.write_text(drawn(marks(results)), encoding="utf-8")


def marks(results: Results) -> dict[tuple[int, str], list[Mark]]:
    """The scores of every corpus that is drawn, by its number of documents and its name, in the order of both. A score
    that several runs on a corpus have in common, such as that of BM25, is one."""
    found = defaultdict[tuple[int, str], set[Mark]](set)
    for run, recorded in results.runs.items():
        if (name := run.removesuffix(TAUGHT)) not in CORPORA:
            continue
        for system, score in recorded.scores(MEASURE).items():
            fill = "half" if recorded.systems[system].distilled else "full"
            found[recorded.documents, CORPORA[name]].add(Mark(system, fill, score))
    for setting, documents in PUBLISHED.items():
        for system, row in ROWS.items():
            mean = results.numbers[f"published/{setting}/{row}"]
            found[documents, CORPORA["msmarco-6k"]].add(Mark(system, "open", Score(score=mean, low=mean, high=mean)))
    order = [*SHAPES]
    return {
        corpus: sorted(
            (mark for mark in found[corpus] if mark.system in order),
            key=lambda mark: (order.index(mark.system), mark.fill, mark.score.score),
        )
        for corpus in sorted(found)
    }


def drawn(corpora: dict[tuple[int, str], list[Mark]]) -> str:
    """The SVG of the scores of each corpus."""
    picture = Picture(WIDTH)
    picture.text(
        f"{MEASURE} with its 95 % interval, by corpus and number of documents; atomic docids", RIGHT, 26, "strong"
    )
    for colour, _, _ in SHAPES.values():
        half = ET.SubElement(picture.add("defs"), "linearGradient", id=f"half-{colour}")
        for stop in (colour, "page"):
            ET.SubElement(half, "stop", {"class": f"stop-{stop}", "offset": "50%"})
    x = RIGHT + SIZE
    for system, (_, name, _) in SHAPES.items():
        x = add_meaning(picture, system, "full", name, x, 50)
    x = RIGHT + SIZE
    for fill, meaning in FILLS.items():
        x = add_meaning(picture, "dsi", fill, meaning, x, 70)
    for tenths in range(0, 11, 2):
        y = height(tenths / 10)
        picture.add("line", "grid", x1=LEFT, x2=WIDTH - RIGHT, y1=y, y2=y)
        picture.text(f"{tenths / 10:.1f}", LEFT - 8, y + 4, "soft right")
    space = (WIDTH - LEFT - RIGHT) / len(corpora)
    for number, ((documents, name), drawn_marks) in enumerate(corpora.items()):
        middle = LEFT + space * (number + 0.5)
        picture.text(name, middle, BOTTOM + 20, "middle")
        picture.text(f"{documents:,}", middle, BOTTOM + 37, "soft middle")
        for place, mark in enumerate(drawn_marks):
            x = middle + min(APART, space / (len(drawn_marks) + 1)) * (place - (len(drawn_marks) - 1) / 2)
            add_mark(picture, mark, x)
    numbers = "; ".join(
        f"{name}, {documents:,} documents: "
        + ", ".join(f"{mark.system} {mark.score.score:.3f} ({FILLS[mark.fill]})" for mark in drawn_marks)
        for (documents, name), drawn_marks in corpora.items()
    )
    return picture.svg(HEIGHT, f"{MEASURE} by corpus and system", f"{numbers}.", STYLE)


def height(score: float) -> float:
    """The height of a score in the picture."""
    return BOTTOM + (TOP - BOTTOM) * score


def add_mark(picture: Picture, mark: Mark, x: float) -> None:
    """Add a score and its interval."""
    colour = SHAPES[mark.system][0]
    if mark.fill != "open":
        picture.add("line", f"mark {colour}", x1=x, x2=x, y1=height(mark.score.low), y2=height(mark.score.high))
    add_shape(picture, mark.system, mark.fill, x, height(mark.score.score))


def add_shape(picture: Picture, system: str, fill: str, x: float, y: float) -> None:
    """Add the mark of a system."""
    colour, _, corners = SHAPES[system]
    pairs = (corner.split(",") for corner in corners.split())
    points = " ".join(f"{x + SIZE * float(right):.6g},{y + SIZE * float(down):.6g}" for right, down in pairs)
    picture.add("polygon", f"mark {colour} {fill}", points=points)


def add_meaning(picture: Picture, system: str, fill: str, meaning: str, x: float, y: float) -> float:
    """Add a mark and what it means to the legend; returns where the next one stands."""
    add_shape(picture, system, fill, x, y - 4)
    picture.text(meaning, x + 12, y, "soft")
    return x + 40 + LETTER * len(meaning)


if __name__ == "__main__":
    main()
