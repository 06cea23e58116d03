"""The place of this process among those of a launcher: `accelerate launch` and torchrun set it in the environment."""

import os
import time
from collections.abc import Callable
from datetime import timedelta
from typing import NamedTuple

from dsi.errors import DsiError


class Rank(NamedTuple):
    """The number of a process, from 0, and how many processes share the work."""

    process: int
    processes: int


ALONE = Rank(0, 1)
"""The rank of a process that shares its work with no other."""
LONGEST_WAIT = timedelta(days=7)
"""The longest that processes wait for each other: one may read the whole corpus meanwhile."""


def rank() -> Rank:
    """The rank of this process among all processes of all nodes.

    Raises:
        DsiError: the environment has no numbers for it.
    """
    return Rank(_number("RANK", 0), _number("WORLD_SIZE", 1))


def local_process_index() -> int:
    """The number of this process among those of its node, from 0."""
    return _number("LOCAL_RANK", 0)


def processes_here() -> int:
    """The number of processes on this node."""
    return _number("LOCAL_WORLD_SIZE", rank().processes)


def _number(name: str, default: int) -> int:
    value = os.environ.get(name) or str(default)
    try:
        return int(value)
    except ValueError:
        raise DsiError(f"{name}={value}: launchers set a number; to run a single process, `unset {name}`") from None


def is_first_process() -> bool:
    """Whether this is the one process that writes and prints what all have in common."""
    return rank().process == 0


def wait_for_everyone() -> None:
    """Return once every process of the launcher has called this function as often as this process."""
    if rank().processes > 1:
        from accelerate import PartialState

        PartialState(timeout=LONGEST_WAIT).wait_for_everyone()


def wait_until(done: Callable[[], bool]) -> None:
    """Return once `done()` holds, by the work of other processes; if one fails, the launcher ends all of them."""
    while not done():
        time.sleep(0.5)
