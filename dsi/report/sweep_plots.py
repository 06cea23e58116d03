"""The figures of a sweep: the measure by the axis and by what it costs, each system a line or a kind of points."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from dsi.report.comparison import Series
from dsi.report.figures import Figure
from dsi.report.quantities import decimal
from dsi.report.styles import Style, styles

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Intervals = Mapping[int, tuple[float, float]]
"""The interval of the mean of each result, by the `id` of the result."""


def by_axis(axis: str, measure: str, columns: Sequence[str], series: Series, intervals: Intervals) -> Figure:
    """The means of every system by the values of the axis, with their intervals; where there are several seeds, the
    means of both. The axis is logarithmic if all values are numbers above 0."""
    rows = [
        (name, column, *np.mean([(result.mean, *intervals[id(result)]) for result in by_x[column]], axis=0).tolist())
        for name, by_x in series.items()
        for column in columns
        if column in by_x
    ]
    try:
        places = {column: float(column) for column in columns}
    except ValueError:
        places = {}
    is_number = bool(places) and min(places.values()) > 0

    def draw(axes: Axes) -> None:
        if is_number:
            axes.set_xscale("log")
            axes.set_xticks([*places.values()], columns)
            axes.minorticks_off()
        for name, style in _styles(series).items():
            x, mean, low, high = zip(*(row[1:] for row in rows if row[0] == name), strict=True)
            at: list[Any] = [places[column] for column in x] if is_number else list(x)
            errors = np.abs(np.subtract([low, high], mean))
            axes.errorbar(at, mean, errors, capsize=3, label=name, **style)
        axes.set_xlabel(axis)
        axes.set_ylabel(measure)
        axes.set_ylim(bottom=0)

    values = "; ".join(f"{name} {decimal(mean)} at {column}" for name, column, mean, *_ in rows)
    title, header = f"{measure} by {axis}, with 95% intervals", ["system", axis, measure, "low", "high"]
    return Figure("sweep", title, f"{measure} by {axis}: {values}.", header, rows, draw)


def by_cost(
    name: str, what: str, key: str, shown: Callable[[float], str], measure: str, series: Series
) -> list[Figure]:
    """A point for every result of which the cost `key` is known, in a figure with this name; none without results.
    `what` the cost is in words, `shown` makes it a text."""
    rows = [
        (system, result.cost[key], result.mean)
        for system, by_x in series.items()
        for results in by_x.values()
        for result in results
        if result.cost.get(key)
    ]
    if not rows:
        return []

    def draw(axes: Axes) -> None:
        axes.set_xscale("log")
        for system, style in _styles(series).items():
            points = [row[1:] for row in rows if row[0] == system]
            if points:
                axes.plot(*zip(*points, strict=True), label=system, **style | {"linestyle": "none"})
        axes.xaxis.set_major_formatter(lambda value, _: shown(value))
        axes.minorticks_off()
        axes.set_xlabel(what)
        axes.set_ylabel(measure)
        axes.set_ylim(bottom=0)

    values = "; ".join(f"{system} {decimal(mean)} at {shown(cost)}" for system, cost, mean in rows)
    header = ["system", what, measure]
    return [Figure(name, f"{measure} by {what}", f"{measure} by {what}: {values}.", header, rows, draw)]


def _styles(series: Series) -> dict[str, Style]:
    """The style of each system, by its name in tables."""
    baselines = [name for name, by_x in series.items() if next(iter(by_x.values()))[0].is_baseline]
    return styles(list(series), baselines)
