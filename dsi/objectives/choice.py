"""The objective that a configuration asks for."""

import torch

from dsi.config import TrainingConfig
from dsi.docids.store import Docids
from dsi.model.architecture import Objective
from dsi.objectives.consistency import Consistency
from dsi.objectives.distillation import OverLeaves, over_documents
from dsi.objectives.single_pass import LabelLoss, SinglePass
from dsi.objectives.softmax import negative_log_likelihood


def objective_of(training: TrainingConfig, head: str, docids: Docids) -> Objective:
    """The objective that a training step with these configuration keys minimises."""
    loss = _label_loss(training, head, docids)
    return Consistency(loss, training.consistency) if training.consistency else SinglePass(loss)


def _label_loss(training: TrainingConfig, head: str, docids: Docids) -> LabelLoss:
    if training.labels == "teacher" and docids.is_atomic:
        return over_documents
    if training.labels == "teacher" and head == "hierarchical_softmax":
        return OverLeaves(torch.from_numpy(docids.trie.is_leaf))
    return negative_log_likelihood  # a teacher's label has chosen the document
