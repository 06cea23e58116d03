"""The report of a sweep: its systems by the value of one configuration key, with significance, cost and plots."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dsi.evaluation.significance import interval
from dsi.report.blocks import Block, markdown, save
from dsi.report.comparison import Result, Series, compared, queries_of_all, series_of, side_by_side
from dsi.report.quantities import UNKNOWN, Quantity
from dsi.report.tables import Table
from dsi.runtime.tsv import write_tsv

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COSTS = ("training_seconds", "training_flops", "parameters", "index_bytes", "flops_per_query", "teacher_seconds")
"""The costs that `sweep.tsv` has a column for."""


def write_sweep(folder: Path, axis: str, measure: str, results: Sequence[Result]) -> None:
    """Write `sweep.tsv` (one row per result), `sweep.md`, its tables as files, and three plots of the measure: by the
    axis, by FLOPs per query and by training time."""
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
        f"![{measure} by {axis}](sweep.svg)",
        f"![{measure} by FLOPs a query](flops.svg) ![{measure} by training time](training.svg)",
    ]
    for x in columns:
        with_x = {name: by_x[x] for name, by_x in series.items() if x in by_x}
        blocks += [f"## {axis} = {x}"]
        if queries := queries_of_all(with_x):
            cost_of = {name: same[0].cost for name, same in with_x.items()}
            blocks += side_by_side(compared(measure, with_x, queries), cost_of, f"-{x.replace('/', '-')}")
        else:
            blocks += ["The systems have no query in common."]
    (folder / "sweep.md").write_text(markdown(blocks), encoding="utf-8")
    save(folder, blocks)
    plots: dict[str, tuple[str, Callable[[Axes], None]]] = {
        "sweep": (axis, partial(_lines, columns=columns, series=series, intervals=intervals)),
        "flops": ("FLOPs a query", partial(_points, series=series, key="flops_per_query")),
        "training": ("seconds of training", partial(_points, series=series, key="training_seconds")),
    }
    for name, (title, draw) in plots.items():
        _save(folder / f"{name}.svg", title, measure, draw)


def _cell(results: Sequence[Result]) -> Quantity:
    """The mean over the seeds, and its range where they differ; a dash without a result."""
    means = sorted({result.mean for result in results})
    if not means:
        return UNKNOWN
    mean = float(np.mean([result.mean for result in results]))
    spread = f" ({means[0]:.3f} to {means[-1]:.3f})" if len(means) > 1 else ""
    return Quantity(f"{mean:.3f}{spread}", {"": mean, "smallest": means[0], "largest": means[-1]})


def _save(path: Path, x: str, y: str, draw: Callable[[Axes], None]) -> None:
    """Save a plot with the titles `x` and `y` of its axes."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.add_subplot()
    draw(axes)
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.set_ylim(bottom=0)
    axes.grid(alpha=0.3)
    if axes.get_legend_handles_labels()[0]:
        axes.legend()
    figure.savefig(path)


def _lines(axes: Axes, columns: Sequence[str], series: Series, intervals: Mapping[int, tuple[float, float]]) -> None:
    """Draw one line per system with its intervals, given by the `id` of a result; x is logarithmic if it is above 0."""
    try:
        places = [float(column) for column in columns]
    except ValueError:
        places = []
    is_number = bool(places) and min(places) > 0
    if is_number:
        axes.set_xscale("log")
        axes.set_xticks(places, columns)
        axes.minorticks_off()
    for name, by_x in series.items():
        shown = [column for column in columns if column in by_x]
        x: list[Any] = [places[columns.index(column)] for column in shown] if is_number else shown
        mean = np.array([np.mean([result.mean for result in by_x[column]]) for column in shown])
        bounds = [np.mean([intervals[id(result)] for result in by_x[column]], axis=0) for column in shown]
        low, high = np.array(bounds).T
        axes.errorbar(x, mean, [mean - low, high - mean], marker="o", capsize=3, label=name)


def _points(axes: Axes, series: Series, key: str) -> None:
    """Draw one point per result of which this cost is known; the cost is x."""
    axes.set_xscale("log")
    for name, by_x in series.items():
        shown = [result for results in by_x.values() for result in results if result.cost.get(key)]
        if shown:
            axes.plot([result.cost[key] for result in shown], [result.mean for result in shown], "o", label=name)
