"""Which of a launcher's processes this is: `accelerate launch` and torchrun say so in the environment."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from datetime import timedelta
from typing import NamedTuple


class Rank(NamedTuple):
    """Which of the processes that share a piece of work."""

    process: int
    """From 0."""
    processes: int


ALONE = Rank(0, 1)
"""Of a process that shares its work with no other."""


LONGEST_WAIT = timedelta(days=7)
"""One process may read the whole corpus while the others wait."""


def rank() -> Rank:
    """This process among all processes of all nodes."""
    return Rank(int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1")))


def local_process_index() -> int:
    """Number of this process among those of its node, from 0."""
    return int(os.environ.get("LOCAL_RANK", "0"))


def is_first_process() -> bool:
    return rank().process == 0


def wait_for_everyone() -> None:
    """Return once every process of the launcher has called this, each as often as the others."""
    if rank().processes > 1:
        from accelerate import PartialState

        PartialState(timeout=LONGEST_WAIT).wait_for_everyone()


def wait_until(done: Callable[[], bool]) -> None:
    """Wait for what other processes write; the launcher ends us all if one of them fails."""
    while not done():
        time.sleep(0.5)
