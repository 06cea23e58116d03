"""Section `training`: tasks, steps and rates."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from dsi.config.search import Ranking
from dsi.config.section import Count, CountOrZero, InnerShare, Rate, RateOrAuto, Section, Seed, Share, Weight


class TasksConfig(Section):
    """The training tasks: for each, its share of the examples, up to a common factor; 0 leaves it out. The paper's best
    for MS MARCO is d2q alone; it gives no shares for mixtures (DSI: 32 texts per labelled query)."""

    d2q: Weight = 1.0
    """From a synthetic query to the docid of its document (D2Q)."""
    first_p: Weight = 0.0
    """From the first tokens of a document to its docid (FirstP)."""
    daq: Weight = 0.0
    """From random spans of a document to its docid (document as query, DaQ)."""
    labelled: Weight = 0.0
    """From a query of split train to the docids of its relevant documents."""
    passage_length: Count = 64
    """first_p, daq: length of the text, in tokens."""
    spans: Count = 10
    """daq: spans per document; a document that is not longer than a span is its only one."""

    @model_validator(mode="after")
    def _something_to_learn(self) -> Self:
        if not self.d2q + self.first_p + self.daq + self.labelled:
            raise ValueError("training.tasks: all weights are 0")
        return self


Labels = Literal["document", "teacher"]
Logger = Literal["tensorboard", "wandb", "trackio"]
Softmax = Literal["auto", "full", "chunked", "sampled"]
FULL_ROWS = 20_000
"""The number of output rows up to which training.softmax=auto is full."""


class DistillationConfig(Section):
    """How a teacher's scores of the documents become the label of a training query."""

    temperature: RateOrAuto = "auto"
    """The label is the softmax of the scores divided by this. auto: the temperature at which a query's own document has
    the mean weight own_weight where the teacher ranks it first, so that neither BM25's scores nor cosines, and no size
    of the corpus, need another setting."""
    own_weight: InnerShare = 0.6
    """auto: that weight, between 0 and 1. A larger one makes sharper labels."""
    hard_share: Share = 0.0
    """The share of the label that the own document alone gets; with 1 it is the whole label."""

    @property
    def unused(self) -> set[str]:
        """own_weight, where the temperature is given."""
        return set() if self.temperature == "auto" else {"own_weight"}


class TrainingConfig(Section):
    """The training of the model to map queries to docids."""

    tasks: TasksConfig = TasksConfig()
    labels: Labels = "document"
    """What the model learns to predict for a query. document: its own document. teacher: the documents that a better
    system finds, as probable as that system's scores say (distillation, section teacher). Texts of first_p and daq, and
    queries for which the teacher finds nothing, keep their own document."""
    distillation: DistillationConfig = DistillationConfig()
    softmax: Softmax = "auto"
    """How a step weighs the output rows of all documents. full: all logits at once, the rows parameters like others.
    chunked: the same loss by chunks of rows, each changed while its gradient is known, which needs the memory of the
    rows alone. sampled: over the rows of the batch's labels and those drawn besides, so that a step costs the same
    however many documents there are. With chunked and sampled, processes divide the rows of a plain head; a tree's need
    one process. auto: full up to 20,000 output rows, with other heads, and wherever the others do not work; sampled
    above."""
    row_precision: Literal["float32", "bfloat16"] = "float32"
    """chunked, sampled: the number format of the output rows. bfloat16, with stochastic rounding, halves their
    memory."""
    row_optimizer: Literal["sgd", "adagrad"] = "sgd"
    """chunked, sampled: the step rule of the output rows. adagrad: a row that changes often changes less (one more
    number a row)."""
    row_learning_rate: Rate = 3.0
    """chunked, sampled: by how much the logit of an improbable document rises when a query of the batch asks for it,
    whatever the sizes of model, batch and corpus. However many of its queries ask for a row, a loss moves no logit by
    more in a step."""
    uniform_negatives: Count = 1_024
    """sampled: how many rows are drawn in a step from all there are. In a docid tree, how many are drawn of a node's
    children where these are more."""
    neighbour_negatives: CountOrZero = 1_024
    """sampled: how many more are drawn near the documents of the batch: from their k-means clusters of rows; with a
    docid tree and a teacher, from the leaves beside theirs."""
    steps: Count = 3_000
    """Optimiser steps per round."""
    rounds: Count = 1
    """Rounds in a row, each with its own warm-up and decay. After a round, the document states of the trained model are
    added to the output rows (where model.warm_start applies) if that ranks the dev queries better."""
    batch_size: Count = 256
    """Examples per optimiser step, over all processes and micro-batches."""
    accumulation: Count = 1
    """Micro-batches per optimiser step."""
    optimizer: Literal["adamw", "adafactor"] = "adamw"
    """adafactor: T5's optimiser, for output rows too many for the two moments of AdamW. Its steps are relative to the
    size of the parameters, so that all learning rates can be equal (T5 and the paper: 1e-3; random weights: 1e-2)."""
    learning_rate: Rate = 1e-3
    """Learning rate of the transformer's matrices."""
    embedding_learning_rate: Rate = 2e-2
    """Learning rate of the embeddings. T5 starts them at standard deviation 1, some 16 times the matrices' scale."""
    head_learning_rate: Rate | None = None
    """full: learning rate of the docid output rows; a large one ruins a warm start. Null: 12 divided by the number of
    documents, within 1e-4 and 2e-3."""
    warmup_steps: CountOrZero = 100
    """Steps over which the learning rates rise from 0; afterwards they fall to 0 linearly."""
    eval_steps: Count = 500
    """Steps between two points of the dev curve, each also a checkpoint."""
    dev_queries: Count = 1_000
    """Dev queries per point of the curve, the first ones of the corpus."""
    dev_ranking: Ranking = "path"
    """How documents are ordered for the curve, as in search.ranking."""
    patience: Count | None = None
    """Number of points in a row without a better dev RR@10 after which a round stops early. Null never stops early."""
    consistency: Annotated[float, Field(ge=0)] = 0.0
    """Weight of the consistency loss, the divergence between two passes with different dropout (NCI: 0.15, with
    model.dropout=0.1). Above 0 it doubles the cost of a step."""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """auto: bfloat16 on a GPU that has it, else float32. float16 is not offered: T5 overflows in it."""
    seed: Seed = 0
    """Seed of the initial weights, of dropout, of spans and of the order of the examples."""
    report_to: list[Logger] = []
    """Loggers, as the Trainer spells them, that every training of the run reports to: this one, the query generator's
    and the dual encoder's. Their files are in runs/NAME/logs; they change no result."""

    @property
    def unused(self) -> set[str]:
        """report_to; distillation, where there is no teacher, and the keys of another softmax."""
        unused = {"report_to"} if self.labels == "teacher" else {"report_to", "distillation"}
        if self.softmax in ("full", "chunked"):
            unused |= {"uniform_negatives", "neighbour_negatives"}
        if self.softmax == "full":
            unused |= {"row_precision", "row_optimizer", "row_learning_rate"}
        if self.softmax in ("chunked", "sampled"):
            unused |= {"head_learning_rate"}
        return unused

    def settled(self, rows: int, head: str) -> Self:
        """This section with what training.softmax=auto means for so many output rows of a head."""
        if self.softmax != "auto":
            return self
        is_bound = self.consistency > 0 or self.accumulation > 1 or head != "plain"
        return self.model_copy(update={"softmax": "full" if is_bound or rows <= FULL_ROWS else "sampled"})

    @model_validator(mode="after")
    def _one_visit_a_step(self) -> Self:
        if self.softmax in ("auto", "full"):
            return self
        if self.consistency:
            raise ValueError(
                f"training.consistency needs training.softmax=full: with {self.softmax} no step has the probabilities"
                " of all documents"
            )
        if self.accumulation > 1:
            raise ValueError(
                f"training.softmax={self.softmax} needs training.accumulation=1: output rows change with every"
                " micro-batch; take a smaller training.batch_size, or more processes"
            )
        return self

    @model_validator(mode="after")
    def _teacher_has_queries(self) -> Self:
        if self.labels == "teacher" and not self.tasks.d2q + self.tasks.labelled:
            raise ValueError(
                "training.labels=teacher needs training.tasks.d2q or labelled: a teacher labels queries only"
            )
        return self

    @model_validator(mode="after")
    def _whole_micro_batches(self) -> Self:
        if self.batch_size % self.accumulation:
            raise ValueError("training.batch_size must be a multiple of training.accumulation")
        return self
