"""What files hold, as a hash: whether a file has changed is told by its content, not by its name or its time."""

import hashlib
import json
import time
from pathlib import Path
from typing import Any

from dsi.runtime.shards import published

RACY_SECONDS = 2.0
"""A file changed so recently may change again without another time, so its hash is not remembered (as git does)."""


class Contents:
    """Hashes of files, remembered in a file as long as size, times and inode of each stay the same."""

    def __init__(self, memory: Path) -> None:
        self._memory = memory
        self._known: dict[str, list[Any]] = {}
        try:
            known = json.loads(memory.read_text(encoding="utf-8"))
            self._known = known if isinstance(known, dict) else {}
        except (OSError, ValueError):  # none yet, or cut by a power failure: files are read again
            pass

    def of(self, path: Path) -> str:
        """The hash of what the file holds, 32 hexadecimal digits; of a folder, that of all files below it.

        The names of a folder's files count, relative to it; hidden files do not.

        Raises:
            OSError: the file cannot be read.
        """
        if not path.is_dir():
            return self._of_file(path)
        files = {file.relative_to(path): file for file in sorted(path.rglob("*")) if file.is_file()}
        return self.of_all({str(name): file for name, file in files.items() if not _is_hidden(name)})

    def of_all(self, files: dict[str, Path]) -> str:
        """The hash of several files under names that count as content."""
        lines = "".join(f"{name}\0{self._of_file(file)}\n" for name, file in sorted(files.items()))
        return hashlib.blake2b(lines.encode("utf-8", "surrogateescape"), digest_size=16).hexdigest()

    def _of_file(self, path: Path) -> str:
        status, key = path.stat(), str(path.resolve())
        state = [status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns]
        known = self._known.get(key)
        if isinstance(known, list) and known[:-1] == state:
            return str(known[-1])
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()
        if time.time() - max(status.st_mtime, status.st_ctime) > RACY_SECONDS:
            self._known[key] = [*state, digest]
            self._memory.parent.mkdir(parents=True, exist_ok=True)
            with published(self._memory) as temporary:
                temporary.write_text(json.dumps(self._known, indent=0), encoding="utf-8")
        return digest


def _is_hidden(name: Path) -> bool:
    return any(part.startswith(".") for part in name.parts)
