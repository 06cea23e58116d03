"""What each operating system gives in a way of its own: locks, links, memory, processors, writes to the disk.

Nothing else in dsi imports a module that Windows or macOS lacks. What a system does not tell is None, never a guess.
psutil is imported where it is used: its own module for Linux cannot do without `resource`.
"""

import errno
import os
import shutil
import sys
import time
from pathlib import Path
from typing import IO

_MAXRSS_UNIT = 1 if sys.platform == "darwin" else 1024  # getrusage counts bytes on macOS, KiB on Linux
_NO_PRIVILEGE = 1314
"""The error of Windows where only administrators, or all in its developer mode, may make links."""


def lock(file: IO[bytes], wait: bool) -> None:
    """Lock an open file against other processes until it is closed.

    Raises:
        BlockingIOError: another process has the lock, and this one is not to wait for it.
        OSError: the system or the file system has no locks.
    """
    if sys.platform == "win32":
        import msvcrt

        while True:
            try:
                return msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
            except PermissionError as error:  # another process has it
                if not wait:
                    raise BlockingIOError(*error.args) from None
            time.sleep(0.5)
    try:
        import fcntl
    except ImportError:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK)) from None
    fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))


def forbids_links(error: OSError) -> bool:
    """Whether this error of making a symbolic link says that there can be none, whatever its name."""
    return getattr(error, "winerror", None) == _NO_PRIVILEGE or error.errno in (errno.EPERM, errno.ENOTSUP)


def link_or_copy(source: str | Path, target: str | Path) -> None:
    """Give a file a second name, or copy it where the file system has but one for each file."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


def to_disk(path: Path) -> None:
    """Have the content of a file on the disk."""
    with path.open("r+b" if os.name == "nt" else "rb") as file:  # Windows wants the right to write
        os.fsync(file.fileno())


def is_running(process: int | str) -> bool:
    """Whether a process with this number runs on this machine; True for what is not the number of a process."""
    import psutil

    try:
        return psutil.pid_exists(int(process))  # os.kill(process, 0), which asks elsewhere, interrupts on Windows
    except (ValueError, OverflowError):
        return True


def processors() -> int | None:
    """The number of processors that this process may use; of all, where the system does not tell."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()


def process_peak() -> int | None:
    """The largest resident memory of this process so far, in bytes; None where the system does not tell."""
    if sys.platform == "win32":
        import psutil

        return psutil.Process().memory_info().peak_wset
    try:
        import resource
    except ImportError:
        return None
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _MAXRSS_UNIT


def memory_held() -> dict[str, int]:
    """The resident_bytes of this process, and where there is /proc anonymous_bytes, their part that no file backs."""
    try:
        status = Path("/proc/self/status").read_text(encoding="utf-8")
    except OSError:
        import psutil

        return {"resident_bytes": psutil.Process().memory_info().rss}
    fields = dict(line.split(":", 1) for line in status.splitlines())
    return {
        name: int(fields[key].split()[0]) * 1024
        for name, key in (("resident_bytes", "VmRSS"), ("anonymous_bytes", "RssAnon"))
        if key in fields
    }


def total_memory() -> int:
    """The memory that the processes of this machine, or of this container, may have, in bytes."""
    if not hasattr(os, "sysconf"):
        import psutil

        return psutil.virtual_memory().total
    total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    try:
        return min(total, int(Path("/sys/fs/cgroup/memory.max").read_text(encoding="utf-8")))
    except (OSError, ValueError):  # no control group, or "max"
        return total
