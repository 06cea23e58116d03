"""The kinds of teachers. Each knows, for a batch of queries, its best documents with their scores."""

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from dsi.config import TeacherConfig
from dsi.corpus.store import Corpus
from dsi.corpus.vectors import VECTORS
from dsi.embeddings.embed import model_of
from dsi.embeddings.sentence_encoder import check_encoder
from dsi.lexical.index_terms import Terms
from dsi.teacher.bi_encoder import BiEncoder
from dsi.teacher.cross_encoder import CrossEncoder
from dsi.teacher.given import GivenScores, check_scores


class Teacher(Protocol):
    """A system that labels queries."""

    def best(self, texts: Sequence[str], count: int) -> tuple[NDArray[np.uint32], NDArray[np.float32]]:
        """The doc_index and the score of the `count` best documents for each text, each (texts, count), best first;
        where there are fewer, the rest has the score -inf."""


def check_teacher(config: TeacherConfig) -> None:
    """Check the models or the first scores of a teacher, without loading it.

    Raises:
        DsiError: it cannot be used.
    """
    if config.kind == "run":
        check_scores(config.path or "")
    if config.kind in ("bi_encoder", "cross_encoder"):
        check_encoder(config.model, "teacher.model")
    if config.kind == "cross_encoder" and config.retriever_model is not None:
        check_encoder(config.retriever_model, "teacher.candidates_model")


def vectors_of(config: TeacherConfig, teacher_folder: Path, embeddings_folder: Path | None) -> Path | None:
    """The file of the vectors of all documents, if the teacher searches among such: that of the stage embeddings if it
    was made by the same model, else that of the stage teacher."""
    if config.retriever_model is None:
        return None
    if embeddings_folder is not None and model_of(embeddings_folder) == config.retriever_model:
        return embeddings_folder / VECTORS
    return teacher_folder / VECTORS


def open_teacher(
    config: TeacherConfig, corpus: Corpus, lexical_folder: Path | None, vectors: Path | None, given: Path | None
) -> Teacher:
    """The teacher that the configuration asks for. `vectors` is the file of a bi-encoder's vectors of all documents,
    `given` that of the scores of kind run.

    Raises:
        DsiError: its model cannot be loaded.
    """
    if config.kind == "run":
        assert given is not None
        return GivenScores(given)
    if config.retriever == "bm25":
        assert lexical_folder is not None  # the table of stages gives it for this teacher
        retriever: Teacher = Terms(lexical_folder)
    else:
        assert vectors is not None
        assert config.retriever_model is not None
        retriever = BiEncoder(config.retriever_model, vectors)
    if config.kind != "cross_encoder":
        return retriever
    return CrossEncoder(config.model, retriever, corpus)
