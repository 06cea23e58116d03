"""Compares the systems of several finished runs over the queries that all answer: significance and cost."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dsi.artifacts import read_manifest
from dsi.config import STATED_OF_TEACHER
from dsi.evaluation.significance import compare_all, interval
from dsi.report.blocks import Block
from dsi.report.cost import Cost, cost_table, costs
from dsi.report.distilled import DISTILLED, shown, teachers
from dsi.report.per_query import read_values
from dsi.report.significance import significance

STAGES = ("corpus", "teacher", "model", "search", "encoder", "baselines")
"""The stages whose manifests say what a system costs."""


@dataclass(frozen=True)
class Result:
    """The result of one system in one run."""

    x: str
    """The run's value of the axis of a sweep."""
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
    is_baseline: bool
    """Whether the system is a baseline, rather than the index or a fusion with it."""

    @property
    def mean(self) -> float:
        """The mean of the measure over the queries."""
        return float(np.mean(list(self.values.values())))


Series = dict[str, dict[str, list[Result]]]
"""The results by the name of the system in tables, then by x; there are several where there are several seeds."""


def read_results(run_folder: Path, measure: str, x: str, label: str, seeds: str) -> list[Result]:
    """The result of every system of a finished run, whose x, label and seeds are given."""
    metrics = json.loads((run_folder / "evaluation/metrics.json").read_text(encoding="utf-8"))
    values = read_values(run_folder / "evaluation", measure)
    manifests = {stage: read_manifest(run_folder / stage) or {"counts": {}} for stage in STAGES}
    reported = (read_manifest(run_folder / "report") or {"inputs": {}})["inputs"]
    cost_of = costs(manifests, list(values), {key: reported.get(f"teacher.{key}") for key in STATED_OF_TEACHER})
    return [
        Result(x, system, label, seeds, each, cost_of[system], metrics["baseline"], system in metrics["baselines"])
        for system, each in values.items()
    ]


def series_of(results: Sequence[Result]) -> Series:
    """The results by name, in the order of the runs.

    A baseline that answers alike in all runs of the same x and seeds is one system. If its answers differ, its name
    gets the label, as that of the index always does. What learnt from a teacher is marked.
    """
    answers: dict[tuple[str, str, str], set[tuple[float, ...]]] = defaultdict(set)
    for result in results:
        answers[result.system, result.x, result.seeds].add(tuple(result.values.values()))
    varying = {*(result.system for result in results if not result.is_baseline)}
    varying |= {system for (system, _, _), different in answers.items() if len(different) > 1}
    series: Series = defaultdict(lambda: defaultdict(list))
    for result in results:
        name = f"{result.system} {result.label}".strip() if result.system in varying else result.system
        same_x = series[shown(name, result.cost)][result.x]
        if not result.is_baseline or result.values not in [other.values for other in same_x]:  # a baseline counts once
            same_x.append(result)
    return series


def names_of(system: str, by_name: Mapping[str, Sequence[Result]]) -> list[str]:
    """The names in tables that a system has there; `system` may be one of them itself."""
    if system in by_name:
        return [system]
    return [name for name, results in by_name.items() if system in (results[0].system, name.removesuffix(DISTILLED))]


def queries_of_all(by_name: Mapping[str, Sequence[Result]]) -> list[str]:
    """The query_id of every query that all systems answer."""
    answered = [result.values.keys() for results in by_name.values() for result in results]
    return [query for query in answered[0] if all(query in other for other in answered)]


def compared(
    measure: str, by_name: Mapping[str, Sequence[Result]], queries: Sequence[str], baseline: str | None = None
) -> dict[str, Any]:
    """The means of these systems over these queries, their intervals and their differences from a baseline, as in
    `metrics.json`; seeds are averaged by query. `by_name` has the results of each system by its name in tables, which
    `baseline` is too; without it, it is that of the first run."""
    values = {
        name: np.mean([[result.values[query] for query in queries] for result in results], axis=0)
        for name, results in by_name.items()
    }
    own = names_of(next(iter(by_name.values()))[0].baseline, by_name)
    baseline = baseline or next(iter(own), next(iter(by_name)))
    return {
        "systems": {name: {measure: float(means.mean())} for name, means in values.items()},
        "intervals": {name: {measure: interval(means)} for name, means in values.items()},
        "comparisons": {measure: compare_all(values, baseline)},
        "main": next((name for name, results in by_name.items() if not results[0].is_baseline), baseline),
        "baseline": baseline,
        "baselines": [name for name, results in by_name.items() if results[0].is_baseline],
    }


def side_by_side(metrics: dict[str, Any], cost_of: Mapping[str, Cost], suffix: str = "") -> list[Block]:
    """Significance and cost of the systems in `metrics`, which `compared` returns. The names of the tables end with
    `suffix`."""
    return [
        *significance(metrics, table=f"significance{suffix}"),
        *teachers(cost_of),
        *cost_table(cost_of, f"cost{suffix}"),
    ]
