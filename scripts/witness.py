"""Notes every change of a file that a process makes below a folder, and may kill the process before one of them."""

import os
import re
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

START = "start"
"""The part of a start that comes before its first stage."""
BLOW = "blow"
"""The event that is noted before a process kills itself."""
EVENTS = {"os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.symlink", "os.truncate", "os.utime", "shutil.rmtree"}
"""The audit events of Python that change files, beside those of opening one to write."""
UNFINISHED_STAGE = re.compile(r"\.store/(\w+)-\w{16}\.partial\b")


class Blow(NamedTuple):
    """A kill that is planned for a part of a start."""

    part: str
    process: int
    """The number of the process of a launcher."""
    signal: int
    whole: bool
    """Whether it reaches the children of the process, and the other processes of the launcher."""
    change: int = 0
    """It comes before this change of a file in the part, from 1; 0 if it comes at a time."""
    seconds: float = 0.0
    """The time at which it comes, from the beginning of the part."""


class Change(NamedTuple):
    """A change of a file, noted before it is made."""

    at: float
    """The time in seconds, as of `time.monotonic()`."""
    part: str
    """The stage that the process works at, or START."""
    event: str
    path: str
    """The path below the folder; of a rename, the new one."""


class Witness:
    """An audit hook that notes the changes below `folder` in the file `journal`, and strikes with `blows`, by part."""

    def __init__(self, folder: Path, journal: Path, blows: Mapping[str, Blow]) -> None:
        self.folder, self.blows = f"{folder}/", blows
        self.journal = os.open(journal, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        self.part, self.count = START, 0

    def __call__(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event not in EVENTS and not (event == "open" and arguments[2] & (os.O_WRONLY | os.O_RDWR)):
            return
        name = arguments[1 if event in ("os.rename", "os.symlink") else 0]
        if not isinstance(name, str | os.PathLike):
            return
        path = os.fspath(name)
        if os.path.isabs(path) and not path.startswith(self.folder):
            return  # rmtree's paths are relative to the folder that it has opened
        path = path.removeprefix(self.folder)
        stage = UNFINISHED_STAGE.match(path)
        if stage and stage[1] != self.part:
            self.part, self.count = stage[1], 0
        self.count += 1
        self.note(event, path)
        blow = self.blows.get(self.part)
        if blow is not None and blow.change == self.count:
            self.note(BLOW, "")
            strike(os.getpid(), blow)

    def note(self, event: str, path: str) -> None:
        """Append a line to the journal, at once and whole."""
        os.write(self.journal, f"{time.monotonic()}\t{self.part}\t{event}\t{path}\n".encode())


def read_journal(path: Path) -> list[Change]:
    """The changes that a process has noted so far; a line that is being written does not count yet."""
    *lines, _ = path.read_text(encoding="utf-8").split("\n") if path.exists() else [""]
    rows = (line.split("\t") for line in lines)
    return [Change(float(at), part, event, changed) for at, part, event, changed in rows]


def strike(process: int, blow: Blow) -> None:
    """Send the signal of a blow to a process, with its process group if the blow is whole."""
    with suppress(ProcessLookupError):
        try:
            (os.killpg if blow.whole else os.kill)(process, blow.signal)
        except ProcessLookupError:  # it has not made its group yet
            os.kill(process, blow.signal)
