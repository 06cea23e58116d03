"""Sizes of model and training by the number of documents, for two CPU cores.

| documents up to | why |
| --- | --- |
| 1,000 | half a minute: the words alone rank well, and the index adds to them (docstrings of 500 objects, RR@10 with |
| | the prior: 0.783 after 100 steps, 0.791 after 200, BM25 0.784) |
| 10,000 | the second round and its document states are worth more than as many steps (docs/guide.md, Warm start) |
| 50,000 | each document is seen less often, and a step costs more: the output rows are most of it |
| more | half the width, so that rows and their two moments fit into memory: 1.5 kB a document each |
"""

from typing import Any, NamedTuple


class Sizes(NamedTuple):
    """The keys that follow the number of documents."""

    documents: float
    """The largest number of documents that they are for."""
    vocabulary: int
    queries: int
    """Synthetic queries a document."""
    rounds: int
    steps: int
    """Steps a round."""
    d_model: int = 256

    @property
    def keys(self) -> dict[str, Any]:
        """The keys of a configuration."""
        return {
            "tokenizer.vocabulary": self.vocabulary,
            "doc2query.known_item.queries": self.queries,
            "model.d_model": self.d_model,
            "model.d_ff": 2 * self.d_model,
            "training.rounds": self.rounds,
            "training.steps": self.steps,
            "training.warmup_steps": min(100, self.steps // 3),
            "training.eval_steps": -(-self.steps // 4),
        }


TABLE = (
    Sizes(1_000, vocabulary=4_000, queries=80, rounds=1, steps=150),
    Sizes(10_000, vocabulary=6_000, queries=80, rounds=2, steps=600),
    Sizes(50_000, vocabulary=16_000, queries=20, rounds=2, steps=1_000),
    Sizes(float("inf"), vocabulary=16_000, queries=10, rounds=1, steps=1_500, d_model=128),
)


def sizes_for(documents: int) -> Sizes:
    """The first row of the table for so many documents.

    >>> sizes_for(1_000).steps, sizes_for(1_001).steps
    (150, 600)
    """
    return next(sizes for sizes in TABLE if documents <= sizes.documents)
