"""Section `evaluation`: queries and measures."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from dsi.config.section import Section


class EvaluationConfig(Section):
    split: str | None = None
    """Queries to search and report. Null: test, or dev where the corpus has no test."""
    measures: Annotated[list[str], Field(min_length=1)] = ["RR@10", "Success@1", "Success@10", "R@100", "nDCG@10"]
    """Names as ir-measures spells them."""
    baseline: str | None = None
    """System that the others are compared with, e.g. bm25. Null: the first baseline."""
