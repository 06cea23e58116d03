"""A pass over a corpus in shards that processes share: shard s is made by process s modulo the number of processes.

A shard is one file, published by a rename. It is the unit of resuming: a shard that exists is not made again. What it
holds must depend on its number alone, not on the process that makes it.
"""

import hashlib
import os
import platform
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from glob import escape
from pathlib import Path

from dsi.runtime.processes import ALONE, Rank, is_first_process, wait_until
from dsi.runtime.system import is_running, to_disk


@dataclass(frozen=True)
class Shards:
    """The shards of one pass.

    >>> shards = Shards(Path("work"), items=2_500, size=1_000, suffix=".npy", rank=Rank(1, 2))
    >>> len(shards), shards.range(2), str(shards.path(2))
    (3, range(2000, 2500), 'work/shard-00002.npy')
    """

    folder: Path
    items: int
    """The number of items in the pass, for example of documents."""
    size: int
    """The number of items per shard; the last one may have fewer."""
    suffix: str
    rank: Rank = ALONE
    """The place of this process among those that share the pass."""

    def __len__(self) -> int:
        return -(-self.items // self.size)

    def range(self, shard: int) -> range:
        """The numbers of the items in a shard."""
        return range(shard * self.size, min((shard + 1) * self.size, self.items))

    def path(self, shard: int) -> Path:
        """The file of a shard, which may not exist yet."""
        return self.folder / f"shard-{shard:05d}{self.suffix}"

    def unfinished(self) -> list[int]:
        """The shards that this process has yet to make, in order; makes their folder."""
        self.folder.mkdir(parents=True, exist_ok=True)
        own = range(self.rank.process, len(self), self.rank.processes)
        return [shard for shard in own if not self.path(shard).exists()]

    def wait(self) -> list[Path]:
        """The files of all shards, in order, once every process has made its own."""
        paths = [self.path(shard) for shard in range(len(self))]
        wait_until(lambda: all(path.exists() for path in paths))
        if is_first_process():
            for left in self.folder.glob(".shard-*"):  # by a process that was killed; nobody writes any more
                _remove(left)
        return paths


@contextmanager
def published(path: Path) -> Iterator[Path]:
    """A temporary path to write to, a file or a folder, renamed to `path` at the end of the block, so that `path` is
    never half written."""
    here = hashlib.blake2b(platform.node().encode(), digest_size=4).hexdigest()
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{here}")
    for leftover in path.parent.glob(f".{escape(path.name)}.*"):
        process, _, node = leftover.suffix[1:].partition("-")
        # killed before it could publish; what runs on other nodes is not known here
        if node in ("", here) and not is_running(process):
            _remove(leftover)
    try:
        yield temporary
        if not _is_folder(temporary):
            _to_disk(temporary)
            temporary.replace(path)
        elif not path.exists():  # else another process has made the same folder meanwhile
            temporary.rename(path)
    finally:
        _remove(temporary)


def _is_folder(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink()


def _remove(path: Path) -> None:
    if _is_folder(path):
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _to_disk(path: Path) -> None:
    """Have the content of a file on the disk before its name, which a power cut would else leave on an empty file."""
    if path.is_file() and not path.is_symlink():
        to_disk(path)
