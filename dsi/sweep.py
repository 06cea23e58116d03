"""Sweeps: one experiment for every combination of some values, e.g. corpus sizes x docid kinds x seeds.

A sweep is a YAML file beside the experiment that it varies:

    config: ../msmarco-6k-cpu.yaml      # the experiment, relative to this file
    grid:                               # every combination is run
      corpus.size: [1000, 10000]        # a key and its values
      docids:                           # or names of several keys' values
        atomic: {docids.kind: atomic}
        tree: {docids.kind: semantic, model.head: tree}
      training.seed: [0, 1]
    x: corpus.size                      # the axis of the table's columns and of the plot

Combinations share the stages that are the same for both (the store is content-addressed), and what is finished is not
done again: interrupted, the same command goes on.
"""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import astuple, dataclass
from itertools import product
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from pydantic import Field, ValidationError, model_validator

from dsi.artifacts import read_manifest
from dsi.config import Section, load_config, parse_yaml
from dsi.errors import DsiError, first_line
from dsi.evaluation.evaluate import DSI
from dsi.pipeline import STAGES, Run
from dsi.processes import is_first_process
from dsi.report.tables import markdown_table
from dsi.tsv import write_tsv

SEEDS = ("training.seed", "corpus.seed", "doc2query.seed", "docids.seed", "encoder.seed")
"""Axes over which results are averaged."""

Choice = tuple[str, dict[str, Any]]
"""Name of a value, and the keys it sets."""


class SweepConfig(Section):
    config: str
    grid: Annotated[dict[str, list[Any] | dict[str, dict[str, Any]]], Field(min_length=1)]
    x: str
    measure: str = "RR@10"

    @model_validator(mode="after")
    def _axis_exists(self) -> SweepConfig:
        if self.x not in self.grid:
            raise ValueError(f"x: {self.x} is not in the grid; it has: {', '.join(self.grid)}")
        return self

    def combinations(self) -> list[dict[str, Choice]]:
        """Axis to the value chosen, for every combination."""
        axes = [
            [(name, keys) for name, keys in values.items()]
            if isinstance(values, dict)
            else [(str(value), {axis: value}) for value in values]
            for axis, values in self.grid.items()
        ]
        return [dict(zip(self.grid, chosen, strict=True)) for chosen in product(*axes)]


@dataclass(frozen=True)
class Result:
    """A system of one combination."""

    x: str
    series: str
    """The system, for dsi with the values of the axes but x and seeds."""
    mean: float
    low: float
    high: float
    training_seconds: float | None


def load_sweep(path: Path) -> SweepConfig:
    """Read a sweep.

    Raises:
        DsiError: the file cannot be read, or a key of it is wrong.
    """
    try:
        return SweepConfig.model_validate(parse_yaml(path.read_text(encoding="utf-8"), str(path)))
    except (OSError, UnicodeDecodeError) as error:
        raise DsiError(f"cannot read the sweep {path}: {first_line(error)}") from None
    except ValidationError as error:
        wrong = error.errors()[0]
        key = ".".join(str(part) for part in wrong["loc"])
        raise DsiError(f"{path}: {key + ': ' if key else ''}{wrong['msg'].removeprefix('Value error, ')}") from None


def sweep(path: Path, overrides: list[str], runs: Path) -> Path:
    """Run every combination; write `sweep.tsv`, `sweep.md` and `sweep.svg` into `runs`/NAME and return that folder.

    Raises:
        DsiError: an experiment's fault, by the name of its run.
    """
    config = load_sweep(path)
    combinations = config.combinations()
    experiments = []
    for chosen in combinations:  # all are read before the first is run: a mistake shows now
        keys = {key: value for _, values in chosen.values() for key, value in values.items()}
        settings = [*overrides, *(f"{key}={json.dumps(value)}" for key, value in keys.items())]
        name = "/".join([path.stem, "_".join(label.replace("/", "-") for label, _ in chosen.values())])
        experiment = load_config(path.parent / config.config, settings)
        if config.measure not in experiment.evaluation.measures:
            raise DsiError(f"{path}: measure: {config.measure} is not among evaluation.measures of the experiment")
        experiments.append(Run(experiment, name, runs))
    results: list[Result] = []
    for number, (chosen, run) in enumerate(zip(combinations, experiments, strict=True), start=1):
        print(f"==== {number} of {len(experiments)}: {run.folder.name}", flush=True)
        run.plan()
        for stage in STAGES.values():
            run.build(stage)
        if is_first_process():
            results += read_results(run.folder, config, chosen)
    folder = runs / path.stem
    if is_first_process():
        write_results(folder, config, results)
    return folder


def read_results(folder: Path, config: SweepConfig, chosen: dict[str, Choice]) -> list[Result]:
    """Every system of a finished run."""
    metrics = json.loads((folder / "evaluation/metrics.json").read_text(encoding="utf-8"))
    labels = [label for axis, (label, _) in chosen.items() if axis != config.x and axis not in SEEDS]
    trained, compared = ((read_manifest(folder / stage) or {}).get("counts", {}) for stage in ("model", "baselines"))
    costs = {DSI: trained, **compared}
    results = []
    for system, means in metrics["systems"].items():
        low, high = metrics["intervals"][system][config.measure]
        series = " ".join([system, *labels]) if system == DSI else system
        training = costs.get(system, {}).get("training_seconds")
        results.append(Result(chosen[config.x][0], series, means[config.measure], low, high, training))
    return results


def write_results(folder: Path, config: SweepConfig, results: list[Result]) -> None:
    """The rows, a table of means by x, and the plot of it."""
    folder.mkdir(parents=True, exist_ok=True)
    header = [config.x, "system", config.measure, "low", "high", "training_seconds"]
    rows = (["" if value is None else value for value in astuple(result)] for result in results)
    write_tsv(folder / "sweep.tsv", header, rows)
    found: dict[str, dict[str, list[Result]]] = defaultdict(lambda: defaultdict(list))
    for result in results:
        found[result.series][result.x].append(result)
    columns = list(dict.fromkeys(result.x for result in results))
    table = [[series, *(_cell(by_x.get(x, [])) for x in columns)] for series, by_x in found.items()]
    caption = f"Means of {config.measure}; in brackets the smallest and largest where there are several seeds."
    text = f"# {folder.name}\n\n{markdown_table([config.x, *columns], table)}\n{caption}\n\n![plot](sweep.svg)\n"
    (folder / "sweep.md").write_text(text, encoding="utf-8")
    _plot(folder / "sweep.svg", config, columns, found)


def _cell(results: list[Result]) -> str:
    means = sorted({result.mean for result in results})
    if not means:
        return "-"
    spread = f" ({means[0]:.3f} to {means[-1]:.3f})" if len(means) > 1 else ""
    return f"{np.mean([result.mean for result in results]):.3f}{spread}"


def _plot(path: Path, config: SweepConfig, columns: list[str], found: dict[str, dict[str, list[Result]]]) -> None:
    """The measure by x with 95 % intervals over queries, on a logarithmic axis where x is numbers above 0."""
    from matplotlib.figure import Figure

    try:
        places = [float(column) for column in columns]
    except ValueError:
        places = []
    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.add_subplot()
    is_number = bool(places) and min(places) > 0
    if is_number:
        axes.set_xscale("log")
        axes.set_xticks(places, columns)
        axes.minorticks_off()
    for series, by_x in found.items():
        shown = [column for column in columns if column in by_x]
        x = [places[columns.index(column)] for column in shown] if is_number else shown
        mean, low, high = (
            np.array([np.mean([getattr(result, part) for result in by_x[column]]) for column in shown])
            for part in ("mean", "low", "high")
        )
        axes.errorbar(x, mean, [mean - low, high - mean], marker="o", capsize=3, label=series)
    axes.set_xlabel(config.x)
    axes.set_ylabel(config.measure)
    axes.set_ylim(bottom=0)
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(path)
