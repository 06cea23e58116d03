"""The objective that a configuration asks for."""

from dsi.config import TrainingConfig
from dsi.model.architecture import Objective
from dsi.objectives.consistency import Consistency
from dsi.objectives.softmax import Softmax


def objective_of(training: TrainingConfig) -> Objective:
    """The objective that a training step with these configuration keys minimises."""
    return Consistency(training.consistency) if training.consistency else Softmax()
