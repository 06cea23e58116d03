"""Are the scores still those that were measured? A YAML of experiments and expected scores, three verdicts.

ok: 0.005                           # largest difference that is OK, and that is close
close: 0.02
runs:
  demo:                             # name of the run
    config: demo.yaml               # the experiment, relative to this file
    set: {training.seed: 1}         # keys that differ from it
    given: [corpus.path]            # keys that --set must give, and gives to such runs only
    expected: {dsi: {RR@10: 0.5}}   # system to measure to score
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from dsi.config import Rate, Section, load_config, overrides_of, read_section
from dsi.errors import DsiError
from dsi.pipeline import Run
from dsi.report.tables import text_table
from dsi.runtime.processes import is_first_process

OK, CLOSE, FAIL, NOT_RUN = "OK", "close", "FAIL", "not run"


class Experiment(Section):
    config: str
    set: dict[str, Any] = Field(default_factory=dict)
    given: list[str] = Field(default_factory=list)
    expected: Annotated[dict[str, dict[str, float]], Field(min_length=1)]


class Reproduction(Section):
    ok: Rate = 0.005
    close: Rate = 0.02
    runs: Annotated[dict[str, Experiment], Field(min_length=1)]


def reproduce(path: Path, overrides: list[str], runs: Path) -> bool:
    """Run the experiments in `path` and print the verdicts; whether none of them is FAIL.

    Raises:
        DsiError: the file, or a configuration, is faulty; nothing is run then. That a corpus is not there is a verdict
            of its own.
    """
    wanted = read_section(path, Reproduction)
    given = {override.partition("=")[0]: override for override in overrides}
    shared = given.keys() - {key for experiment in wanted.runs.values() for key in experiment.given}
    experiments: dict[str, Run] = {}
    for name, experiment in wanted.runs.items():
        settings = [override for key, override in given.items() if key in shared or key in experiment.given]
        settings += overrides_of(experiment.set)
        if given.keys() >= set(experiment.given):
            experiments[name] = Run(load_config(path.parent / experiment.config, settings), name, runs)
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
            found = json.loads((run.folder / "evaluation/metrics.json").read_text(encoding="utf-8"))["systems"]
            rows += compared(name, experiment.expected, found, wanted)
    if is_first_process():
        print(text_table(["run", "system", "measure", "expected", "found", "verdict"], rows))
    return all(row[-1] != FAIL for row in rows)


def compared(
    name: str, expected: dict[str, dict[str, float]], found: dict[str, dict[str, float]], wanted: Reproduction
) -> list[list[str]]:
    """A row of text a score; one that was not computed is a FAIL."""
    rows = []
    for system, scores in expected.items():
        for measure, score in scores.items():
            value = found.get(system, {}).get(measure)
            difference = round(abs(value - score), 6) if value is not None else float("inf")
            verdict = OK if difference <= wanted.ok else CLOSE if difference <= wanted.close else FAIL
            rows.append([name, system, measure, f"{score:.3f}", "-" if value is None else f"{value:.3f}", verdict])
    return rows
