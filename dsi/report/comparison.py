"""Compares finished runs: their systems by the value of one configuration key, with significance and cost."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dsi.artifacts import read_manifest
from dsi.config import STATED_OF_TEACHER
from dsi.evaluation.significance import compare_all, interval
from dsi.report.blocks import Block, markdown, save_tables
from dsi.report.cost import Cost, cost_table, costs
from dsi.report.distilled import shown, teachers
from dsi.report.quantities import UNKNOWN, Quantity
from dsi.report.significance import significance
from dsi.report.tables import Table
from dsi.runtime.tsv import read_tsv, write_tsv
from dsi.search.run_files import DSI

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COSTS = ("training_seconds", "training_flops", "parameters", "index_bytes", "flops_per_query", "teacher_seconds")
"""The costs that `sweep.tsv` has a column for."""
STAGES = ("corpus", "teacher", "model", "search", "encoder", "baselines")
"""The stages whose manifests say what a system costs."""


@dataclass(frozen=True)
class Result:
    """The result of one system in one run."""

    x: str
    """The run's value of the axis."""
    system: str
    label: str
    """What distinguishes the run from others of the same x, apart from its seeds."""
    seeds: str
    """The seeds of the run, as text."""
    values: Mapping[str, float]
    """The measure of each query, by query_id."""
    cost: Cost
    baseline: str
    """The system that the run compares others with."""

    @property
    def mean(self) -> float:
        """The mean of the measure over the queries."""
        return float(np.mean(list(self.values.values())))


Series = dict[str, dict[str, list[Result]]]
"""The results by the name of the system in tables, then by x; there are several where there are several seeds."""


def read_results(run_folder: Path, measure: str, x: str, label: str, seeds: str) -> list[Result]:
    """The result of every system of a finished run, whose x, label and seeds are given."""
    baseline = json.loads((run_folder / "evaluation/metrics.json").read_text(encoding="utf-8"))["baseline"]
    values: dict[str, dict[str, float]] = defaultdict(dict)
    for row in read_tsv(run_folder / "evaluation/per_query.tsv"):
        values[row["system"]][row["query_id"]] = float(row[measure])
    manifests = {stage: read_manifest(run_folder / stage) or {"counts": {}} for stage in STAGES}
    reported = (read_manifest(run_folder / "report") or {"inputs": {}})["inputs"]
    cost_of = costs(manifests, list(values), {key: reported.get(f"teacher.{key}") for key in STATED_OF_TEACHER})
    return [Result(x, system, label, seeds, each, cost_of[system], baseline) for system, each in values.items()]


def write_comparison(folder: Path, axis: str, measure: str, results: Sequence[Result]) -> None:
    """Write `sweep.tsv` (one row per result), `sweep.md`, its tables as files, and three plots of the measure: by the
    axis, by FLOPs per query and by training time."""
    folder.mkdir(parents=True, exist_ok=True)
    series, columns = _series(results), list(dict.fromkeys(result.x for result in results))
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
        blocks += [f"## {axis} = {x}", *_side_by_side(measure, with_x, f"-{x.replace('/', '-')}")]
    (folder / "sweep.md").write_text(markdown(blocks), encoding="utf-8")
    save_tables(folder, blocks)
    plots: dict[str, tuple[str, Callable[[Axes], None]]] = {
        "sweep": (axis, partial(_lines, columns=columns, series=series, intervals=intervals)),
        "flops": ("FLOPs a query", partial(_points, series=series, key="flops_per_query")),
        "training": ("seconds of training", partial(_points, series=series, key="training_seconds")),
    }
    for name, (title, draw) in plots.items():
        _save(folder / f"{name}.svg", title, measure, draw)


def _series(results: Sequence[Result]) -> Series:
    """The results by name, in the order of the runs.

    A baseline that answers alike in all runs of the same x and seeds is one system. If its answers differ, its name
    gets the label, as that of dsi always does. What learnt from a teacher is marked.
    """
    answers: dict[tuple[str, str, str], set[tuple[float, ...]]] = defaultdict(set)
    for result in results:
        answers[result.system, result.x, result.seeds].add(tuple(result.values.values()))
    varying = {DSI, *(system for (system, _, _), different in answers.items() if len(different) > 1)}
    series: Series = defaultdict(lambda: defaultdict(list))
    for result in results:
        name = f"{result.system} {result.label}".strip() if result.system in varying else result.system
        same_x = series[shown(name, result.cost)][result.x]
        if result.system == DSI or result.values not in [other.values for other in same_x]:  # a baseline counts once
            same_x.append(result)
    return series


def _side_by_side(measure: str, with_x: dict[str, list[Result]], suffix: str) -> list[Block]:
    """Significance and cost of the systems of one x, over the queries that all answer; seeds are averaged by query. The
    names of the tables end with `suffix`."""
    answered = [result.values.keys() for results in with_x.values() for result in results]
    queries = [query for query in answered[0] if all(query in other for other in answered)]
    if not queries:
        return ["The systems have no query in common."]
    values = {
        name: np.mean([[result.values[query] for query in queries] for result in results], axis=0)
        for name, results in with_x.items()
    }
    chosen = next(iter(with_x.values()))[0].baseline
    baseline = next((name for name, results in with_x.items() if results[0].system == chosen), next(iter(with_x)))
    metrics = {
        "systems": {name: {measure: float(means.mean())} for name, means in values.items()},
        "intervals": {name: {measure: interval(means)} for name, means in values.items()},
        "comparisons": {measure: compare_all(values, baseline)},
        "baseline": baseline,
    }
    cost_of = {name: results[0].cost for name, results in with_x.items()}
    return [
        *significance(metrics, table=f"significance{suffix}"),
        *teachers(cost_of),
        *cost_table(cost_of, f"cost{suffix}"),
    ]


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
