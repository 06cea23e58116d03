"""Section `generator`: the model that samples synthetic queries."""

from dsi.config.corpus import TRAIN
from dsi.config.model import T5Sizes
from dsi.config.scalars import FilePath, PathOrName
from dsi.config.section import Count, CountOrZero, Rate, Seed, Share


class GeneratorConfig(T5Sizes):
    """The model that doc2query.t5 samples from, and its training on queries with documents (in-domain D2Q)."""

    checkpoint: PathOrName | None = "castorini/doc2query-t5-base-msmarco"
    """A sequence-to-sequence checkpoint, a name on the Hugging Face hub or a folder. Null starts from random weights,
    with the sizes above and the vocabulary of section tokenizer."""
    steps: CountOrZero = 0
    """Training steps on labelled pairs. If this and simulated_steps are 0, the checkpoint is used as it is."""
    split: str = TRAIN
    """Split of the corpus whose queries, with their relevant documents, are the labelled pairs."""
    extra: list[FilePath] = []
    """BEIR folders whose pairs, of all their splits, are added to the labelled ones."""
    simulated_steps: CountOrZero = 0
    """Training steps on known-item queries of the documents, before `steps`: they teach random weights to copy."""
    batch_size: Count = 64
    """Pairs per step, over all processes."""
    learning_rate: Rate = 1e-4
    """Learning rate of all parameters but the embeddings; the default is docTTTTTquery's."""
    embedding_learning_rate: Rate = 1e-4
    """Learning rate of the embeddings: the same for a checkpoint, larger from random weights (see section training)."""
    eval_steps: Count = 200
    """Steps between two evaluations on the held-out pairs, each also a checkpoint; the best one is kept."""
    held_out: Count = 200
    """Labelled pairs held out, at most a tenth of them."""
    document_length: Count = 512
    """Longest document, in tokens; the rest is cut."""
    query_length: Count = 64
    """Longest query, in tokens; the rest is cut."""
    dropout: Share = 0.1
    """Dropout rate in training."""
    seed: Seed = 0
    """Seed of the initial weights, of the pairs held out and of their order."""

    @property
    def is_trained(self) -> bool:
        """Whether the model is trained before it is used."""
        return self.steps + self.simulated_steps > 0
