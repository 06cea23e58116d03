"""Section `search`: how the index answers."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import model_validator

from dsi.config.section import Count, CountOrZero, Section

Ranking = Literal["path", "leaf"]


class SearchConfig(Section):
    beam: Count = 100
    """Hypotheses kept a step, and so documents returned a query."""
    ranking: Ranking = "path"
    """How the documents that the beam finds are ordered. path: by the probability of their docid; leaf
    (head=hierarchical_softmax): by their leaf's row alone, as an atomic index would."""
    constrained: bool = True
    """Whether the beam follows only docids that exist. False is the paper's unconstrained beam: documents of the docids
    that happen to exist are returned, and the manifest tells the share of those that do not."""
    exact: bool = False
    """Widen the beam of a query until its first ten documents are certified to be the most probable ones of all."""
    max_beam: Count = 10_000
    """exact: widest beam to try."""
    error_queries: CountOrZero = 0
    """The first so many queries are also searched exactly and with narrow beams, to tell how often these miss the most
    probable documents (search errors)."""
    precision: Literal["auto", "float32", "bfloat16", "int8"] = "auto"
    """auto: bfloat16 where the GPU has it, else float32. int8 is for the CPU, about 1.5 times faster than float32."""
    batch_size: Count = 32
    """Queries searched together."""
    latency_queries: CountOrZero = 100
    """Queries also searched one at a time to measure latency."""

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if self.exact and not self.constrained:
            raise ValueError("search.exact follows docids that exist; search.constrained must be true")
        if self.ranking == "leaf" and (self.exact or self.error_queries):
            raise ValueError(
                "search.exact and search.error_queries are about probabilities; search.ranking must be path"
            )
        if self.precision == "int8" and (self.exact or self.error_queries):
            raise ValueError(
                "search.precision=int8 rounds by the batch; search.exact and search.error_queries need another"
            )
        return self

    def check_head(self, head: str) -> None:
        """Raise ValueError if a model with this head cannot be searched so."""
        if self.ranking == "leaf" and head != "hierarchical_softmax":
            raise ValueError("search.ranking=leaf needs model.head=hierarchical_softmax")
        if head == "hierarchical_softmax" and not self.constrained:
            raise ValueError(
                "model.head=hierarchical_softmax knows no docids but those that exist; search.constrained must be true"
            )
