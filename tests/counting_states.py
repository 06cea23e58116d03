"""`dsi` with shards of $SHARD documents, which notes in the folder $COUNTED how many states each process computes."""

import os
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dsi.cli import main
from dsi.corpus import vectors
from dsi.model import document_states
from dsi.model.architecture import DifferentiableSearchIndex
from dsi.training import rounds

compute = document_states.states_of


def counted(model: DifferentiableSearchIndex, ids: Sequence[Sequence[int]]) -> NDArray[np.float32]:
    with Path(os.environ["COUNTED"], f"process-{os.environ.get('RANK', '0')}").open("a", encoding="utf-8") as file:
        file.write(f"{len(ids)}\n")
    return compute(model, ids)


vectors.SHARD = int(os.environ["SHARD"])
document_states.states_of = rounds.states_of = counted
sys.exit(main(sys.argv[1:]))
