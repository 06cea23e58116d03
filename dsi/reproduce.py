"""Compare the scores of experiments with those that were measured before. A YAML file says what is expected:

ok: 0.005                           # the largest difference with the verdict OK
close: 0.02                         # the largest one with the verdict close; a larger one is a FAIL
runs:
  demo:                             # the name of the run
    config: demo.yaml               # the experiment, relative to this file
    set: {training.seed: 1}         # keys that differ from it
    given: [corpus.path]            # keys that must be given with --set, and are passed to such runs only
    expected: {dsi: {RR@10: 0.5}}   # system, measure, score
"""

import json
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from dsi.config import FilePath, Override, Rate, Section, load_config, overlaps, read_section
from dsi.errors import DsiError
from dsi.pipeline import Run
from dsi.report.tables import text_table
from dsi.runtime.processes import is_first_process

OK, CLOSE, FAIL, NOT_RUN = "OK", "close", "FAIL", "not run"
Scores = dict[str, dict[str, float]]
"""The scores by system and by measure."""


class Experiment(Section):
    """One of the runs, as above."""

    config: FilePath
    set: dict[str, Any] = Field(default_factory=dict)
    given: list[str] = Field(default_factory=list)
    expected: Annotated[Scores, Field(min_length=1)]


class Reproduction(Section):
    """The file of expected scores, as above."""

    ok: Rate = 0.005
    close: Rate = 0.02
    runs: Annotated[dict[str, Experiment], Field(min_length=1)]


def planned(path: Path, overrides: list[str], runs_folder: Path) -> dict[str, Run]:
    """The experiments of the file `path` by name, of which nothing is run; without those that lack a `given` key.

    Raises:
        DsiError: the file or a configuration is faulty; with all faults found, each once.
    """
    wanted = read_section(path, Reproduction)
    given = {override.partition("=")[0]: override for override in overrides}
    shared = given.keys() - {key for experiment in wanted.runs.values() for key in experiment.given}
    experiments: dict[str, Run] = {}
    faults: dict[str, None] = {}
    for name, experiment in wanted.runs.items():
        passed = [key for key in given if key in shared or key in experiment.given]
        settings: list[Override] = [*(given[key] for key in passed), *experiment.set.items()]
        faults |= {f"--set {key}: runs.{name} of {path} sets it": None for key in overlaps(passed, experiment.set)}
        if given.keys() >= set(experiment.given):
            try:
                experiments[name] = Run(load_config(experiment.config, settings), name, runs_folder)
            except DsiError as error:
                faults |= dict.fromkeys(error.faults)
    if faults:
        raise DsiError(*faults)
    return experiments


def reproduce(path: Path, overrides: list[str], runs_folder: Path) -> bool:
    """Run the experiments of the file `path`, print the verdicts, and return whether none of them is FAIL.

    Raises:
        DsiError: the file or a configuration is faulty; nothing is run then. A corpus that is missing is a verdict, not
            an error.
    """
    wanted = read_section(path, Reproduction)
    experiments = planned(path, overrides, runs_folder)
    rows = []
    for name, experiment in wanted.runs.items():
        run = experiments.get(name)
        if run is None:
            needed = " ".join(f"{key}=..." for key in experiment.given)
            rows.append([name, f"needs --set {needed}", "", "", "", NOT_RUN])
            continue
        verdict = NOT_RUN
        try:
            run.plan()  # fails where the corpus is not there
            verdict = FAIL
            run.run()
        except DsiError as error:
            rows.append([name, str(error), "", "", "", verdict])
            continue
        if is_first_process():
            scores = json.loads((run.folder / "evaluation/metrics.json").read_text(encoding="utf-8"))["systems"]
            rows += compared(name, experiment.expected, scores, wanted)
    if is_first_process():
        print(text_table(["run", "system", "measure", "expected", "found", "verdict"], rows))
    return all(row[-1] != FAIL for row in rows)


def compared(name: str, expected: Scores, scores: Scores, wanted: Reproduction) -> list[list[str]]:
    """The rows of the table of verdicts for the expected scores of run `name`; a score that is missing is a FAIL."""
    rows = []
    for system, measures in expected.items():
        for measure, score in measures.items():
            value = scores.get(system, {}).get(measure)
            difference = round(abs(value - score), 6) if value is not None else float("inf")
            verdict = OK if difference <= wanted.ok else CLOSE if difference <= wanted.close else FAIL
            rows.append([name, system, measure, f"{score:.3f}", "-" if value is None else f"{value:.3f}", verdict])
    return rows
