"""Section `evaluation`: queries and measures."""

import re
from typing import Annotated

from pydantic import Field

from dsi.config.section import Section


class EvaluationConfig(Section):
    """The queries and the measures by which systems are compared."""

    split: str | None = None
    """Split whose queries are searched. Null: test, or dev where the corpus has no test."""
    measures: Annotated[list[str], Field(min_length=1)] = ["RR@10", "Success@1", "Success@10", "R@100", "nDCG@10"]
    """Names of measures, spelled as in ir-measures; the first one is the headline of the report. They may
    look at no more results than search.beam and baselines.depth give; of the defaults, that is said only."""
    baseline: str | None = None
    """System that the others are compared with, e.g. bm25. Null: the first of baselines.systems."""


def cutoff_of(measure: str) -> int:
    """The number of results that a measure looks at, by its name; 0 if it does not say.

    >>> cutoff_of("R@100"), cutoff_of("AP(rel=2, cutoff=5)"), cutoff_of("AP"), cutoff_of("IPrec@0.1")
    (100, 5, 0, 0)
    """
    match = re.search(r"(?:@|cutoff=)(\d{1,9})(?=$|[,)])", re.sub(r"[\s_]", "", measure))
    return int(match[1]) if match else 0
