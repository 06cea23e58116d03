"""The place of this process among those of a launcher: `accelerate launch` and torchrun set it in the environment."""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import NamedTuple

from dsi.errors import DsiError


class OthersAtWork(Exception):
    """This task of a job array has done its part; what comes next needs those of others, for which it never waits."""


class Rank(NamedTuple):
    """The number of a process, from 0, and how many processes share the work."""

    process: int
    processes: int


ALONE = Rank(0, 1)
"""The rank of a process that shares its work with no other."""
LONGEST_WAIT = timedelta(days=7)
"""The longest that processes wait for each other: one may read the whole corpus meanwhile."""


_array_task: Rank | None = None
"""The place of this process in a job array whose tasks work for themselves (see dsi.runtime.slurm)."""
_does_own_part = False
"""Whether this process does its part of a pass now, rather than what one process does for all."""


def be_array_task(place: Rank | None) -> None:
    """Have this process work as one task of a job array, or, with None, as none."""
    global _array_task
    _array_task = place


def array_task() -> Rank | None:
    """The place of this process in a job array, if it works as one of its tasks."""
    return _array_task


@contextmanager
def own_part() -> Iterator[None]:
    """Let this task of a job array do its part of a pass in the block, and leave it by `OthersAtWork` where it would
    have to wait for others."""
    global _does_own_part
    _does_own_part = True
    try:
        yield
    finally:
        _does_own_part = False


def does_own_part() -> bool:
    """Whether this is a task of a job array that does its part of a pass."""
    return _does_own_part


def rank() -> Rank:
    """The rank of this process among those that share the work: all processes of all nodes.

    Raises:
        DsiError: the environment has no numbers for it.
    """
    if _does_own_part and _array_task is not None:
        return _array_task
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
    return not _does_own_part and rank().process == 0


def wait_for_everyone() -> None:
    """Return once every process of the launcher has called this function as often as this process."""
    if rank().processes > 1:
        import torch
        from accelerate import PartialState

        # a process on the CPU would be in no group if accelerate were not told, and not wait
        is_cpu = os.environ.get("ACCELERATE_USE_CPU") == "true" or not torch.accelerator.is_available()
        PartialState(cpu=is_cpu, timeout=LONGEST_WAIT).wait_for_everyone()


def wait_until(done: Callable[[], bool]) -> None:
    """Return once `done()` holds, by the work of other processes; of one that dies dsi.runtime.lifeline takes care.

    Raises:
        OthersAtWork: it does not hold yet, and this is a task of a job array.
    """
    while not done():
        if _does_own_part:
            raise OthersAtWork
        time.sleep(0.5)
