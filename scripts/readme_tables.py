"""The tables of a Markdown text that are written from the stored results.

The scores of every run stand between `<!-- begin results -->` and `<!-- end results -->`, those of some between
`<!-- begin results RUN ... -->` and `<!-- end results RUN ... -->`.
"""

import re
from collections.abc import Iterator
from contextlib import suppress

from markdown_text import line_of
from readme_numbers import GENERATED
from stored_results import MEASURE, SYSTEMS, Recorded, Results

from dsi.report.tables import Table

NOTE = f"{MEASURE}, below it its 95 % interval; **bold** the best of a run, *italic* what learnt from a teacher."


def faults(text: str, results: Results) -> Iterator[tuple[int, str]]:
    """Yield the line and the fault of every table that is not as the stored results have it."""
    for match in GENERATED.finditer(text):
        try:
            if match["text"] != table(match["name"], results):
                yield line_of(text, match.start()), f"the table {match['name']} is out of date: make readme writes it"
        except KeyError as error:
            yield line_of(text, match.start()), error.args[0]
    for match in re.finditer(
        r"<!-- (?:begin|end) .*?-->", GENERATED.sub(lambda whole: "\n" * whole[0].count("\n"), text)
    ):
        yield line_of(text, match.start()), f"{match[0]} has no counterpart, <!-- begin NAME --> and <!-- end NAME -->"


def rewritten(text: str, results: Results) -> str:
    """The text with every table as the stored results have it; one of another name stays."""
    for match in reversed([*GENERATED.finditer(text)]):
        with suppress(KeyError):
            text = text[: match.start("text")] + table(match["name"], results) + text[match.end("text") :]
    return text


def table(name: str, results: Results) -> str:
    """The table of this name, with the lines that stand around it.

    Raises:
        KeyError: there is no such table or run; with what is wrong.
    """
    kind, *runs = name.split()
    if kind != "results":
        raise KeyError(f"there is no table {kind} to write, only results")
    if unknown := [run for run in runs if run not in results.runs]:
        raise KeyError(f"the stored results have no run {unknown[0]}")
    rows = [_row(run, results.runs[run]) for run in runs or results.runs]
    table = Table("results", NOTE, ["run", "documents", "queries", *SYSTEMS], rows)
    return f"\n{table.markdown()}\n{NOTE}\n\n"


def _row(run: str, recorded: Recorded) -> list[str]:
    values = {name: f"{score.score:.3f}" for name, score in recorded.scores(MEASURE).items() if name in SYSTEMS}
    cells = []
    for name in SYSTEMS:
        if name not in values:
            cells.append("-")
            continue
        mark = "**" * (values[name] == max(values.values())) + "*" * recorded.systems[name].distilled
        score = recorded.scores(MEASURE)[name]
        cells.append(f"{mark}{values[name]}{mark}<br><sub>{score.low:.3f} to {score.high:.3f}</sub>")
    return [f"`{run}`", f"{recorded.documents:,}", f"{recorded.queries:,}", *cells]
