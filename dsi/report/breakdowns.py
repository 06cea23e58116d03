"""The part of the report on kinds of queries: the first measure of every system for each kind."""

from collections.abc import Callable, Mapping
from typing import Any

from dsi.report.figures import Figure
from dsi.report.quantities import count, decimal
from dsi.report.tables import markdown_table
from dsi.search.run_files import DSI

TITLES = {
    "training": "By whether a training query has one of its documents",
    "words": "By its number of words",
    "similarity": "By its similarity to the closest synthetic query of its documents",
    "overlap": "By the share of its words that a relevant document has",
    "position": "By the quarter of its relevant document that has most of its words",
}


def breakdowns(metrics: dict[str, Any], name_of: Callable[[str], str], figures: Mapping[str, Figure]) -> list[str]:
    """The queries won and lost against the baseline, and one table per breakdown with its figure, as lines of Markdown.
    `figures` are those of the report by name, `name_of` gives a system's name in tables."""
    systems, lines = list(metrics["systems"]), []
    main, measure, against = metrics["main"], next(iter(metrics["systems"][DSI])), metrics["against_baseline"]
    if metrics["baseline"] != main:
        lines += [
            f"On {measure}, {main} is better than {metrics['baseline']} for {count(against['won'])} queries, worse for"
            f" {count(against['lost'])}, level for {count(against['level'])}.",
            "",
        ]
    for name, rows in metrics["breakdowns"].items():
        cells = [
            [kind, count(row["queries"]), *(decimal(row[system]) for system in systems)] for kind, row in rows.items()
        ]
        lines += [f"{TITLES[name]}, {measure}:", "", markdown_table(["", "queries", *map(name_of, systems)], cells)]
        lines += [figures[figure].markdown(), ""] if (figure := f"queries-by-{name}") in figures else []
    return lines
