"""The report of an index that grows (see dsi.grow): what it finds after each step, beside one trained on everything."""

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dsi.artifacts import write_json
from dsi.evaluation.significance import Comparison, compare_all, holm
from dsi.report.blocks import Block, write
from dsi.report.quantities import (
    UNKNOWN,
    Quantity,
    count,
    counted,
    decimal,
    difference,
    duration,
    milliseconds,
    p_value,
)
from dsi.report.tables import Table

GROUPS = OLD, NEW, ALL = "old", "new", "all"
BEFORE, CONSOLIDATED = "before", "consolidated"
"""The names of two steps."""
RETRAINED = "retrained"
"""The beginning of the names of the systems that the growing one is compared with."""


@dataclass(frozen=True)
class Measured:
    """What was measured after one step, for one seed."""

    step: str
    documents: int
    """The number of documents that are there."""
    changed: int
    """How many the step added, learnt or deleted."""
    seconds: float
    """The time that it took; of one that was interrupted, since it was started again."""
    new: list[str]
    """The ids of the queries with a relevant document that came later."""
    values: dict[str, dict[str, float]]
    """The measure of each query whose relevant documents are all there, by system, then by query_id."""

    def queries(self, group: str) -> list[str]:
        """The ids of the queries of a group, in the order of the split."""
        new, asked = set(self.new), next(iter(self.values.values()))
        return [query for query in asked if group == ALL or (query in new) == (group == NEW)]

    def mean(self, system: str, group: str) -> float | None:
        """The mean of a system over a group; None for a group without queries."""
        return _mean(self.values[system][query] for query in self.queries(group))

    def forgetting(self, before: "Measured", system: str) -> float | None:
        """By how much a system's mean over the old queries that are asked in both has fallen since."""
        now, then = self.values[system], before.values[system]
        return _mean(then[query] - now[query] for query in self.queries(OLD))


@dataclass(frozen=True)
class Facts:
    """What the report says beside what was measured."""

    measure: str
    split: str
    documents: int
    """How many there are in all."""
    later: int
    """How many of them came later."""
    training_steps: tuple[int, int]
    """The steps of the training on all documents, and of that on those that were there from the start."""
    training: float
    """The seconds of the training on all documents."""
    building: float
    """The seconds of everything that an index of all documents is made by."""


def write_growth_report(folder: Path, facts: Facts, seeds: Mapping[int, Sequence[Measured]]) -> str:
    """Write `grow.md` with its tables, `grow.html`, and `grow.json`, the numbers of every step of every seed; return
    the text of `grow.md`."""
    comparisons = compared(seeds)
    write_json(folder / "grow.json", _numbers(facts, seeds, comparisons))
    systems = list(next(iter(seeds.values()))[0].values)
    blocks: list[Block] = [f"# {folder.name}", _setting(facts, seeds)]
    for system in systems:
        blocks += [f"## {system}", _table_of(system, facts.measure, seeds)]
    return write(folder, "grow", [*blocks, *_differences(facts.measure, comparisons), *_costs(facts, seeds)])


def compared(seeds: Mapping[int, Sequence[Measured]]) -> dict[tuple[str, str], dict[str, Any]]:
    """The consolidated index less the retrained one, alone and each with its prior, by the name of the former and the
    group: a `Comparison`, queries, and by_seed, the difference of each seed's means.

    A query counts once, with its mean over the seeds in which it is in the group. Holm's correction is for all of them.
    """
    consolidated = {seed: _step(steps, CONSOLIDATED) for seed, steps in seeds.items()}
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for system in next(iter(consolidated.values())).values:
        if not system.startswith("dsi"):
            continue
        pair = system, system.replace("dsi", RETRAINED)
        for group in (OLD, NEW):
            of_query: dict[str, list[list[float]]] = defaultdict(list)
            by_seed = {}
            for seed, each in consolidated.items():
                for query in each.queries(group):
                    of_query[query].append([each.values[name][query] for name in pair])
                mine, other = (each.mean(name, group) for name in pair)
                if mine is not None and other is not None:
                    by_seed[str(seed)] = mine - other
            if of_query:
                means = np.array([np.mean(values, axis=0) for values in of_query.values()])
                values = dict(zip(pair, means.T, strict=True))
                comparison: Comparison = compare_all(values, pair[1])[system]
                found[system, group] = {**comparison, "queries": len(of_query), "by_seed": by_seed}
    corrected = holm([each["randomisation"] for each in found.values()])
    return {key: {**each, "holm": p} for (key, each), p in zip(found.items(), corrected, strict=True)}


def _setting(facts: Facts, seeds: Mapping[int, Sequence[Measured]]) -> str:
    """What was done, and how the tables are to be read."""
    first = next(iter(seeds.values()))
    asked = {group: [len(_step(steps, CONSOLIDATED).queries(group)) for steps in seeds.values()] for group in GROUPS}
    numbers = {group: _range(values) for group, values in asked.items()}
    steps_all, steps_part = facts.training_steps
    deleted = first[-1].changed if first[-1].step != CONSOLIDATED else 0
    over_seeds = ", means over the seeds, in brackets the smallest and the largest" if len(seeds) > 1 else ""
    return (
        f"{count(facts.later)} of {count(facts.documents)} documents come later, {count(deleted)} of all are deleted in"
        f" the end; {counted(len(seeds), 'seed chooses', 'seeds choose')} at random which"
        f" ({', '.join(map(str, seeds))}). {facts.measure} of split {facts.split}{over_seeds}, over the queries whose"
        f" relevant documents are all there: once all have come {numbers[ALL]}, {numbers[OLD]} of them old, with no"
        f" relevant document that came later, and {numbers[NEW]} new. Forgetting is by how much the mean of the old"
        f" queries has fallen since the step {BEFORE}.\n\n"
        f"{RETRAINED} is the index trained on all documents at once, in {count(steps_all)} steps as the growing one in"
        f" {count(steps_part)}, with those deleted from it that are not there: between {BEFORE} and {CONSOLIDATED} it"
        " has learnt from documents that are yet to come, so that it is an upper bound there."
    )


def _table_of(system: str, measure: str, seeds: Mapping[int, Sequence[Measured]]) -> Table:
    rows = []
    for steps in zip(*seeds.values(), strict=True):
        means = [spread(each.mean(system, group) for each in steps) for group in GROUPS]
        firsts = [of_seed[0] for of_seed in seeds.values()]
        forgotten = (each.forgetting(first, system) for each, first in zip(steps, firsts, strict=True))
        rows.append([steps[0].step, count(steps[0].documents), *means, spread(forgotten)])
    header = ["step", "documents", *GROUPS, "forgetting"]
    return Table(f"steps-{system}", f"{measure} of {system} after each step.", header, rows)


def _differences(measure: str, comparisons: Mapping[tuple[str, str], Mapping[str, Any]]) -> list[Block]:
    rows = [
        [
            f"{system}, {group}",
            count(each["queries"]),
            difference(each["difference"], *each["interval"]),
            *(Quantity(f"{value:+.3f}", {"": value}) for value in _ends(each["by_seed"].values())),
            *(p_value(each[test]) for test in ("holm", "randomisation", "t_test")),
        ]
        for (system, group), each in comparisons.items()
    ]
    names = ["difference", "smallest seed", "largest seed", "Holm", "randomisation", "t-test"]
    title = f"{measure} of the consolidated index less that of the retrained one."
    return [
        "## Consolidated less retrained",
        Table("differences", title, ["system, queries", "queries", *names], rows),
        "Each query counts once, with its mean over the seeds in which it is in that group. Intervals, in brackets, are"
        " bootstraps over queries (95%); p-values are of the paired randomisation test, two-sided, after Holm's"
        " correction for all rows and without, and of the paired t-test. The smallest and the largest difference are of"
        " the means of a seed.",
    ]


def _costs(facts: Facts, seeds: Mapping[int, Sequence[Measured]]) -> list[Block]:
    rows = [
        [
            steps[0].step,
            count(steps[0].changed),
            spread((each.seconds for each in steps), duration),
            spread((1000 * each.seconds / each.changed for each in steps), milliseconds)
            if steps[0].step != CONSOLIDATED
            else UNKNOWN,
        ]
        for steps in zip(*(of_seed[1:] for of_seed in seeds.values()), strict=True)
    ]
    rows += [
        [f"{RETRAINED}: training", count(facts.documents), duration(facts.training), UNKNOWN],
        [f"{RETRAINED}: all stages", count(facts.documents), duration(facts.building), UNKNOWN],
    ]
    title = "What each step costs, beside an index trained on all documents."
    return ["## Time", Table("time", title, ["step", "documents", "time", "ms a document"], rows)]


def _numbers(
    facts: Facts,
    seeds: Mapping[int, Sequence[Measured]],
    comparisons: Mapping[tuple[str, str], Mapping[str, Any]],
) -> dict[str, Any]:
    """What is in `grow.json`."""
    return {
        **vars(facts),
        "seeds": {str(seed): [_numbers_of(each, steps[0]) for each in steps] for seed, steps in seeds.items()},
        "consolidated_less_retrained": {", ".join(key): each for key, each in comparisons.items()},
    }


def _numbers_of(each: Measured, before: Measured) -> dict[str, Any]:
    return {
        "step": each.step,
        "documents": each.documents,
        "changed": each.changed,
        "seconds": each.seconds,
        "queries": {group: len(each.queries(group)) for group in GROUPS},
        "systems": {
            system: {group: each.mean(system, group) for group in GROUPS}
            | {"forgetting": each.forgetting(before, system)}
            for system in each.values
        },
    }


def read_measured(path: Path) -> Measured:
    """What `write_json` has written of one."""
    return Measured(**json.loads(path.read_text(encoding="utf-8")))


def spread(values: Iterable[float | None], shown: Any = decimal) -> Quantity:
    """The mean over seeds, and the smallest and the largest where they read otherwise; a dash without a value.

    >>> spread([0.5, 0.25]), spread([0.5, 0.5]), spread([None])
    ('0.375 (0.250 to 0.500)', '0.500', '-')
    """
    known = [value for value in values if value is not None]
    if not known:
        return UNKNOWN
    mean, (low, high) = float(np.mean(known)), _ends(known)
    text = str(shown(mean))
    if shown(low) != shown(high):
        text += f" ({shown(low)} to {shown(high)})"
    return Quantity(text, {"": mean, "smallest": low, "largest": high}, shown(mean).unit)


def _ends(values: Iterable[float]) -> tuple[float, float]:
    known = list(values)
    return min(known), max(known)


def _range(numbers: Sequence[int]) -> str:
    low, high = min(numbers), max(numbers)
    return str(count(low)) if low == high else f"{count(low)} to {count(high)}"


def _mean(values: Iterable[float]) -> float | None:
    known = list(values)
    return float(np.mean(known)) if known else None


def _step(steps: Sequence[Measured], name: str) -> Measured:
    return next(each for each in steps if each.step == name)
