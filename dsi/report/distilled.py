"""Marks systems that learnt from a teacher, and says from which: their scores are partly the teacher's."""

from collections.abc import Mapping

from dsi.model.card import distillation
from dsi.report.cost import TRAINED_IN, Cost, Manifests
from dsi.report.quantities import decimal

DISTILLED = " (distilled)"
"""What marks the name of a system that learnt from a teacher."""


def shown(name: str, cost: Cost) -> str:
    """The name of a system in tables; one that learnt from a teacher is marked.

    >>> shown("dsi", {"distilled": {"teacher": "A"}}), shown("dsi", {})
    ('dsi (distilled)', 'dsi')
    """
    return f"{name}{DISTILLED}" if "distilled" in cost else name


def teachers(cost_of: Mapping[str, Cost]) -> list[str]:
    """A sentence for each teacher of these systems, which are given by their names in tables."""
    distilled = [(name, cost["distilled"]) for name, cost in cost_of.items() if "distilled" in cost]
    different = [facts for place, (_, facts) in enumerate(distilled) if facts not in [f for _, f in distilled[:place]]]
    return [distillation(" and ".join(name for name, of in distilled if of == facts), facts) for facts in different]


def labels(manifests: Manifests) -> list[str]:
    """What the labels are like that dsi and the dual encoder have learnt from."""
    lines = []
    for name, stage in TRAINED_IN.items():
        if (facts := manifests.get(stage, {"counts": {}})["counts"].get("labels")) is not None:
            lines += [
                f"The teacher knows documents for {facts['known']:.1%} of the queries that {name} has learnt from,"
                f" {decimal(facts['documents'], 1)} on average. The own document is among them for"
                f" {facts['own_found']:.1%} of the queries, and the first for {facts['own_first']:.1%}. Temperature:"
                f" {facts['temperature']:.3g}."
            ]
    return lines
