"""The labels that a teacher gives training examples: for each, some documents and the weight of each as its answer."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dsi.config import DistillationConfig
from dsi.errors import DsiError
from dsi.teacher.store import SoftLabels

TEMPERATURES = 1e-3 * 10 ** np.linspace(0, 5, 251)
"""The temperatures that are tried, in units of the scores' standard deviation; each is 5% above the one before."""
TOLERANCE = 0.05
"""How far the mean weight at the temperature found may be from the one asked for; a step is at most 0.013."""
SAMPLE = 16_384
"""The number of queries, evenly spaced, that choose among them and tell what the labels are like."""


class TeacherLabels:
    """The label of each training example, as documents and weights.

    Args:
        examples: the number of examples of each task, in the order of their rows.

    Raises:
        DsiError: the teacher did not label these examples.
    """

    def __init__(
        self,
        soft: SoftLabels,
        examples: Mapping[str, int],
        doc_index: NDArray[np.integer[Any]],
        config: DistillationConfig,
    ) -> None:
        self.soft, self.hard_share = soft, config.hard_share
        self.spans = _spans(soft, examples)
        scores, is_own = _sample(soft, self.spans, doc_index)
        known = scores > -np.inf
        if not known[:, 0].any():
            raise DsiError("teacher: it has no scores for any of the queries that are trained on")
        self.temperature = (
            automatic_temperature(scores[is_own[:, 0]], config.own_weight)
            if config.temperature == "auto"
            else config.temperature
        )
        self.facts = {
            "temperature": self.temperature,
            "known": round(float(known[:, 0].mean()), 4),
            "documents": round(float(known[known[:, 0]].sum(axis=1).mean()), 2),
            "own_found": round(float(is_own.any(axis=1).mean()), 4),
            "own_first": round(float(is_own[:, 0].mean()), 4),
        }
        """What the labels are like, over a sample of the queries: the shares of those that the teacher knows documents
        for, and for which it finds the own document, or finds it first; the mean number of documents of those known."""

    def __call__(
        self, rows: NDArray[np.integer[Any]], doc_index: NDArray[np.integer[Any]]
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """The documents of the examples in `rows`, whose own documents are `doc_index`, and the documents' weights.

        Both are (examples, 1 + documents), the own document first, which has the weight 0 where it comes again; the
        weights of an example add up to 1.
        """
        labels = np.full(len(rows), -1)
        for example, label, count in self.spans:
            within = (example <= rows) & (rows < example + count)
            labels[within] = rows[within] - example + label
        known = labels >= 0
        places = np.where(known, labels, 0)
        documents = self.soft.doc_index[places].astype(np.int64)
        soft = softmax(np.where(known[:, None], self.soft.scores[places], -np.inf), self.temperature)
        soft[soft.sum(axis=1) > 0] *= 1 - self.hard_share
        is_own = documents == doc_index[:, None]
        others = np.where(is_own, 0, soft)
        own = np.maximum(1 - others.sum(axis=1, keepdims=True), 0)  # rounding may have taken more than all
        weights = np.concatenate([own, others], axis=1)
        return np.concatenate([doc_index[:, None].astype(np.int64), documents], axis=1), weights.astype(np.float32)


def softmax(scores: NDArray[np.floating[Any]], temperature: float) -> NDArray[np.float64]:
    """The softmax of each row of scores, the largest of which is 0, or all of which are -inf: then of zeros."""
    raised = np.exp(scores.astype(np.float64) / temperature)
    return raised / np.maximum(raised.sum(axis=1, keepdims=True), np.finfo(np.float64).tiny)


def automatic_temperature(scores: NDArray[np.float64], own_weight: float) -> float:
    """The temperature at which the own document's mean weight is closest to `own_weight`, over queries for which the
    teacher ranks it first; `scores` (queries, documents) are theirs. There it only falls with the temperature, from 1,
    whatever the scores' unit.

    Raises:
        DsiError: the teacher ranks no own document first, or no temperature gives about that weight.
    """
    if not len(scores):
        raise DsiError(
            "teacher: it ranks the own document of no training query first, so that there is no temperature to find;"
            " set training.distillation.temperature, or take another teacher"
        )
    scale = float(scores[scores > -np.inf].std()) or 1.0
    means = np.array([softmax(scores, scale * each)[:, 0].mean() for each in TEMPERATURES])
    closest = int(np.abs(means - own_weight).argmin())
    if abs(means[closest] - own_weight) > TOLERANCE:
        raise DsiError(
            "teacher: where it ranks the own document first, no temperature gives that a mean weight near"
            f" training.distillation.own_weight={own_weight}: its scores allow {means.min():.3f} to {means.max():.3f};"
            " set training.distillation.temperature"
        )
    return scale * float(TEMPERATURES[closest])


def _sample(
    soft: SoftLabels, spans: list[tuple[int, int, int]], doc_index: NDArray[np.integer[Any]]
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """The scores of a sample of the queries, evenly spaced, and which documents are their own, (queries, documents)."""
    examples, labels = (
        np.concatenate([np.arange(span[part], span[part] + span[2]) for span in spans] or [np.zeros(0, np.int64)])
        for part in range(2)
    )
    sample = np.linspace(0, len(examples) - 1, min(SAMPLE, len(examples))).astype(np.int64)
    scores = soft.scores[labels[sample]].astype(np.float64)
    is_own = (soft.doc_index[labels[sample]] == doc_index[examples[sample]][:, None]) & (scores > -np.inf)
    return scores, is_own


def _spans(soft: SoftLabels, examples: Mapping[str, int]) -> list[tuple[int, int, int]]:
    """Of each task that the teacher has labelled: the first row of its examples, that of its labels, and their number.

    Raises:
        DsiError: the numbers of examples and labels differ.
    """
    first_label = dict(zip(soft.tasks, np.cumsum([0, *soft.tasks.values()]).tolist(), strict=False))
    spans, first = [], 0
    for task, count in examples.items():
        if task in first_label:
            if count != soft.tasks[task]:
                raise DsiError(
                    f"teacher: it has labels for {soft.tasks[task]:,} queries of training.tasks.{task}, but there"
                    f" are {count:,}; make the stage teacher again"
                )
            spans.append((first, first_label[task], count))
        first += count
    return spans
