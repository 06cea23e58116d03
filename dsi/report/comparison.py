"""Several finished runs side by side: their systems by the value of one axis, with significance and cost."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from dsi.artifacts import read_manifest
from dsi.evaluation.evaluate import DSI
from dsi.evaluation.significance import compare_all, interval
from dsi.report.cost import Cost, cost_table, costs
from dsi.report.significance import significance
from dsi.report.tables import markdown_table
from dsi.runtime.tsv import read_tsv, write_tsv

COSTS = ("training_seconds", "training_flops", "parameters", "index_bytes", "flops_per_query")


@dataclass(frozen=True)
class Result:
    """A system of one run."""

    x: str
    """Value of the axis that runs are set side by side by."""
    system: str
    label: str
    """What distinguishes the run from others of the same x, but for its seeds."""
    seeds: str
    values: Mapping[str, float]
    """The measure for each query."""
    cost: Cost
    baseline: str
    """The system that its run compares others with."""

    @property
    def mean(self) -> float:
        return float(np.mean(list(self.values.values())))


Series = dict[str, dict[str, list[Result]]]
"""Results of every system, by its name in tables and then by x; several are of several seeds."""


def read_results(run_folder: Path, measure: str, x: str, label: str, seeds: str) -> list[Result]:
    """Every system of the finished run in this folder."""
    baseline = json.loads((run_folder / "evaluation/metrics.json").read_text(encoding="utf-8"))["baseline"]
    values: dict[str, dict[str, float]] = defaultdict(dict)
    for row in read_tsv(run_folder / "evaluation/per_query.tsv"):
        values[row["system"]][row["query_id"]] = float(row[measure])
    manifests = {
        stage: read_manifest(run_folder / stage) or {"counts": {}} for stage in ("model", "search", "baselines")
    }
    found = costs(manifests, list(values))
    return [Result(x, system, label, seeds, of, found[system], baseline) for system, of in values.items()]


def write_comparison(folder: Path, axis: str, measure: str, results: Sequence[Result]) -> None:
    """Write `sweep.tsv` (a row a result), `sweep.md` (tables) and three plots, of the measure by the axis, by FLOPs a
    query and by training time, into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    found, columns = _series(results), list(dict.fromkeys(result.x for result in results))
    results = [result for by_x in found.values() for seeds in by_x.values() for result in seeds]
    intervals = {id(result): interval(np.array(list(result.values.values()))) for result in results}
    rows = (
        [x, name, result.mean, *intervals[id(result)], *(result.cost.get(key) or "" for key in COSTS)]
        for name, by_x in found.items()
        for x, seeds in by_x.items()
        for result in seeds
    )
    write_tsv(folder / "sweep.tsv", [axis, "system", measure, "low", "high", *COSTS], rows)
    table = [[series, *(_cell(by_x.get(x, [])) for x in columns)] for series, by_x in found.items()]
    lines = [
        f"# {folder.name}",
        "",
        markdown_table([axis, *columns], table),
        f"Means of {measure}; in brackets the smallest and largest where there are several seeds.",
        "",
        f"![{measure} by {axis}](sweep.svg)",
        "",
        f"![{measure} by FLOPs a query](flops.svg) ![{measure} by training time](training.svg)",
    ]
    for x in columns:
        lines += ["", f"## {axis} = {x}", "", *_side_by_side(measure, {s: of[x] for s, of in found.items() if x in of})]
    (folder / "sweep.md").write_text("\n".join(lines) + "\n", encoding="utf-8")
    _save(folder / "sweep.svg", axis, measure, lambda axes: _lines(axes, columns, found, intervals))
    for name, key, title in (
        ("flops", "flops_per_query", "FLOPs a query"),
        ("training", "training_seconds", "seconds of training"),
    ):
        _save(folder / f"{name}.svg", title, measure, lambda axes, key=key: _points(axes, found, key))  # type: ignore[misc]


def _series(results: Sequence[Result]) -> Series:
    """The results by name, in the order of the runs. A baseline is one system for all runs of an x and seeds, as long
    as it answers alike in all of them; where it does not (of an axis that it depends on), its name has the label too,
    as dsi's has."""
    answers: dict[tuple[str, str, str], set[tuple[float, ...]]] = defaultdict(set)
    for result in results:
        answers[result.system, result.x, result.seeds].add(tuple(result.values.values()))
    varying = {DSI, *(system for (system, _, _), different in answers.items() if len(different) > 1)}
    found: Series = defaultdict(lambda: defaultdict(list))
    for result in results:
        same = found[f"{result.system} {result.label}".strip() if result.system in varying else result.system][result.x]
        is_shared = result.system != DSI and result.values in [other.values for other in same]
        if not is_shared:  # a baseline of several runs counts once
            same.append(result)
    return found


def _side_by_side(measure: str, series: dict[str, list[Result]]) -> list[str]:
    """Significance and cost of the systems of one x, which answer the same queries; seeds are averaged by query."""
    answered = [result.values.keys() for seeds in series.values() for result in seeds]
    queries = [query for query in answered[0] if all(query in other for other in answered)]
    if not queries:
        return ["The systems have no query in common."]
    values = {
        name: np.mean([[result.values[query] for query in queries] for result in seeds], axis=0)
        for name, seeds in series.items()
    }
    chosen = next(iter(series.values()))[0].baseline
    baseline = next((name for name, seeds in series.items() if seeds[0].system == chosen), next(iter(series)))
    metrics = {
        "systems": {name: {measure: float(of.mean())} for name, of in values.items()},
        "intervals": {name: {measure: interval(of)} for name, of in values.items()},
        "comparisons": {measure: compare_all(values, baseline)},
        "baseline": baseline,
    }
    return [*significance(metrics), cost_table({name: seeds[0].cost for name, seeds in series.items()})]


def _cell(results: Sequence[Result]) -> str:
    means = sorted({result.mean for result in results})
    if not means:
        return "-"
    spread = f" ({means[0]:.3f} to {means[-1]:.3f})" if len(means) > 1 else ""
    return f"{np.mean([result.mean for result in results]):.3f}{spread}"


def _save(path: Path, x: str, y: str, draw: Callable[[Axes], None]) -> None:
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


def _lines(axes: Axes, columns: Sequence[str], found: Series, intervals: Mapping[int, tuple[float, float]]) -> None:
    """A line a series with 95 % intervals over queries; logarithmic where the values of x are numbers above 0."""
    try:
        places = [float(column) for column in columns]
    except ValueError:
        places = []
    is_number = bool(places) and min(places) > 0
    if is_number:
        axes.set_xscale("log")
        axes.set_xticks(places, columns)
        axes.minorticks_off()
    for series, by_x in found.items():
        shown = [column for column in columns if column in by_x]
        x: list[Any] = [places[columns.index(column)] for column in shown] if is_number else shown
        mean = np.array([np.mean([result.mean for result in by_x[column]]) for column in shown])
        bounds = [np.mean([intervals[id(result)] for result in by_x[column]], axis=0) for column in shown]
        low, high = np.array(bounds).T
        axes.errorbar(x, mean, [mean - low, high - mean], marker="o", capsize=3, label=series)


def _points(axes: Axes, found: Series, key: str) -> None:
    """A point a result at what it costs, for the systems that have this cost."""
    axes.set_xscale("log")
    for series, by_x in found.items():
        shown = [result for results in by_x.values() for result in results if result.cost.get(key)]
        if shown:
            axes.plot([result.cost[key] for result in shown], [result.mean for result in shown], "o", label=series)
