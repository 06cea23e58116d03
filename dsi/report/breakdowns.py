"""The part of the report on kinds of queries: the first measure of every system for each kind."""

from collections.abc import Callable, Mapping
from typing import Any

from dsi.report.blocks import Block
from dsi.report.figures import Figure
from dsi.report.quantities import count, decimal
from dsi.report.tables import Table
from dsi.search.run_files import DSI

TITLES = {
    "training": "By whether a training query has one of its documents",
    "words": "By its number of words",
    "similarity": "By its similarity to the closest synthetic query of its documents",
    "overlap": "By the share of its words that a relevant document has",
    "position": "By the quarter of its relevant document that has most of its words",
}


def breakdowns(metrics: dict[str, Any], name_of: Callable[[str], str], figures: Mapping[str, Figure]) -> list[Block]:
    """The queries won and lost against the baseline, and one table per breakdown with its figure. `figures` are those
    of the report by name, `name_of` gives a system's name in tables."""
    systems, blocks = list(metrics["systems"]), list[Block]()
    main, measure, against = metrics["main"], next(iter(metrics["systems"][DSI])), metrics["against_baseline"]
    if metrics["baseline"] != main:
        blocks += [
            f"On {measure}, {main} is better than {metrics['baseline']} for {count(against['won'])} queries, worse for"
            f" {count(against['lost'])}, level for {count(against['level'])}."
        ]
    for name, rows in metrics["breakdowns"].items():
        cells = [
            [kind, count(row["queries"]), *(decimal(row[system]) for system in systems)] for kind, row in rows.items()
        ]
        title, file = f"{TITLES[name]}, {measure}", f"queries-by-{name}"
        blocks += [f"{title}:", Table(file, f"{title}.", ["kind", "queries", *map(name_of, systems)], cells)]
        blocks += [figures[file]] if file in figures else []
    return blocks
