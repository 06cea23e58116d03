"""Faults of file systems, which the user can mend, told from errors of the program."""

import errno
import os

FULL = {errno.ENOSPC: "the disk is full", errno.EDQUOT: "the disk quota is used up"}
FAULTS = {
    errno.EROFS: "the file system is read-only",
    errno.EACCES: "you may not write or read there",
    errno.EPERM: "that is not permitted",
    errno.EIO: "the disk failed",
    errno.ENOLCK: "the file system has no locks",
    errno.EMFILE: "too many files are open; raise the limit (ulimit -n)",
    errno.ENFILE: "too many files are open on this machine",
    errno.ENAMETOOLONG: "the name is too long",
    errno.ENOTDIR: "there is a file where a folder should be",
    errno.EISDIR: "there is a folder where a file should be",
    errno.EEXIST: "there is a file already",
    errno.ELOOP: "links lead in a circle",
    errno.ESTALE: "the file system is not there any more",
}
"""What they mean. That a file does not exist is not among them: that may be an error of the program."""


def file_fault(error: BaseException | None) -> str | None:
    """The message for an error of the file system, or for one that such an error led to; None for other errors."""
    while error is not None:
        number = error.errno if isinstance(error, OSError) else None
        for full, meaning in FULL.items():  # safetensors and SQLite say so in words only
            if number == full or os.strerror(full) in str(error) or "database or disk is full" in str(error):
                return f"{meaning}; what is finished is kept: make room and give the same command again"
        if isinstance(error, OSError) and number in FAULTS and error.filename is not None:
            name = os.fsdecode(error.filename) if not isinstance(error.filename, int) else "a file"
            return f"{name}: {FAULTS[number]}"
        if "attempt to write a readonly database" in str(error):
            return f"a database in the folder of runs: {FAULTS[errno.EROFS]}"
        error = error.__cause__ or error.__context__
    return None
