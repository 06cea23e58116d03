"""Section `teacher`: a better system that says which documents answer a training query."""

from typing import Literal, Self

from pydantic import model_validator

from dsi.config.scalars import FilePath, PathOrName
from dsi.config.section import Count, Section

Retriever = Literal["bm25", "bi_encoder"]
STATED_OF_TEACHER = ("licence", "trained_on")
"""The keys that only say something of a teacher; no label depends on them."""


class TeacherConfig(Section):
    """The system whose rankings label the training queries, where training.labels or encoder.labels is `teacher`."""

    kind: Literal["bm25", "bi_encoder", "cross_encoder", "run"] = "bm25"
    """bm25: the words of stage lexical. bi_encoder: a sentence-transformers model, exact search. cross_encoder: a
    CrossEncoder of sentence-transformers scores the documents that another teacher finds. run: scores of your own."""
    model: PathOrName = "sentence-transformers/all-MiniLM-L6-v2"
    """bi_encoder, cross_encoder: the model, a name on the Hugging Face hub or a folder."""
    candidates: Retriever = "bm25"
    """cross_encoder: the teacher that finds the documents to score."""
    candidates_model: PathOrName = "sentence-transformers/all-MiniLM-L6-v2"
    """cross_encoder: the model of that teacher, if it is a bi_encoder."""
    path: FilePath | None = None
    """run: the file of scores. Either a TREC run, whose ids are those of the queries of split train; or JSON lines
    {"query": text, "scores": {doc_id: score, ...}} for any training query."""
    documents: Count = 32
    """The number of documents for a query, the best ones."""
    licence: str | None = None
    """The teacher's licence, for the report, and for the model card if it is known at the training. Null: what the
    teacher's own model card says."""
    trained_on: str | None = None
    """What the teacher was trained on, as licence."""

    @model_validator(mode="after")
    def _path_is_named(self) -> Self:
        if self.kind == "run" and self.path is None:
            raise ValueError("teacher.path is needed with teacher.kind=run")
        return self

    @property
    def unused(self) -> set[str]:
        """The keys that other kinds use, and what is only said of the teacher."""
        used = {
            "bm25": set[str](),
            "bi_encoder": {"model"},
            "cross_encoder": {"model", "candidates"},
            "run": {"path"},
        }
        if self.candidates == "bi_encoder":
            used["cross_encoder"].add("candidates_model")
        return {*type(self).model_fields} - {"kind", "documents"} - used[self.kind]

    @property
    def retriever(self) -> Retriever | None:
        """The teacher that searches all documents; None where the scores are given."""
        if self.kind == "run":
            return None
        return self.candidates if self.kind == "cross_encoder" else self.kind

    @property
    def retriever_model(self) -> str | None:
        """The model of the teacher that searches all documents, if it is one that has a model."""
        if self.retriever != "bi_encoder":
            return None
        return self.candidates_model if self.kind == "cross_encoder" else self.model
