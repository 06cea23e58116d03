"""The report of several finished runs: what they are, who wins where they answer the same queries, at what cost."""

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from dsi.artifacts import write_json
from dsi.errors import DsiError
from dsi.report.blocks import Block, markdown, save
from dsi.report.comparison import Result, compared, names_of, queries_of_all, read_results, series_of, side_by_side
from dsi.report.finished_runs import FinishedRun, comparable, differing, open_runs, runs_table
from dsi.report.quantities import decimal
from dsi.report.summary import measured_on
from dsi.report.tables import TABLES

MARK = "runs.json"
"""The file that tells the folder of such a report from others; it has the folders of the runs."""
ONE_COST = (
    "A baseline that answers alike in several runs is one system, with the cost that it had in the first of them. Times"
    " say something only where all was measured on the same machine."
)

ByName = Mapping[str, Sequence[Result]]
"""The results of each system, by its name in tables."""


def report_runs(run_folders: Sequence[Path], out_folder: Path, baseline: str | None = None) -> str:
    """Write `report.md` and its tables on the runs in these folders; return the text of `report.md`. Runs that answer
    the same queries over the same documents are compared with `baseline`, the name of a system, by default that of the
    first run.

    An earlier report in `out_folder` is replaced.

    Raises:
        DsiError: a folder is no finished run, a run is named twice, runs that could be compared have no measure in
            common, no run has the baseline, or `out_folder` has something else.
    """
    if out_folder.is_dir() and any(out_folder.iterdir()) and not (out_folder / MARK).is_file():
        raise DsiError(f"{out_folder}: there is something else than a report of several runs; name a folder with -o")
    groups = comparable(open_runs(run_folders))
    blocks = contents(groups, baseline)
    text = markdown(blocks)
    out_folder.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(out_folder / TABLES, ignore_errors=True)
    write_json(out_folder / MARK, {"runs": [str(folder) for folder in run_folders], "baseline": baseline})
    (out_folder / "report.md").write_text(text, encoding="utf-8")
    save(out_folder, blocks)
    return text


def contents(groups: Sequence[Sequence[FinishedRun]], baseline: str | None) -> list[Block]:
    """The report on these groups of runs that can be compared, with `baseline` where they have it.

    Raises:
        DsiError: no run has the baseline, or the runs of a group have no measure in common.
    """
    runs = [run for group in groups for run in group]
    measures = [_measure(group) for group in groups]
    systems = [_systems(group, measure) for group, measure in zip(groups, measures, strict=True)]
    baselines = _baselines(systems, baseline)
    blocks: list[Block] = [f"# {', '.join(run.name for run in runs)}", runs_table(runs)]
    if len(groups) > 1:
        first = groups[0]
        blocks += [
            "Not all of these runs answer the same queries over the same documents. Those that do not are shown apart,"
            " and are not to be compared:",
            *(f"- {_names(group)}: other {differing(first[0], group[0])} than {_names(first)}" for group in groups[1:]),
        ]
    for number, (group, measure, by_name, chosen) in enumerate(zip(groups, measures, systems, baselines, strict=True)):
        metrics = compared(measure, by_name, queries_of_all(by_name), chosen)
        cost_of = {name: results[0].cost for name, results in by_name.items()}
        blocks += [
            f"## {_names(group)}",
            _best(metrics, measure),
            *side_by_side(metrics, cost_of, f"-{number + 1}" if number else ""),
            *([ONE_COST] if len(group) > 1 else []),
        ]
    return [*blocks, "## Machines", *_machines(runs)]


def _machines(runs: Sequence[FinishedRun]) -> list[str]:
    """On which machine and when each run was measured, in a sentence for all those that were measured alike."""
    measured: dict[str, list[FinishedRun]] = {}
    for run in runs:
        measured.setdefault(measured_on(run.manifests), []).append(run)
    return [f"{_names(alike)}: {sentence}" for sentence, alike in measured.items()]


def _best(metrics: Mapping[str, Any], measure: str) -> str:
    """Which system is the best, in a sentence."""
    means = {name: values[measure] for name, values in metrics["systems"].items()}
    best = max(means, key=means.__getitem__)
    return f"The best {measure} is that of {best}: {decimal(means[best])}."


def _names(group: Sequence[FinishedRun]) -> str:
    return ", ".join(run.name for run in group)


def _measure(group: Sequence[FinishedRun]) -> str:
    """The first measure that all runs of a group have."""
    for measure in group[0].measures:
        if all(measure in run.measures for run in group):
            return measure
    raise DsiError(f"{_names(group)}: these runs have no measure in common; see evaluation.measures")


def _systems(group: Sequence[FinishedRun], measure: str) -> ByName:
    """The results of the systems of a group, which have the run's name in theirs if there are several runs."""
    labels = [run.name if len(group) > 1 else "" for run in group]
    results = [
        result
        for run, label in zip(group, labels, strict=True)
        for result in read_results(run.folder, measure, x="", label=label, seeds="")
    ]
    return {name: by_x[""] for name, by_x in series_of(results).items()}


def _baselines(systems: Sequence[ByName], baseline: str | None) -> list[str | None]:
    """The name of the baseline in each group; None for that of the first run, where there is no such system."""
    if baseline is None:
        return [None] * len(systems)
    found = [names_of(baseline, by_name) for by_name in systems]
    if ambiguous := next((names for names in found if len(names) > 1), None):
        raise DsiError(f"--baseline {baseline}: runs differ in it; name one of: {', '.join(ambiguous)}")
    if not any(found):
        known = dict.fromkeys(name for by_name in systems for name in by_name)
        raise DsiError(f"--baseline {baseline}: no run has this system; there are: {', '.join(known)}")
    return [next(iter(names), None) for names in found]
