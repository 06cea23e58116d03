"""Section `generator`: the model that samples synthetic queries."""

from __future__ import annotations

from dsi.config.corpus import TRAIN
from dsi.config.model import T5Sizes
from dsi.config.section import Count, CountOrZero, Rate, Seed, Share


class GeneratorConfig(T5Sizes):
    """The model behind `doc2query.t5`, and its training on pairs of a document and a real query (the paper's in-domain
    D2Q)."""

    checkpoint: str | None = "castorini/doc2query-t5-base-msmarco"
    """A sequence-to-sequence checkpoint, hub name or folder. Null starts a T5 from random weights with the sizes above
    and the corpus's own vocabulary."""
    steps: CountOrZero = 0
    """Training steps on labelled pairs; 0 uses the checkpoint as it is."""
    split: str = TRAIN
    """Queries of the corpus whose relevant documents make the pairs."""
    extra: list[str] = []
    """BEIR folders whose pairs, of all their splits, are added."""
    simulated_steps: CountOrZero = 0
    """Steps before those on known-item queries of the corpus's documents, which teach a random model to copy."""
    batch_size: Count = 64
    """Pairs a step, over all processes."""
    learning_rate: Rate = 1e-4
    """docTTTTTquery's."""
    embedding_learning_rate: Rate = 1e-4
    """Step of the embeddings: the same for a checkpoint, larger from random weights (see `training`)."""
    eval_steps: Count = 200
    """Steps between two evaluations on held-out pairs; the best model is kept."""
    held_out: Count = 200
    """Labelled pairs held out (at most a tenth of them)."""
    document_length: Count = 512
    query_length: Count = 64
    """Tokens, the rest is cut."""
    dropout: Share = 0.1
    seed: Seed = 0

    @property
    def is_trained(self) -> bool:
        """Whether it is trained before it is used."""
        return self.steps + self.simulated_steps > 0
