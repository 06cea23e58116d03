"""Sweeps: an experiment for every combination of some values, e.g. of corpus sizes, docid kinds and seeds.

A sweep is a YAML file beside the experiment that it varies:

    config: ../msmarco-6k-cpu.yaml      # the experiment, relative to this file
    set: {baselines.systems: [bm25]}    # keys of every combination, if any
    grid:                               # every combination is run
      corpus.size: [1000, 10000]        # a key and its values
      docids:                           # or named values, each of several keys
        atomic: {docids.kind: atomic}
        tree: {docids.kind: semantic, model.head: hierarchical_softmax}
      training.seed: [0, 1]
    x: corpus.size                      # the columns of the table, the axis of the plot

Combinations share the stages that are the same for them (the store is content-addressed), and what is finished is not
done again: interrupted, the same command goes on.
"""

from itertools import combinations, product
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import Field, model_validator

from dsi.config import Config, FilePath, Override, Section, load_config, overlaps, read_section
from dsi.errors import DsiError
from dsi.pipeline import Run
from dsi.report.comparison import Result, read_results
from dsi.report.sweep_report import write_sweep
from dsi.runtime.extras import require
from dsi.runtime.processes import is_first_process

SEEDS = {f"{name}.seed" for name, section in Config() if hasattr(section, "seed")}
"""The axes over which results are averaged."""
Choice = tuple[str, dict[str, Any]]
"""The name of a value, and the keys that it sets."""


class SweepConfig(Section):
    """The file of a sweep, as above."""

    config: FilePath
    set: dict[str, Any] = Field(default_factory=dict)
    grid: Annotated[dict[str, list[Any] | dict[str, dict[str, Any]]], Field(min_length=1)]
    x: str
    measure: str = "RR@10"
    """The measure in the table and the plots."""

    @model_validator(mode="after")
    def _axes_are_apart(self) -> Self:
        faults = [] if self.x in self.grid else [f"x: {self.x} is not in the grid; it has: {', '.join(self.grid)}"]
        faults += [f"grid: {axis} has no values" for axis, values in self.grid.items() if not values]
        for (axis, keys), (other, others) in combinations(self.axis_keys().items(), 2):
            faults += [f"grid: {axis} and {other} both set {key}" for key in overlaps(keys, others)]
        if faults:
            raise ValueError("\n".join(faults))
        return self

    def axis_keys(self) -> dict[str, list[str]]:
        """The keys that the values of each axis set."""
        return {
            axis: list(dict.fromkeys(key for keys in values.values() for key in keys))
            if isinstance(values, dict)
            else [axis]
            for axis, values in self.grid.items()
        }

    def combinations(self) -> list[dict[str, Choice]]:
        """Every combination, as the choice on each axis."""
        axes = [
            [(name, keys) for name, keys in values.items()]
            if isinstance(values, dict)
            else [(str(value), {axis: value}) for value in values]
            for axis, values in self.grid.items()
        ]
        return [dict(zip(self.grid, chosen, strict=True)) for chosen in product(*axes)]


def planned(path: Path, overrides: list[str], runs_folder: Path) -> list[tuple[dict[str, Choice], Run]]:
    """Every combination of the sweep in the file `path`, with its experiment, of which nothing is run.

    Raises:
        DsiError: the file or a configuration is faulty; with all faults found, each once.
    """
    config = read_section(path, SweepConfig)
    in_grid = [key for keys in config.axis_keys().values() for key in keys]
    options = [override.partition("=")[0] for override in overrides]
    faults = {f"--set {key}: the grid of {path} sets it": None for key in overlaps(options, in_grid)}
    runs: dict[str, tuple[dict[str, Choice], Run]] = {}
    for chosen in config.combinations():
        own = [item for _, values in chosen.values() for item in values.items()]
        settings: list[Override] = [*config.set.items(), *overrides, *own]
        name = "/".join([path.stem, "_".join(label.replace("/", "-") for label, _ in chosen.values())])
        if name in runs:
            faults[f"{path}: grid: two combinations would be the run {name}; give the values names"] = None
        try:
            experiment = load_config(config.config, settings)
            if config.measure not in experiment.evaluation.measures:
                raise DsiError(f"{path}: measure: {config.measure} is not among evaluation.measures of the experiment")
            runs[name] = chosen, Run(experiment, name, runs_folder)
        except DsiError as error:
            faults |= dict.fromkeys(error.faults)
    if faults:
        raise DsiError(*faults)
    return list(runs.values())


def sweep(path: Path, overrides: list[str], runs_folder: Path) -> Path:
    """Run every combination of the sweep NAME.yaml; write `sweep.tsv`, `sweep.md` and plots into the folder NAME below
    that of all runs, and return it. `overrides`, `section.key=value`, are for all combinations.

    Raises:
        DsiError: the file or a configuration is faulty or there is nothing to plot with, in which case nothing is run,
            or a stage fails.
    """
    require("report", "dsi sweep")
    config = read_section(path, SweepConfig)
    experiments = planned(path, overrides, runs_folder)
    results: list[Result] = []
    for number, (chosen, run) in enumerate(experiments, start=1):
        print(f"==== {number} of {len(experiments)}: {run.folder.name}", flush=True)
        run.run()
        if is_first_process():
            labels = [label for axis, (label, _) in chosen.items() if axis not in (config.x, *SEEDS)]
            seeds = [label for axis, (label, _) in chosen.items() if axis in SEEDS]
            x = chosen[config.x][0]
            results += read_results(run.folder, config.measure, x, " ".join(labels), " ".join(seeds))
    folder = runs_folder / path.stem
    if is_first_process():
        write_sweep(folder, config.x, config.measure, results)
    return folder
