"""`dsi` with shards of $SHARD documents, which notes in the folder $COUNTED how many states each process computes."""

import os
import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dsi.cli import main
from dsi.corpus import vectors
from dsi.model.document_states import StateEncoder

compute = StateEncoder.__call__


def counted(self: StateEncoder, texts: list[str]) -> NDArray[np.float32]:
    with Path(os.environ["COUNTED"], f"process-{os.environ.get('RANK', '0')}").open("a", encoding="utf-8") as file:
        file.write(f"{len(texts)}\n")
    return compute(self, texts)


vectors.SHARD = int(os.environ["SHARD"])
StateEncoder.__call__ = counted  # type: ignore[method-assign]
sys.exit(main(sys.argv[1:]))
