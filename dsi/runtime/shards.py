"""A pass over a corpus in shards, which processes share: shard s is done by process s mod their number.

A shard is a file, published whole by a rename, and the unit of resuming: one that is there is not done again. What it
holds must depend on its number alone, not on the process that made it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from dsi.runtime.processes import ALONE, Rank, wait_until


@dataclass(frozen=True)
class Shards:
    """The shards of one pass.

    >>> shards = Shards(Path("work"), items=2_500, size=1_000, suffix=".npy", rank=Rank(1, 2))
    >>> len(shards), shards.range(2), str(shards.path(2)), shards.unfinished()
    (3, range(2000, 2500), 'work/shard-00002.npy', [1])
    """

    folder: Path
    """Where their files are."""
    items: int
    """What the pass is over, e.g. documents."""
    size: int
    """Items a shard; the last one may have fewer."""
    suffix: str
    rank: Rank = ALONE
    """Which of the processes that share the pass this one is."""

    def __len__(self) -> int:
        return -(-self.items // self.size)

    def range(self, shard: int) -> range:
        """Numbers of the items of a shard."""
        return range(shard * self.size, min((shard + 1) * self.size, self.items))

    def path(self, shard: int) -> Path:
        return self.folder / f"shard-{shard:05d}{self.suffix}"

    @property
    def paths(self) -> list[Path]:
        return [self.path(shard) for shard in range(len(self))]

    def unfinished(self) -> list[int]:
        """Shards that this process has to do, in order; their folder is made."""
        self.folder.mkdir(parents=True, exist_ok=True)
        own = range(self.rank.process, len(self), self.rank.processes)
        shards = [shard for shard in own if not self.path(shard).exists()]
        names = {f".{self.path(shard).name}" for shard in shards}
        for left in self.folder.glob(".shard-*"):
            if left.stem in names:  # by a process that was killed
                left.unlink()
        return shards

    def wait(self) -> list[Path]:
        """The files of all shards, once every process has done its own."""
        paths = self.paths
        wait_until(lambda: all(path.exists() for path in paths))
        return paths


@contextmanager
def published(path: Path) -> Iterator[Path]:
    """A path to write to, which then becomes `path`, so that this file is never half there."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        yield temporary
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
