"""The place of this process in a job of Slurm, whose variables are read only when `--launcher` asks for it.

With `slurm`, the tasks of a job step (srun) work together, as the processes of torchrun do. With `array`, each task of
a job array works for itself, at any time: it makes its shards and waits for no other's; the last one does what is left.
"""

import os
import re

from dsi.errors import DsiError
from dsi.runtime.processes import Rank

LAUNCHERS = ("slurm", "array")
STEP = {"RANK": "SLURM_PROCID", "LOCAL_RANK": "SLURM_LOCALID", "WORLD_SIZE": "SLURM_NTASKS"}
"""The variables of torchrun and those of a task of a job step that mean the same."""
FIRST_PORT, PORTS = 20_000, 20_000
"""The ports of which a job takes the one of its number, so that jobs on the same node have others."""


def place_in_step() -> None:
    """Set what torchrun would set from the variables of a job step; what is set already, of the address, stays.

    Raises:
        DsiError: this is no task of a job step.
    """
    advice = "start it by `srun dsi ... --launcher slurm`"
    for ours, theirs in STEP.items():
        os.environ[ours] = str(_number(theirs, "slurm", advice))
    tasks = re.match(r"\d+", os.environ.get("SLURM_STEP_TASKS_PER_NODE", ""))
    os.environ["LOCAL_WORLD_SIZE"] = tasks.group() if tasks else os.environ["WORLD_SIZE"]
    os.environ.setdefault("MASTER_ADDR", first_node(os.environ.get("SLURM_STEP_NODELIST") or "localhost"))
    job = _number("SLURM_JOB_ID", "slurm", advice)
    os.environ.setdefault("MASTER_PORT", str(FIRST_PORT + job % PORTS))


def rank_in_array() -> Rank:
    """The place of this task among those of its job array.

    Raises:
        DsiError: this is no task of a job array, or of one whose numbers do not follow each other.
    """
    advice = "start it in a job of `sbatch --array=0-99`"
    names = ("TASK_ID", "TASK_MIN", "TASK_MAX", "TASK_COUNT")
    task, first, last, count = (_number(f"SLURM_ARRAY_{name}", "array", advice) for name in names)
    if last - first + 1 != count or not first <= task <= last:
        raise DsiError(
            f"--launcher array: the array has {count} tasks numbered {first} to {last}; number them without gaps, so"
            " that every shard has a task"
        )
    return Rank(task - first, count)


def first_node(nodes: str) -> str:
    """The first host of a list as Slurm writes it.

    >>> [first_node(nodes) for nodes in ("gpu[003-004,7],login", "n1,n2", "rack2-[01-04]-ib", "localhost")]
    ['gpu003', 'n1', 'rack2-01-ib', 'localhost']
    """
    start, number, end = re.match(r"([^,\[]*)(?:\[(\w+)[^\]]*\])?([^,\[]*)", nodes).groups()  # type: ignore[union-attr]
    return f"{start}{number or ''}{end}"


def _number(name: str, launcher: str, advice: str) -> int:
    try:
        return int(os.environ[name])
    except (KeyError, ValueError):
        found = f"{name}={os.environ[name]}" if name in os.environ else f"{name} is not set"
        raise DsiError(f"--launcher {launcher}: {found}; {advice}") from None
