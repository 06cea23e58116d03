"""The part of the report on kinds of queries: the first measure of every system for each kind."""

from collections.abc import Callable, Mapping
from typing import Any

from dsi.report.blocks import Block
from dsi.report.figures import Figure
from dsi.report.quantities import count, counted, decimal
from dsi.report.tables import Table
from dsi.search.run_files import DSI

PROPERTIES = {
    "training": "whether a training query has one of the query's documents",
    "words": "the number of words of the query",
    "similarity": "the similarity of the query to the closest synthetic query of its documents",
    "overlap": "the share of the query's words that a relevant document has",
    "position": "the quarter of the relevant document that has most of the query's words",
}
"""What each breakdown tells queries apart by."""


def breakdowns(metrics: dict[str, Any], name_of: Callable[[str], str], figures: Mapping[str, Figure]) -> list[Block]:
    """The queries won and lost against the baseline, and one table per breakdown with its figure. `figures` are those
    of the report by name, `name_of` gives a system's name in tables."""
    systems, blocks = list(metrics["systems"]), list[Block]()
    main, measure, against = metrics["main"], next(iter(metrics["systems"][DSI])), metrics["against_baseline"]
    if metrics["baseline"] != main:
        blocks += [
            f"On {measure}, {main} is better than {metrics['baseline']} for"
            f" {counted(against['won'], 'query', 'queries')}, worse for {count(against['lost'])}, level for"
            f" {count(against['level'])}."
        ]
    for name, rows in metrics["breakdowns"].items():
        cells = [
            [kind, count(row["queries"]), *(decimal(row[system]) for system in systems)] for kind, row in rows.items()
        ]
        title, file = f"{measure} by {PROPERTIES[name]}", f"queries-by-{name}"
        blocks += [f"{title}:", Table(file, f"{title}.", ["kind", "queries", *map(name_of, systems)], cells)]
        blocks += [figures[file]] if file in figures else []
    return blocks
