"""Two stages that processes share, below the folder given: the second process is slow in one, late for the other."""

import sys
import time
from pathlib import Path
from typing import Any

from dsi.artifacts import WORK, Store
from dsi.runtime.processes import is_first_process, rank, wait_until

store = Store(Path(sys.argv[1]))


def make(out: Path) -> dict[str, Any]:
    if is_first_process():
        (out / WORK / "shared").touch()
    else:
        time.sleep(1)
        wait_until((out / WORK / "shared").exists)
    (out / f"process-{rank().process}").touch()
    return {}


for stage in ("slow", "late"):
    if stage == "late" and not is_first_process():
        time.sleep(1)
    store.build(stage, {}, make, parallel=True)
