"""Section `training`: tasks, steps and rates."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from dsi.config.search import Ranking
from dsi.config.section import Count, CountOrZero, Rate, Section, Seed, Weight


class TasksConfig(Section):
    """Share of each training task in the examples, up to a common factor; 0 leaves it out. The paper's best for MS
    MARCO is synthetic queries alone; it gives no shares for mixtures (DSI: 32 texts to a labelled query)."""

    d2q: Weight = 1.0
    """Synthetic query to docid."""
    first_p: Weight = 0.0
    """First tokens of the document to docid (FirstP)."""
    daq: Weight = 0.0
    """Random spans of the document to docid (DaQ)."""
    labelled: Weight = 0.0
    """Queries of split train to the docids of their relevant documents."""
    passage_length: Count = 64
    """first_p, daq: tokens of a text."""
    spans: Count = 10
    """daq: spans a document; one that is not longer than a span is its only one."""

    @model_validator(mode="after")
    def _something_to_learn(self) -> Self:
        if not self.d2q + self.first_p + self.daq + self.labelled:
            raise ValueError("training.tasks: all weights are 0")
        return self


class TrainingConfig(Section):
    tasks: TasksConfig = TasksConfig()
    steps: Count = 3_000
    rounds: Count = 1
    """Trainings of so many steps, one after the other, each with its own warm-up and decay. After each one, the
    document states of the model as trained are added to the output rows (where model.warm_start applies), if that ranks
    the dev queries better."""
    batch_size: Count = 256
    """Examples an optimiser step, over all processes and accumulated micro-batches."""
    accumulation: Count = 1
    """Micro-batches an optimiser step."""
    optimizer: Literal["adamw", "adafactor"] = "adamw"
    """adafactor: T5's, for output rows too many for AdamW's two moments; its steps are relative to the parameters'
    size, so that the three learning rates can be equal (T5 and the paper: 1e-3; from random weights 1e-2)."""
    learning_rate: Rate = 1e-3
    """Step of the transformer's matrices."""
    embedding_learning_rate: Rate = 2e-2
    """Step of the input embeddings. T5 starts them at standard deviation 1, some 16 times the matrices' scale."""
    head_learning_rate: Rate | None = None
    """Step of the docid output rows. Null: 12 divided by the number of documents, within 1e-4 and 2e-3; a larger one
    ruins a warm start."""
    warmup_steps: CountOrZero = 100
    eval_steps: Count = 500
    """Steps between two points of the dev curve, each also a checkpoint."""
    dev_queries: Count = 1_000
    """Dev queries behind a point of the curve (the first in corpus order)."""
    dev_ranking: Ranking = "path"
    """How documents are ordered for the curve; see search.ranking."""
    patience: Count | None = None
    """Stop after this many points without a better dev RR@10. Null never stops early."""
    consistency: Annotated[float, Field(ge=0)] = 0.0
    """Weight of the consistency loss, the divergence between two passes with different dropout (NCI: 0.15 and
    model.dropout=0.1). Doubles the cost of a step."""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """auto: bfloat16 where the GPU has it. float16 is not offered: T5 overflows in it."""
    seed: Seed = 0

    @model_validator(mode="after")
    def _whole_micro_batches(self) -> Self:
        if self.batch_size % self.accumulation:
            raise ValueError("training.batch_size must be a multiple of training.accumulation")
        return self
