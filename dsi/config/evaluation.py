"""Section `evaluation`: queries and measures."""

from typing import Annotated

from pydantic import Field

from dsi.config.section import Section


class EvaluationConfig(Section):
    """The queries and the measures by which systems are compared."""

    split: str | None = None
    """Split whose queries are searched. Null: test, or dev where the corpus has no test."""
    measures: Annotated[list[str], Field(min_length=1)] = ["RR@10", "Success@1", "Success@10", "R@100", "nDCG@10"]
    """Names of measures, spelled as in ir-measures; the first one is the headline of the report."""
    baseline: str | None = None
    """System that the others are compared with, e.g. bm25. Null: the first of baselines.systems."""
