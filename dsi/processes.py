"""Which of a launcher's processes this is: `accelerate launch` and torchrun say so in the environment."""

from __future__ import annotations

import os
import time
from collections.abc import Callable


def process_index() -> int:
    """Number of this process among all processes of all nodes, from 0."""
    return int(os.environ.get("RANK", "0"))


def local_process_index() -> int:
    """The same among the processes of this node."""
    return int(os.environ.get("LOCAL_RANK", "0"))


def process_count() -> int:
    return int(os.environ.get("WORLD_SIZE", "1"))


def is_first_process() -> bool:
    return process_index() == 0


def wait_until(done: Callable[[], bool]) -> None:
    """Wait for what other processes write; the launcher ends us all if one of them fails."""
    while not done():
        time.sleep(0.5)
