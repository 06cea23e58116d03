"""What a launcher leaves in the environment: checked before any work, cleared of what the configuration decides."""

import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import cache
from typing import Any

from dsi.errors import DsiError, first_line
from dsi.runtime import lifeline
from dsi.runtime.processes import local_process_index, rank

PLACE = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
"""The variables by which a launcher gives each process its place."""
SWITCHES = ("ACCELERATE_USE_CPU", "ACCELERATE_USE_FSDP", "ACCELERATE_DEBUG_MODE", "ACCELERATE_CPU_AFFINITY")
"""accelerate's variables that say how processes share the work and change no result."""
ENGINES = ("ACCELERATE_USE_DEEPSPEED", "ACCELERATE_USE_MEGATRON_LM", "ACCELERATE_USE_PARALLELISM_CONFIG")
"""accelerate's variables that ask for another way of training than those that dsi has."""
TRUE, FALSE = ("y", "yes", "t", "true", "on", "1"), ("n", "no", "f", "false", "off", "0", "")
FIRST_WAIT = timedelta(seconds=30)
"""The longest that processes wait for each other at the start; a launcher starts them within seconds."""


def prepare_environment() -> None:
    """Let the configuration decide over what `accelerate` would take from the environment, as its precision.

    Of its variables only `SWITCHES` stay, FSDP's where there is a launcher.

    Raises:
        DsiError: a variable has no such value, or asks for a way of training that dsi does not have.
    """
    for name in filter(_is_on, ENGINES):
        raise DsiError(
            f"{name}={os.environ[name]}: dsi trains on one process, or on several with all weights (DDP) or parts of"
            f" them (FSDP); `unset {name}`, or choose one of these for `accelerate launch`"
        )
    for name in [name for name in os.environ if name.startswith("ACCELERATE_") and name not in SWITCHES]:
        del os.environ[name]
    for name in SWITCHES:
        if name in os.environ:
            os.environ[name] = str(_is_on(name)).lower()
    if "LOCAL_RANK" not in os.environ:
        os.environ.pop("ACCELERATE_USE_FSDP", None)


def is_fsdp() -> bool:
    """Whether the launcher has processes divide the parameters of a model among them (FSDP)."""
    return _is_on("ACCELERATE_USE_FSDP")


def _is_on(name: str) -> bool:
    value = os.environ.get(name, "").strip().lower()
    if value not in TRUE + FALSE:
        raise DsiError(f"{name}={os.environ[name]} is neither true nor false; `unset {name}`")
    return value in TRUE


@contextmanager
def together() -> Iterator[None]:
    """Let the processes of a launcher, if there is one, work in the block together: they meet first, and if one does
    not come to the end of the block, all end.

    Raises:
        DsiError: they do not meet (see `meet`).
    """
    meet()
    try:
        yield
    except BaseException:
        lifeline.fail(rank().process)
        raise
    lifeline.release()


@cache
def meet() -> None:
    """Return once all processes of the launcher, if there is one, have called this function.

    Raises:
        DsiError: the variables of the launcher do not go together, or the others do not come within `FIRST_WAIT`.
    """
    this, found = rank(), " ".join(f"{name}={os.environ[name]}" for name in PLACE if name in os.environ)
    advice = f"; to run a single process, `unset {' '.join(PLACE)}`"
    if not (0 <= this.process < this.processes and 0 <= local_process_index() < this.processes):
        raise DsiError(f"{found}: the environment names no process of {this.processes}, counted from 0{advice}")
    if this.processes == 1 and "LOCAL_RANK" not in os.environ:
        return
    if missing := [name for name in PLACE if not os.environ.get(name)]:
        raise DsiError(f"{found}: a launcher sets more: {' '.join(missing)}{advice}")
    if this.processes == 1:
        return
    host, port = os.environ["MASTER_ADDR"], os.environ["MASTER_PORT"]
    try:
        _reach(host, int(port), listening=this.process > 0)
        store, key = _wait_at_store(), "dsi/lifeline"
        lifeline.hold(this, host, lambda: store.get(key), lambda place: store.set(key, place), FIRST_WAIT)
    except (OSError, RuntimeError, ValueError, OverflowError) as error:
        raise DsiError(
            f"{found}: process {this.process} of {this.processes} does not find the others at {host}:{port} within"
            f" {FIRST_WAIT.seconds} s ({first_line(error)}){advice}"
        ) from None


def _reach(host: str, port: int, listening: bool) -> None:
    """Return once the host is known and, if asked for, something listens: PyTorch fills a page where that fails."""
    deadline = time.monotonic() + FIRST_WAIT.seconds
    socket.getaddrinfo(host, port)
    while listening:
        try:
            socket.create_connection((host, port), timeout=FIRST_WAIT.seconds).close()
        except ConnectionError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.2)
        else:
            return


@cache
def _wait_at_store() -> Any:
    """The store of the process group, in which every process has said by now that it is there."""
    from torch.distributed import rendezvous

    store, process, processes = next(iter(rendezvous("env://", timeout=FIRST_WAIT)))
    store.set(f"dsi/{process}", "here")
    store.wait([f"dsi/{other}" for other in range(processes)], FIRST_WAIT)
    return store  # kept: the others may still read what is in it
