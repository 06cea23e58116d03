"""Marks systems that learnt from a teacher, and says from which: their scores are partly the teacher's."""

from collections.abc import Mapping
from typing import Any

from dsi.model.card import distillation
from dsi.report.cost import Cost
from dsi.report.quantities import count


def shown(name: str, cost: Cost) -> str:
    """The name of a system in tables; one that learnt from a teacher is marked.

    >>> shown("dsi", {"distilled": {"teacher": "A"}}), shown("dsi", {})
    ('dsi (distilled)', 'dsi')
    """
    return f"{name} (distilled)" if "distilled" in cost else name


def teachers(cost_of: Mapping[str, Cost]) -> list[str]:
    """A sentence for each teacher of these systems, which are given by their names in tables."""
    distilled = [(name, cost["distilled"]) for name, cost in cost_of.items() if "distilled" in cost]
    different = [facts for place, (_, facts) in enumerate(distilled) if facts not in [f for _, f in distilled[:place]]]
    return [distillation(" and ".join(name for name, of in distilled if of == facts), facts) for facts in different]


def labels(manifests: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """What the labels of the training queries are like, as lines of Markdown; none without a teacher."""
    counts = manifests.get("teacher", {"counts": {}})["counts"]
    if not counts:
        return []
    without = counts["without_scores"]
    temperatures = {
        f"{temperature:.3g}"
        for stage in ("model", "encoder")
        if (temperature := manifests[stage]["counts"].get("temperature")) is not None
    }
    return [
        f"The teacher gave {count(counts['queries'])} training queries {counts['documents']} documents each. The own"
        f" document is among them for {counts['own_found']:.1%} of the queries, and the first for"
        f" {counts['own_first']:.1%}"
        + (f"; {count(without)} queries have no scores" if without else "")
        + f". Temperature: {' and '.join(sorted(temperatures))}.",
        "",
    ]
