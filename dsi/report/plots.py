"""The figures of a run. Each function returns a list with its figure, or an empty one where that would say nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import isfinite
from typing import TYPE_CHECKING, Any

import numpy as np

from dsi.report.breakdowns import PROPERTIES
from dsi.report.cost import Cost
from dsi.report.figures import Figure
from dsi.report.per_query import PerQuery
from dsi.report.quantities import count, counted, decimal, large, milliseconds
from dsi.report.query_plots import differences, recall
from dsi.report.styles import COLOURS, INK, Systems, systems_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

ROW = 0.32
"""The height in inches of a row of a figure that has a row for each system or kind."""
SPREAD = 0.6
"""The share of a row's height over which the points of several systems are spread."""


def plots(
    metrics: Mapping[str, Any],
    queries: PerQuery,
    cost_of: Mapping[str, Cost],
    names: Mapping[str, str],
    curve: Sequence[Mapping[str, str]],
) -> dict[str, Figure]:
    """All figures of a run by name, from its `metrics.json`, its queries, the cost of each system, the name of each in
    tables and the dev curve."""
    systems = systems_of(metrics, names)
    drawn = [
        *recall(queries, systems),
        *forest(metrics, systems),
        *differences(queries, systems),
        *(figure for breakdown in metrics["breakdowns"] for figure in by_kind(metrics, systems, breakdown)),
        *by_latency(metrics, systems, cost_of),
        *by_training(metrics, systems, cost_of),
        *dev_curve(curve),
    ]
    return {figure.name: figure for figure in drawn}


def forest(metrics: Mapping[str, Any], systems: Systems) -> list[Figure]:
    """The difference of every system from the baseline on the first measure, with its interval."""
    measure = systems.measure
    compared = {name: each for name, each in metrics["comparisons"].get(measure, {}).items() if name in systems.names}
    if not compared:
        return []
    baseline = systems.name(systems.baseline)

    def draw(axes: Axes) -> None:
        axes.axvline(0, color=systems.styles[systems.baseline]["color"], linestyle=":")
        for row, (system, each) in enumerate(compared.items()):
            low, high = each["interval"]
            axes.hlines(row, low, high, colors=systems.styles[system]["color"])
            axes.plot(each["difference"], row, **systems.styles[system])
        _rows(axes, list(map(systems.name, compared)))
        axes.set_xlabel(f"{measure}, difference from {baseline}")

    values = "; ".join(
        f"{systems.name(system)} {each['difference']:+.3f} ({each['interval'][0]:+.3f} to {each['interval'][1]:+.3f})"
        for system, each in compared.items()
    )
    return [
        Figure(
            "forest",
            f"Differences from {baseline} on {measure}, with 95% intervals",
            f"Difference of each system from {baseline} on {measure}, in brackets its 95% interval: {values}.",
            ["system", "difference", "low", "high"],
            [[systems.name(system), each["difference"], *each["interval"]] for system, each in compared.items()],
            draw,
            height=1 + ROW * len(compared),
        )
    ]


def by_latency(metrics: Mapping[str, Any], systems: Systems, cost_of: Mapping[str, Cost]) -> list[Figure]:
    """The first measure against the median latency of a query."""
    costs = {system: cost_of[system].get("latency_ms", {}).get("p50") for system in systems.names}
    return _by_cost("latency", "median latency of a query, ms", milliseconds, costs, metrics, systems)


def by_training(metrics: Mapping[str, Any], systems: Systems, cost_of: Mapping[str, Cost]) -> list[Figure]:
    """The first measure against the FLOPs of training; without systems that start from a checkpoint."""
    costs = {
        system: None if "checkpoint" in cost_of[system] else cost_of[system].get("training_flops")
        for system in systems.names
    }
    return _by_cost("training", "FLOPs of training", large, costs, metrics, systems)


def by_kind(metrics: Mapping[str, Any], systems: Systems, breakdown: str) -> list[Figure]:
    """The first measure of every system for each kind of queries of a breakdown; none where all are of one kind."""
    measure, rows = systems.measure, metrics["breakdowns"][breakdown]
    if len(rows) < 2:
        return []
    shown = list(systems.names)
    offsets = np.linspace(-SPREAD / 2, SPREAD / 2, len(shown)) if len(shown) > 1 else np.zeros(1)

    def draw(axes: Axes) -> None:
        axes.axvline(0, color=INK, linewidth=0.8)
        for system, offset in zip(shown, offsets, strict=True):
            points = [row[system] for row in rows.values()]
            style = systems.styles[system] | {"linestyle": "none"}
            axes.plot(points, np.arange(len(rows)) + offset, label=systems.name(system), **style)
        _rows(axes, [f"{kind}\n({count(row['queries'])})" for kind, row in rows.items()])
        axes.set_xlabel(systems.measure)

    main, what = systems.name(systems.main), PROPERTIES[breakdown]
    values = "; ".join(
        f"{kind} ({counted(row['queries'], 'query', 'queries')}) {decimal(row[systems.main])}"
        for kind, row in rows.items()
    )
    return [
        Figure(
            f"queries-by-{breakdown}",
            f"{measure} by {what}; in brackets the number of queries",
            f"{measure} of {main} by {what}: {values}.",
            ["kind", "queries", *map(systems.name, shown)],
            [[kind, row["queries"], *(row[system] for system in shown)] for kind, row in rows.items()],
            draw,
            height=0.5 + max(ROW, 0.09 * len(shown) + 0.2) * len(rows),
        )
    ]


def dev_curve(curve: Sequence[Mapping[str, str]]) -> list[Figure]:
    """The measure on dev queries, or the loss without one, by minutes of training; none of fewer than two points."""
    name = next((column for column in curve[0] if "@" in column), "loss") if curve else ""
    points = [(float(point["seconds"]) / 60, float(point[name])) for point in curve if isfinite(float(point[name]))]
    if len(points) < 2:
        return []
    what = f"{name} on dev queries" if "@" in name else name

    def draw(axes: Axes) -> None:
        axes.plot(*zip(*points, strict=True), color=COLOURS[0], marker="o", markersize=4)
        axes.set_xlabel("minutes of training")
        axes.set_ylabel(what)

    best = (max if "@" in name else min)(points, key=lambda point: point[1])
    return [
        Figure(
            "dev-curve",
            f"{what} in training",
            f"{what} by minutes of training: {decimal(points[0][1])} at first, {decimal(points[-1][1])} at last,"
            f" at best {decimal(best[1])} after {decimal(best[0], 1)} minutes.",
            ["minutes", name],
            points,
            draw,
        )
    ]


def _by_cost(
    name: str,
    what: str,
    shown: Callable[[float], str],
    costs: Mapping[str, float | None],
    metrics: Mapping[str, Any],
    systems: Systems,
) -> list[Figure]:
    """The first measure, with its interval, against a cost; none where fewer than two different costs are known.
    `shown` makes a cost a text."""
    known = {system: cost for system, cost in costs.items() if cost}
    if len(set(known.values())) < 2:
        return []
    measure = systems.measure
    means = {system: metrics["systems"][system][measure] for system in known}
    intervals = {system: metrics["intervals"][system][measure] for system in known}

    def draw(axes: Axes) -> None:
        from matplotlib.ticker import LogLocator

        axes.set_xscale("log")
        for place, system in enumerate(sorted(known, key=means.__getitem__)):
            low, high = intervals[system]
            axes.vlines(known[system], low, high, colors=systems.styles[system]["color"])
            axes.plot(known[system], means[system], **systems.styles[system])
            axes.annotate(  # beside the plot, where no two can overlap
                systems.name(system),
                (known[system], means[system]),
                (1.04, (place + 0.5) / len(known)),
                textcoords="axes fraction",
                va="center",
                arrowprops={"arrowstyle": "-", "color": INK, "alpha": 0.3},
            )
        least, most = min(known.values()), max(known.values())
        beside = max(1.6, (most / least) ** 0.1)  # so that there is a tick, however little the costs differ
        axes.set_xlim(least / beside, most * beside)
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if most < 100 * least else (1,)))
        axes.xaxis.set_major_formatter(lambda value, _: shown(value))
        axes.minorticks_off()
        axes.set_xlabel(what)
        axes.set_ylabel(measure)

    values = "; ".join(
        f"{systems.name(system)} {decimal(means[system])} at {shown(cost)}" for system, cost in known.items()
    )
    unknown = [systems.name(system) for system in costs if system not in known]
    left_out = f"; not known of {', '.join(unknown)}" if unknown else ""
    return [
        Figure(
            name,
            f"{measure}, with its 95% interval, by {what}{left_out}",
            f"{measure} by {what}: {values}{left_out}.",
            ["system", what, measure, "low", "high"],
            [[systems.name(system), cost, means[system], *intervals[system]] for system, cost in known.items()],
            draw,
        )
    ]


def _rows(axes: Axes, names: Sequence[str]) -> None:
    """Give every row, the first on top, its name."""
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.5, -0.5)
