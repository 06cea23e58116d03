"""The report of several finished runs: what they are, who wins where they answer the same queries, at what cost."""

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from dsi.artifacts import write_json
from dsi.errors import DsiError
from dsi.report.blocks import Block, draws, write
from dsi.report.comparison import Result, compared, names_of, queries_of_all, read_results, series_of, side_by_side
from dsi.report.cost import Cost
from dsi.report.figures import FIGURES, Figure
from dsi.report.finished_runs import FinishedRun, comparable, differing, open_runs, runs_table
from dsi.report.per_query import PerQuery, read_per_query
from dsi.report.plots import by_latency, by_training, forest
from dsi.report.quantities import decimal
from dsi.report.query_plots import recall
from dsi.report.styles import systems_of
from dsi.report.summary import measured_on
from dsi.report.tables import TABLES

MARK = "runs.json"
"""The file that tells the folder of such a report from others; it has the folders of the runs."""
ONE_COST = (
    "A baseline that answers alike in several runs is one system, with the cost that it had in the first of them. Times"
    " say something only where all was measured on the same machine."
)


@dataclass(frozen=True)
class Group:
    """Runs that can be compared, and how well their systems do."""

    runs: Sequence[FinishedRun]
    measure: str
    """The first measure that all have."""
    by_name: Mapping[str, Sequence[Result]]
    """The one result of each system, by its name in tables, which has the run's label in it."""

    @property
    def name(self) -> str:
        """The names of its runs."""
        return ", ".join(run.name for run in self.runs)

    @property
    def cost_of(self) -> dict[str, Cost]:
        """The cost of each system, by its name in tables."""
        return {name: results[0].cost for name, results in self.by_name.items()}

    @property
    def labels(self) -> list[str]:
        """What the names of systems have of the names of their runs: nothing where there is one run."""
        return [run.name for run in self.runs] if len(self.runs) > 1 else [""]


def report_runs(run_folders: Sequence[Path], out_folder: Path, baseline: str | None = None) -> str:
    """Write `report.md`, its tables and figures, and `report.html` on the runs in these folders; return the text of
    `report.md`. Runs that answer the same queries over the same documents are compared with `baseline`, the name of a
    system, by default that of the first run.

    An earlier report in `out_folder` is replaced.

    Raises:
        DsiError: a folder is no finished run, a run is named twice, runs that could be compared have no measure in
            common, no run has the baseline, or `out_folder` has something else.
    """
    if out_folder.is_dir() and any(out_folder.iterdir()) and not (out_folder / MARK).is_file():
        raise DsiError(f"{out_folder}: there is something else than a report of several runs; name a folder with -o")
    groups = [_measured(runs) for runs in comparable(open_runs(run_folders))]
    blocks = contents(groups, _baselines(groups, baseline))
    for kind in (TABLES, FIGURES):
        shutil.rmtree(out_folder / kind, ignore_errors=True)
    text = write(out_folder, "report", blocks)
    write_json(out_folder / MARK, {"runs": [str(folder) for folder in run_folders], "baseline": baseline})
    return text


def contents(groups: Sequence[Group], baselines: Sequence[str | None]) -> list[Block]:
    """The report on these groups of runs, each compared with its baseline, by default that of its first run."""
    runs = [run for group in groups for run in group.runs]
    blocks: list[Block] = [f"# {', '.join(run.name for run in runs)}", runs_table(runs)]
    if len(groups) > 1:
        first, *others = groups
        blocks += [
            "Not all of these runs answer the same queries over the same documents. Those that do not are shown apart,"
            " and are not to be compared:",
            *(f"- {each.name}: other {differing(first.runs[0], each.runs[0])} than {first.name}" for each in others),
        ]
    for number, (group, baseline) in enumerate(zip(groups, baselines, strict=True), start=1):
        suffix = f"-{number}" if number > 1 else ""
        metrics = compared(group.measure, group.by_name, queries_of_all(group.by_name), baseline)
        blocks += [
            f"## {group.name}",
            _best(metrics, group.measure),
            *side_by_side(metrics, group.cost_of, suffix),
            *([ONE_COST] if len(group.runs) > 1 else []),
            *_figures(group, metrics, suffix),
        ]
    return [*blocks, "## Machines", *_machines(runs)]


def _figures(group: Group, metrics: Mapping[str, Any], suffix: str) -> list[Figure]:
    """The figures of a group, whose `metrics` are as in `metrics.json`; their names end with `suffix`."""
    if not draws():
        return []
    runs = {name: (results[0].system, results[0].label) for name, results in group.by_name.items()}
    systems = systems_of(metrics, {name: name for name in group.by_name}, runs if len(group.runs) > 1 else None)
    drawn = [
        *forest(metrics, systems),
        *recall(_queries(group), systems),
        *by_latency(metrics, systems, group.cost_of),
        *by_training(metrics, systems, group.cost_of),
    ]
    return [replace(figure, name=f"{figure.name}{suffix}") for figure in drawn]


def _queries(group: Group) -> PerQuery:
    """What the systems of a group have found, by their names in tables."""
    of_run = {
        label: read_per_query(run.metrics, {stage: run.folder / stage for stage in run.manifests})
        for label, run in zip(group.labels, group.runs, strict=True)
    }
    first = next(iter(of_run.values()))
    results = {name: results[0] for name, results in group.by_name.items()}
    values = {name: result.values for name, result in results.items()}
    found = {name: of_run[result.label].found[result.system] for name, result in results.items()}
    return replace(first, measure=group.measure, values=values, found=found)


def _machines(runs: Sequence[FinishedRun]) -> list[str]:
    """On which machine and when each run was measured, in a sentence for all those that were measured alike."""
    measured: dict[str, list[str]] = {}
    for run in runs:
        measured.setdefault(measured_on(run.manifests), []).append(run.name)
    return [f"{', '.join(names)}: {sentence}" for sentence, names in measured.items()]


def _best(metrics: Mapping[str, Any], measure: str) -> str:
    """Which system is the best, in a sentence."""
    means = {name: values[measure] for name, values in metrics["systems"].items()}
    best = max(means, key=means.__getitem__)
    low, high = metrics["intervals"][best][measure]
    return (
        f"The best {measure} is that of {best}: {decimal(means[best])} ({low:.3f} to {high:.3f}). Differences are those"
        f" from {metrics['baseline']}; --baseline NAME tests against another system of the table."
    )


def _measured(runs: Sequence[FinishedRun]) -> Group:
    """These runs, which can be compared, with the results of their systems."""
    shared = [measure for measure in runs[0].measures if all(measure in run.measures for run in runs)]
    group = Group(runs, next(iter(shared), ""), {})
    if not shared:
        raise DsiError(f"{group.name}: these runs have no measure in common; see evaluation.measures")
    results = [
        result
        for run, label in zip(runs, group.labels, strict=True)
        for result in read_results(run.folder, group.measure, x="", label=label, seeds="")
    ]
    return replace(group, by_name={name: by_x[""] for name, by_x in series_of(results).items()})


def _baselines(groups: Sequence[Group], baseline: str | None) -> list[str | None]:
    """The name in tables of the baseline of each group; None where no other than its own is asked for, or there is no
    such system."""
    if baseline is None:
        return [None] * len(groups)
    found = [names_of(baseline, group.by_name) for group in groups]
    if ambiguous := next((names for names in found if len(names) > 1), None):
        raise DsiError(f"--baseline {baseline}: runs differ in it; name one of: {', '.join(ambiguous)}")
    if not any(found):
        known = dict.fromkeys(name for group in groups for name in group.by_name)
        raise DsiError(f"--baseline {baseline}: no run has this system; there are: {', '.join(known)}")
    return [next(iter(names), None) for names in found]
