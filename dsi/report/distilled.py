"""Which systems learnt from a teacher, and what the teacher had seen: whoever compares them has to know."""

from collections.abc import Mapping
from typing import Any


def system_title(system: str, cost: Mapping[str, Any]) -> str:
    """The name of a system in tables, by what is known of its cost.

    >>> system_title("dsi", {"distilled": {"teacher": "BM25"}}), system_title("bm25", {})
    ('dsi (distilled)', 'bm25')
    """
    return f"{system} (distilled)" if cost.get("distilled") else system


def teachers(cost_of: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """What is known of the teacher of each distilled system, in a sentence each."""
    return [
        f"{system_title(system, cost)} learnt which documents answer its training queries from {taught['teacher']}"
        f" (licence: {taught['licence']}; trained on: {taught['trained_on']}): what its teacher has seen, it has seen."
        for system, cost in cost_of.items()
        if (taught := cost.get("distilled"))
    ]
