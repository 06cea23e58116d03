"""Section `search`: how the index answers."""

from typing import Literal, Self

from pydantic import model_validator

from dsi.config.section import Count, CountOrZero, Section, ShareOrAuto, WeightOrAuto

Ranking = Literal["path", "leaf"]


class SearchConfig(Section):
    """How the index answers queries."""

    beam: Count = 100
    """Hypotheses kept per step, and so documents returned per query."""
    ranking: Ranking = "path"
    """How the documents that the beam finds are ordered. path: by the probability of their docid. leaf
    (model.head=hierarchical_softmax): by the output row of their leaf alone, as atomic docids are."""
    constrained: bool = True
    """Whether the beam follows only docids that exist. False is the paper's unconstrained beam: docids that do not
    exist lead to no document, and the manifest gives their share."""
    exact: bool = False
    """Whether a beam is widened until the first ten documents are certified to be the most probable of all."""
    max_beam: Count = 10_000
    """exact, error_queries: the widest beam to try."""
    error_queries: CountOrZero = 0
    """The first so many queries are also searched exactly and with narrow beams, to measure how often these miss the
    most probable documents (search errors)."""
    precision: Literal["auto", "float32", "bfloat16", "int8"] = "auto"
    """auto: bfloat16 on a GPU that has it, else float32. int8 is for the CPU, about 1.5 times faster than float32."""
    batch_size: Count = 32
    """Queries searched together."""
    prior: Literal["none", "bm25", "bm25_doc2query"] = "none"
    """Whether the search is planned: ranks documents by log(P + prior_epsilon) + prior_weight * prior, and the beam by
    bounds of this sum. The prior is a document's BM25 score (stage lexical); bm25_doc2query: that of the document with
    its synthetic queries. The system is called dsi+PRIOR in tables, beside dsi without it."""
    prior_documents: Count = 1_000
    """The number of documents that have a prior, the best ones of each query; that of the others is 0."""
    prior_weight: WeightOrAuto = "auto"
    """The weight of the prior; auto: chosen on the dev queries (stage prior)."""
    prior_epsilon: ShareOrAuto = "auto"
    """What is added to every probability, so that an index that is too sure does not outvote every prior; auto: chosen
    with the weight."""
    latency_queries: CountOrZero = 100
    """Number of queries that are also searched one at a time, to measure latency."""

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if self.exact and not self.constrained:
            raise ValueError("search.exact follows docids that exist; search.constrained must be true")
        if self.prior != "none" and not self.constrained:
            raise ValueError(
                f"search.prior={self.prior} is of documents that exist: search.constrained must be true, or"
                " search.prior none"
            )
        if self.ranking == "leaf" and (self.exact or self.error_queries):
            raise ValueError(
                "search.exact and search.error_queries are about probabilities; search.ranking must be path"
            )
        if self.precision == "int8" and (self.exact or self.error_queries):
            raise ValueError(
                "search.precision=int8 rounds by the batch; search.exact and search.error_queries need another"
            )
        return self

    @property
    def unused(self) -> set[str]:
        """The keys of a prior where there is none."""
        return {"prior_documents", "prior_weight", "prior_epsilon"} if self.prior == "none" else set()

    def check_head(self, head: str) -> None:
        """Raise ValueError if a model with this head cannot be searched as this section says."""
        if self.ranking == "leaf" and head != "hierarchical_softmax":
            raise ValueError("search.ranking=leaf needs model.head=hierarchical_softmax")
        if head == "hierarchical_softmax" and not self.constrained:
            raise ValueError(
                "model.head=hierarchical_softmax knows no docids but those that exist; search.constrained must be true"
            )
