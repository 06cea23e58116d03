"""What files hold, as a hash: whether a file has changed is told by its content, not by its name or its time."""

import hashlib
import json
import os
import time
from collections.abc import Callable, Mapping, Set
from contextlib import suppress
from pathlib import Path
from typing import Any

from dsi.runtime.shards import published

RACY_SECONDS = 2.0
"""A file changed so recently may change again without another time, so that nothing is remembered of it (as in git)."""

MOST = 10_000
"""The most files that are remembered, those read last."""


class Contents:
    """Hashes of files, remembered in the file `memory` as long as size, times and inode of each stay the same."""

    def __init__(self, memory: Path) -> None:
        self._memory = memory
        try:
            known = json.loads(memory.read_text(encoding="utf-8"))
        except (OSError, ValueError):  # none yet, or cut by a power failure: files are read again
            known = {}
        self._known: dict[str, list[Any]] = known if isinstance(known, dict) else {}
        self._is_saved = True

    def of(self, path: Path, without: Set[str] = frozenset()) -> str:
        """The hash of what a file holds, 32 hexadecimal digits; of a folder, that of all files below it.

        The names of a folder's files count, relative to it. Hidden files and those named `without` do not.

        Raises:
            OSError: the file cannot be read.
        """
        if not path.is_dir():
            digest = self._of_file(path)
            self._save()
            return digest
        names = (file.relative_to(path) for file in path.rglob("*") if file.is_file() and file.name not in without)
        return self.of_all({name.as_posix(): path / name for name in names if not str(name).startswith(".")})

    def of_all(self, files: Mapping[str, Path]) -> str:
        """The hash of several files under names that count as content."""
        lines = "".join(f"{name}\0{self._of_file(file)}\n" for name, file in sorted(files.items()))
        self._save()
        return hashlib.blake2b(os.fsencode(lines), digest_size=16).hexdigest()

    def remember(self, key: str, paths: list[Path], compute: Callable[[], Any]) -> Any:
        """What `compute` returns, JSON, or returned when these paths were as they are now, under this key."""
        value = self._remember(key, paths, compute)
        self._save()
        return value

    def _remember(self, key: str, paths: list[Path], compute: Callable[[], Any]) -> Any:
        states = [path.stat() for path in paths]
        state = [[each.st_ino, each.st_size, each.st_mtime_ns, each.st_ctime_ns] for each in states]
        known = self._known.get(key)
        if isinstance(known, list) and known[:1] == [state]:
            return known[1]
        value = compute()
        if time.time() - max(max(each.st_mtime, each.st_ctime) for each in states) > RACY_SECONDS:
            self._known.pop(key, None)
            self._known[key] = [state, value]
            self._is_saved = False
        return value

    def _save(self) -> None:
        if self._is_saved:
            return
        self._is_saved = True
        newest = dict(list(self._known.items())[-MOST:])
        with suppress(OSError):  # a disk that is full or read-only: files are read again the next time
            self._memory.parent.mkdir(parents=True, exist_ok=True)
            with published(self._memory) as temporary:
                temporary.write_text(json.dumps(newest), encoding="utf-8")

    def _of_file(self, path: Path) -> str:
        def digest() -> str:
            with path.open("rb") as file:
                return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()

        return str(self._remember(os.path.realpath(path), [path], digest))
