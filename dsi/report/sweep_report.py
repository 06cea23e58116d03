"""The report of a sweep: its systems by the value of one configuration key, with significance, cost and figures."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from dsi.evaluation.significance import interval
from dsi.report.blocks import Block, write
from dsi.report.comparison import Result, compared, queries_of_all, series_of, side_by_side
from dsi.report.quantities import UNKNOWN, Quantity, duration, large
from dsi.report.sweep_plots import by_axis, by_cost
from dsi.report.tables import Table
from dsi.runtime.tsv import write_tsv

COSTS = ("training_seconds", "training_flops", "parameters", "index_bytes", "flops_per_query", "teacher_seconds")
"""The costs that `sweep.tsv` has a column for."""


def write_sweep(folder: Path, axis: str, measure: str, results: Sequence[Result]) -> str:
    """Write `sweep.tsv` (one row per result), `sweep.md`, its tables and figures, and `sweep.html`; return the text of
    `sweep.md`. The figures are the measure by the axis, by FLOPs per query and by training time."""
    folder.mkdir(parents=True, exist_ok=True)
    series, columns = series_of(results), list(dict.fromkeys(result.x for result in results))
    named = [(name, result) for name, by_x in series.items() for same_x in by_x.values() for result in same_x]
    intervals = {id(result): interval(np.array(list(result.values.values()))) for _, result in named}
    rows = (
        [result.x, name, result.mean, *intervals[id(result)], *(result.cost.get(key) or "" for key in COSTS)]
        for name, result in named
    )
    write_tsv(folder / "sweep.tsv", [axis, "system", measure, "low", "high", *COSTS], rows)
    table = [[name, *(_cell(by_x.get(x, [])) for x in columns)] for name, by_x in series.items()]
    blocks: list[Block] = [
        f"# {folder.name}",
        Table("means", f"Means of {measure} by {axis}.", [axis, *columns], table),
        f"Means of {measure}; in brackets the smallest and largest where there are several seeds.",
        by_axis(axis, measure, columns, series, intervals),
        *by_cost("flops", "FLOPs a query", "flops_per_query", large, measure, series),
        *by_cost("training", "time of training", "training_seconds", duration, measure, series),
    ]
    for number, x in enumerate(columns, start=1):
        with_x = {name: by_x[x] for name, by_x in series.items() if x in by_x}
        blocks += [f"## {axis} = {x}"]
        if queries := queries_of_all(with_x):
            cost_of = {name: same[0].cost for name, same in with_x.items()}
            blocks += side_by_side(compared(measure, with_x, queries), cost_of, f"-{number}")
        else:
            blocks += ["The systems have no query in common."]
    return write(folder, "sweep", blocks)


def _cell(results: Sequence[Result]) -> Quantity:
    """The mean over the seeds, and its range where they differ; a dash without a result."""
    means = sorted({result.mean for result in results})
    if not means:
        return UNKNOWN
    mean = float(np.mean([result.mean for result in results]))
    spread = f" ({means[0]:.3f} to {means[-1]:.3f})" if len(means) > 1 else ""
    return Quantity(f"{mean:.3f}{spread}", {"": mean, "smallest": means[0], "largest": means[-1]})
