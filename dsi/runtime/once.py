"""Work that one process does for all that share it."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from dsi.runtime.processes import does_own_part, is_first_process, wait_until
from dsi.runtime.system import lock


def once(done: Callable[[], bool], work: Callable[[], None], lock_file: Path) -> None:
    """Have one process do `work`, after which `done()` holds, unless it holds already.

    Of the processes of a launcher it is the first one, for which the others wait; of the tasks of a job array, of which
    any may be absent, it is whoever comes first, by a lock.
    """
    if does_own_part():
        lock_file.parent.mkdir(parents=True, exist_ok=True)
        with locked(lock_file, lock_file.stem):
            if not done():
                work()
    elif is_first_process() and not done():
        work()
    wait_until(done)


@contextmanager
def locked(path: Path, what: str) -> Iterator[None]:
    """Let one process at a time be in the block, by a lock of the file `path`; `what` is what it makes there."""
    with path.open("wb") as file:
        try:
            lock(file, wait=False)
        except BlockingIOError:
            print(f"{what}: another process is building it, waiting", flush=True)
            lock(file, wait=True)
        except OSError as error:  # as on some network file systems
            print(
                f"dsi: warning: {path.parent} has no locks ({error.strerror}): let one process at a time work on it",
                file=sys.stderr,
            )
        yield
