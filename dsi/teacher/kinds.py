"""The kinds of teachers. Each knows, for a batch of queries, its best documents with their scores."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from dsi.config import TRAIN, TeacherConfig
from dsi.corpus.store import Corpus
from dsi.embeddings.sentence_encoder import check_bi_encoder
from dsi.errors import DsiError
from dsi.lexical.index_terms import Terms
from dsi.teacher.bi_encoder import BiEncoder
from dsi.teacher.cross_encoder import CrossEncoder, check_cross_encoder
from dsi.teacher.given import GivenScores, check_scores


class Teacher(Protocol):
    """A system that labels queries."""

    def best(self, texts: Sequence[str], count: int) -> tuple[NDArray[np.uint32], NDArray[np.floating[Any]]]:
        """The doc_index and the score of the `count` best documents for each text, each (texts, count), best first;
        where there are fewer, the rest has the score -inf."""


def check_finite(texts: Sequence[str], scores: NDArray[np.floating[Any]]) -> None:
    """Check the scores (texts, count) of a teacher.

    Raises:
        DsiError: a score is NaN or infinite.
    """
    wrong = np.isnan(scores).any(axis=1) | (scores == np.inf).any(axis=1)
    if wrong.any():
        raise DsiError(f"teacher: its scores for query {texts[int(wrong.argmax())]!r:.80} are NaN or infinite")


def check_teacher(config: TeacherConfig, labelled: bool) -> None:
    """Check the models or the first scores of a teacher, without loading it. `labelled` says whether all that learns
    from it trains on the real queries of split train.

    Raises:
        DsiError: it cannot be used.
    """
    if config.kind == "run" and check_scores(config.path or "") and not labelled:
        raise DsiError(
            f"teacher.path: {config.path} is a TREC run, whose queries are those of split {TRAIN}. The index trains on"
            " them with training.tasks.labelled alone, and the dual encoder never; for synthetic queries give scores as"
            " JSON lines with their texts"
        )
    if config.kind == "bi_encoder":
        check_bi_encoder(config.model, "teacher.model")
    if config.kind == "cross_encoder":
        check_cross_encoder(config.model)
    if config.kind == "cross_encoder" and config.retriever_model is not None:
        check_bi_encoder(config.retriever_model, "teacher.candidates_model")


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
