"""Sections `baselines` and `encoder`: the systems to compare with, and the training of one of them."""

from typing import Annotated, Literal

from pydantic import Field

from dsi.config.scalars import PathOrName
from dsi.config.section import Count, Rate, Section, Seed, Share
from dsi.config.training import Labels


class EncoderConfig(Section):
    """The training of the baseline dual_encoder, by GTR's recipe; sizes or checkpoint are those of section model."""

    steps: Count = 500
    """Training steps. A step reads whole documents, so that it takes several times as long as one of the index."""
    batch_size: Count = 256
    """Pairs per step, over all processes. The negatives of a query are the other documents of its process's share."""
    learning_rate: Rate = 1e-3
    """Learning rate of all parameters but the embeddings."""
    embedding_learning_rate: Rate = 2e-2
    """Learning rate of the embeddings."""
    save_steps: Count = 100
    """Steps between two checkpoints, as eval_steps of the other trainings."""
    labels: Labels = "document"
    """As training.labels. teacher: the document of a query is drawn from its label."""
    seed: Seed = 0
    """Seed of the initial weights and of the order of the pairs."""


class Bm25Config(Section):
    """Parameters of BM25; the defaults are those of Lucene in pyserini and Anserini."""

    tune: bool = False
    """Whether k1 and b are chosen on the dev queries by the first of evaluation.measures, as the index is; those below
    remain where none of the others is better."""

    k1: Annotated[float, Field(ge=0)] = 0.9
    """Larger: further occurrences of a word in a document count more."""
    b: Share = 0.4
    """Larger: long documents count less; 0 ignores the length."""


TEACHERS = {"teacher", "teacher_int8"}
"""The baselines that are the teacher itself."""


class BaselinesConfig(Section):
    """The systems that the index is compared with."""

    systems: list[Literal["bm25", "bm25_doc2query", "dense", "dual_encoder", "teacher", "teacher_int8"]] = ["bm25"]
    """Any of these. bm25: Lucene through pyserini, with its analyzer for corpus.language. bm25_doc2query: the same over
    documents with their synthetic queries. dense: a sentence-transformers model, exact search by inner product.
    dual_encoder: one trained here on the synthetic queries (section encoder). teacher: the teacher itself (section
    teacher), where training.labels or encoder.labels is teacher. teacher_int8: the same with vectors of int8
    (teacher.kind=bi_encoder)."""
    bm25: Bm25Config = Bm25Config()
    dense_model: PathOrName = "sentence-transformers/gtr-t5-base"
    """dense: the model, a name on the Hugging Face hub or a folder. The paper's is GTR-Base."""
    depth: Count = 100
    """Documents returned per query. teacher: as a cross_encoder it scores so many candidates of each."""

    @property
    def asks_teacher(self) -> bool:
        """Whether the teacher itself is one of the systems."""
        return not TEACHERS.isdisjoint(self.systems)
