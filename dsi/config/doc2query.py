"""Section `doc2query`: synthetic queries."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from dsi.config.section import Count, CountOrZero, Rate, Section, Seed, Share


class KnownItemConfig(Section):
    """Term models and noise are those of Azzopardi et al. 2007."""

    queries: CountOrZero = 40
    """Simulated queries a document; 0 turns the generator off."""
    min_words: Count = 2
    """Words of the shortest query (fewer if a word is drawn twice)."""
    mean_words: Rate = 4.5
    """Mean number of words; those above min_words follow a Poisson distribution."""
    terms: Literal["tf_idf", "popular", "discriminative"] = "tf_idf"
    """How a document's words are drawn. tf_idf: damped frequency times a power of the inverse document frequency;
    popular: by frequency in the document; discriminative: inversely to the number of documents."""
    discrimination: Annotated[float, Field(ge=0)] = 1.5
    """tf_idf: that power. More prefers rare words."""
    title_weight: Annotated[float, Field(gt=0)] = 1.0
    """tf_idf, popular: occurrences that one in the title counts as."""
    noise: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Chance that a word is replaced by one of the collection: what a query says that its document does not."""
    spans: Share = 0.0
    """Share of queries that are consecutive words of the document instead: for queries that are whole sentences."""

    @model_validator(mode="after")
    def _lengths(self) -> Self:
        if self.mean_words < self.min_words:
            raise ValueError("doc2query.known_item.mean_words is below min_words")
        return self


class T5GeneratorConfig(Section):
    """Defaults are docTTTTTquery's and the paper's (section 6.1)."""

    queries: CountOrZero = 0
    """Queries sampled a document from the model of section `generator`; 0 turns it off."""
    top_k: Count = 10
    """A token is drawn from this many most probable ones; 1 is greedy."""
    temperature: Rate = 1.0
    document_length: Count = 512
    """Input tokens of a document, the rest is cut."""
    query_length: Count = 64
    """Longest query, in tokens."""
    prefix: str = ""
    """Text before every document, for checkpoints that expect one."""
    batch_tokens: Count = 32_768
    """Tokens, read and at most written, of the documents that go together: bounds the memory."""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """auto: bfloat16 where the GPU has it."""


class PredictionsConfig(Section):
    path: str | None = None
    """Released queries. docTTTTTquery's text files, a folder or one file: line n, from 0, belongs to the document with
    id n, and several files are several samples. JSON lines {"id": ..., "predicted_queries": [...]}, a folder or one
    file. Or the name of a Hugging Face dataset with these two columns."""
    queries: Count = 40
    """The first so many a document."""


class Doc2QueryConfig(Section):
    """Generators that are on (queries above 0, a path) add up to a mixture."""

    known_item: KnownItemConfig = KnownItemConfig()
    """Known-item simulation (Azzopardi et al. 2007): words drawn from the document by discriminative power."""
    t5: T5GeneratorConfig = T5GeneratorConfig()
    """Queries sampled from a sequence-to-sequence model (docTTTTTquery)."""
    predictions: PredictionsConfig = PredictionsConfig()
    """Queries that others have generated and released."""
    shard_size: Count = 10_000
    """Documents a shard: the unit of resuming and of randomness."""
    seed: Seed = 0
