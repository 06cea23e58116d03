"""Run experiments and compare their scores with those stored. A YAML file says what is run, a JSON file of the same
name beside it holds the scores, which `--record` writes:

same: 0.005                         # the largest difference from the stored score of the same seed for the verdict same
close: 0.02                         # the largest one from a stored score of any seed for the verdict close; else off
runs:
  demo:                             # the name of the run
    config: demo.yaml               # the experiment, relative to this file
    set: {model.head: pawa}         # keys that differ from it
"""

import json
from collections import Counter
from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from dsi.artifacts import read_manifest, write_json
from dsi.config import FilePath, Override, Rate, Section, load_config, overlaps, read_section
from dsi.errors import DsiError
from dsi.pipeline import Run
from dsi.report.cost import costs
from dsi.report.quantities import decimal
from dsi.report.tables import text_table
from dsi.runtime.processes import is_first_process

VERDICTS = SAME, CLOSE, OFF, NEW, NOT_RUN = "same", "close", "off", "not stored", "not run"
Record = dict[str, Any]
"""What is stored of a run: documents, queries, split, main, baseline, minutes of all stages, measured (date, machine,
versions), systems, each with distilled and by measure score, low and high, and against_baseline: difference, low, high
and p of the main system (Holm-corrected)."""
Records = dict[str, dict[str, Record]]
"""The records by the run's name, then by its `training.seed`, as text."""


class Experiment(Section):
    """One of the runs, as above."""

    config: FilePath
    set: dict[str, Any] = Field(default_factory=dict)


class Reproduction(Section):
    """The file of experiments, as above."""

    same: Rate = 0.005
    close: Rate = 0.02
    runs: Annotated[dict[str, Experiment], Field(min_length=1)]


def planned(path: Path, overrides: list[str], runs_folder: Path, only: Sequence[str] = ()) -> dict[str, Run]:
    """The experiments of the file `path` by name, of which nothing is run; those alone whose name is like one of the
    patterns `only`, where there are some. Each is the run FILE/NAME, so that it is in no other run's way.

    Raises:
        DsiError: the file or a configuration is faulty, or a pattern fits no name; with all faults found, each once.
    """
    wanted = read_section(path, Reproduction)
    given = [override.partition("=")[0] for override in overrides]
    experiments: dict[str, Run] = {}
    faults: dict[str, None] = {}
    for pattern in only:
        if not any(fnmatchcase(name, pattern) for name in wanted.runs):
            faults[f"--only {pattern}: {path} has no run like it; it has {', '.join(wanted.runs)}"] = None
    for name, experiment in wanted.runs.items():
        if only and not any(fnmatchcase(name, pattern) for pattern in only):
            continue
        settings: list[Override] = [*overrides, *experiment.set.items()]
        faults |= {f"--set {key}: runs.{name} of {path} sets it": None for key in overlaps(given, experiment.set)}
        try:
            experiments[name] = Run(load_config(experiment.config, settings), f"{path.stem}/{name}", runs_folder)
        except DsiError as error:
            faults |= dict.fromkeys(error.faults)
    if faults:
        raise DsiError(*faults)
    return experiments


def reproduce(
    path: Path, overrides: list[str], runs_folder: Path, only: Sequence[str] = (), record: bool = False
) -> bool:
    """Run the experiments of the file `path`, print the verdicts, and return whether none of them is off. With `record`
    the scores found are stored, run by run, in place of those with the same seed.

    Raises:
        DsiError: the file, a configuration or the stored scores are faulty, or scores of other settings than the file's
            would be stored; nothing is run then. A corpus or a teacher that is missing is a verdict, not an error.
    """
    if record and (others := [override for override in overrides if not override.startswith("training.seed=")]):
        raise DsiError(*(f"--record stores scores of the file's own settings; leave out --set {key}" for key in others))
    wanted = read_section(path, Reproduction)
    experiments = planned(path, overrides, runs_folder, only)
    store = path.with_suffix(".json")
    read_records(store)
    rows, reasons = list[list[str]](), list[str]()
    for name, run in experiments.items():
        verdict = NOT_RUN
        try:
            run.check()  # fails where the corpus or the teacher is not there
            verdict = OFF
            run.run()
        except DsiError as error:
            rows.append([name, "-", "-", "-", "-", verdict])
            reasons += [f"{name}: {fault}" for fault in error.faults]
            continue
        if is_first_process():
            seed, found = str(run.config.training.seed), measured(run.folder)
            records = read_records(store)  # again: another process may have recorded a run
            stored = records.setdefault(name, {})
            rows += compared(name, seed, found, stored, wanted)
            sizes = {known.get("documents", found["documents"]) for known in stored.values()}
            if sizes - {found["documents"]}:
                reasons.append(
                    f"{name}: its corpus has {found['documents']:,} documents, that of the stored scores not"
                )
            if record:
                stored[seed] = found
                write_json(store, records)
    if is_first_process():
        print(text_table(["run, system", "measure", "seed", "stored", "found", "verdict"], rows))
        counts = Counter(row[-1] for row in rows)
        print(*reasons, ", ".join(f"{counts[verdict]} {verdict}" for verdict in VERDICTS if counts[verdict]), sep="\n")
    return all(row[-1] != OFF for row in rows)


def read_records(store: Path) -> Records:
    """The stored scores; none where the file does not exist.

    Raises:
        DsiError: the file is no JSON of this form.
    """
    try:
        records = json.loads(store.read_text(encoding="utf-8")) if store.exists() else {}
        for by_seed in records.values():
            for record in by_seed.values():
                for values in record["systems"].values():
                    float(values[_first(values)]["score"])
    except (OSError, ValueError, TypeError, KeyError, AttributeError, StopIteration, RecursionError) as error:
        raise DsiError(f"{store} holds no stored scores ({error!r}); restore it, or remove it and --record") from None
    return records


def measured(run_folder: Path) -> Record:
    """What is to be stored of a finished run."""
    metrics = json.loads((run_folder / "evaluation/metrics.json").read_text(encoding="utf-8"))
    manifests = {folder.name: read_manifest(folder) or {"counts": {}} for folder in run_folder.iterdir()}
    distilled = {
        system for system, cost in costs(manifests, list(metrics["systems"]), {}).items() if "distilled" in cost
    }
    seconds = sum(manifest.get("seconds", 0.0) for manifest in manifests.values())
    searched = manifests["search"]
    record: Record = {key: metrics[key] for key in ("documents", "queries", "split", "main", "baseline")}
    record["minutes"] = round(seconds / 60, 1)
    record["measured"] = {
        "date": searched.get("date"),
        **searched["machine"],
        **{
            name: searched["packages"].get(package)
            for name, package in (("dsi", "dsi-retrieval"), ("python", "python"))
        },
    }
    record["systems"] = {
        system: {"distilled": system in distilled}
        | {name: _with_interval(value, metrics["intervals"][system][name], "score") for name, value in values.items()}
        for system, values in metrics["systems"].items()
    }
    measure, comparisons = next(iter(metrics["comparisons"].items()))
    if against := comparisons.get(metrics["main"]):
        record["against_baseline"] = {
            "measure": measure,
            **_with_interval(against["difference"], against["interval"], "difference"),
            "p": round(against["holm"], 6),
        }
    return record


def _with_interval(value: float, interval: Sequence[float], name: str) -> dict[str, float]:
    """A mean, called `name`, with the ends of its 95 % interval."""
    return {key: round(number, 6) for key, number in zip((name, "low", "high"), (value, *interval), strict=True)}


def compared(name: str, seed: str, found: Record, stored: dict[str, Record], wanted: Reproduction) -> list[list[str]]:
    """The rows of the table of verdicts for run `name`: the first measure of every system, beside the score stored for
    the same seed, else that of the first one stored. A stored score that was not found is off."""
    systems = dict.fromkeys(system for record in (*stored.values(), found) for system in record["systems"])
    rows = []
    for system in systems:
        records = {of: record["systems"][system] for of, record in stored.items() if system in record["systems"]}
        values = found["systems"].get(system, {})
        measure = _first(next(iter(records.values()), values))
        value = values.get(measure, {}).get("score")
        known = {of: record[measure]["score"] for of, record in records.items() if measure in record}
        of = seed if seed in known else next(iter(known), seed)
        distances = {each: round(abs(value - score), 6) for each, score in known.items() if value is not None}
        if not known:
            verdict = NEW
        elif distances.get(seed, 1.0) <= wanted.same:
            verdict = SAME
        else:
            verdict = CLOSE if min(distances.values(), default=1.0) <= wanted.close else OFF
        rows.append([f"{name}, {system}", measure, of, decimal(known.get(of)), decimal(value), verdict])
    return rows


def _first(values: dict[str, Any]) -> str:
    """The first measure of a system."""
    return next(name for name in values if name != "distilled")
