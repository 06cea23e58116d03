"""Section `doc2query`: synthetic queries."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from dsi.config.scalars import PathOrName
from dsi.config.section import Count, CountOrZero, Rate, Section, Seed, Share


class KnownItemConfig(Section):
    """Known-item simulation (Azzopardi et al. 2007): a query is some words drawn from its document."""

    queries: CountOrZero = 40
    """Queries per document; 0 turns the simulation off."""
    min_words: Count = 2
    """Smallest number of words drawn for a query; a word that is drawn twice is in it once."""
    mean_words: Rate = 4.5
    """Mean number of words drawn for a query; those above min_words follow a Poisson distribution."""
    terms: Literal["tf_idf", "popular", "discriminative"] = "tf_idf"
    """What the probability of a word is proportional to. tf_idf: its damped frequency in the document times a power of
    the inverse document frequency. popular: the frequency. discriminative: one over the document frequency."""
    discrimination: Annotated[float, Field(ge=0)] = 1.5
    """tf_idf: the power. A larger one prefers rare words."""
    title_weight: Annotated[float, Field(gt=0)] = 1.0
    """tf_idf, popular: number of occurrences that one in the title counts as."""
    noise: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Probability that a word is replaced by one of the collection: real queries have words that the document lacks."""
    spans: Share = 0.0
    """Share of queries that are consecutive words of the document instead, as where queries are whole sentences."""

    @model_validator(mode="after")
    def _lengths(self) -> Self:
        if self.mean_words < self.min_words:
            raise ValueError("doc2query.known_item.mean_words is below min_words")
        return self


class T5GeneratorConfig(Section):
    """Queries sampled from the model of section generator. Defaults: docTTTTTquery's and the paper's (section 6.1)."""

    queries: CountOrZero = 0
    """Queries per document; 0 turns the sampling off."""
    top_k: Count = 10
    """The next token is drawn from this many most probable ones; 1 is greedy decoding."""
    temperature: Rate = 1.0
    """Temperature of the softmax over these tokens."""
    document_length: Count = 512
    """Longest document, in tokens; the rest is cut."""
    query_length: Count = 64
    """Longest query, in tokens."""
    prefix: str = ""
    """Text put before every document, for checkpoints that expect one."""
    batch_tokens: Count = 32_768
    """Largest number of tokens in a batch of documents and their queries; bounds the memory."""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """auto: bfloat16 on a GPU that has it, else float32."""


class PredictionsConfig(Section):
    """Queries that others have generated and released."""

    path: PathOrName | None = None
    """Where the queries are; null: none. Text files as docTTTTTquery's, one or a folder of them: line n, from 0, is a
    query for the document with id n, and every file is one more sample, or several numbered parts; all samples must
    have a line for every document. JSON lines {"id": ..., "predicted_queries": [...]}, a file or a folder of them; an
    id may come again. Or the name of a Hugging Face dataset with these two columns."""
    queries: Count = 40
    """Largest number of queries per document; the first ones are taken."""


class Doc2QueryConfig(Section):
    """The synthetic queries of every document: the union of what known_item, t5 and predictions give."""

    known_item: KnownItemConfig = KnownItemConfig()
    t5: T5GeneratorConfig = T5GeneratorConfig()
    predictions: PredictionsConfig = PredictionsConfig()
    shard_size: Count = 10_000
    """Documents per shard, the unit of resuming and of random draws."""
    seed: Seed = 0
    """Seed of known_item and t5."""
