"""The generations of a saved index that changes: numbered folders, whose files never change, and a pointer to one.

    generations/current       JSON: the number of the present generation, and the SHA-256 of its record
    generations/000007/       generation.json, the record, and the files that this generation has brought
    generations/.lock         what a writer holds a lock of

Generation 0 is the index as it was saved, and has no folder here. A writer claims the next number by giving a folder
its name, which fails where there is one already, also on file systems without locks; fills it; and then renames the
pointer into place. Whatever kills it before leaves the generation before as it was, and a folder that the next writer
removes. Readers follow the pointer once and read what the record names, of which nothing changes or goes until
somebody prunes the index.
"""

import json
import os
import platform
import re
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field, fields
from datetime import UTC, datetime
from pathlib import Path
from secrets import token_hex
from typing import IO, Any, Self

from dsi.artifacts import write_json
from dsi.errors import DsiError
from dsi.index.files import ENDINGS, FOLDERS, GENERATIONS, files_below, state_of
from dsi.runtime.checkpoint_files import CONFIG_FILE, read_object
from dsi.runtime.progress import say
from dsi.runtime.shards import published
from dsi.runtime.system import is_running, lock, to_disk

CURRENT, RECORD, OWNER, LOCK = "current", "generation.json", "owner.json", ".lock"
WORK = ".consolidating-*"
"""The folders in which consolidations that were interrupted go on."""
FORMAT = 1
DELETED = "deleted.npy"
"""The row numbers of the deleted documents, in the folder of a generation."""
SEGMENT, BASE = "segment", "index"
"""The folder of the documents that a generation has added; that of the index, without documents added later, that a
generation has written anew."""

MADE_OF = ("base", "segments", "docids", "rows", "deleted", "base_hash")
"""The fields of a record that say what the index is made of."""


@dataclass(frozen=True)
class Generation:
    """What an index is made of since a change."""

    number: int
    before: int
    """The generation that was changed."""
    change: str
    """What was done: add, delete, compact, consolidate or restore."""
    facts: dict[str, int | float]
    """What is to be told of the change, e.g. how many documents were added."""
    base: int = 0
    """The generation whose index the others build on; 0 for that which was saved at first."""
    segments: tuple[int, ...] = ()
    """The generations that brought the documents added since, in the order of their row numbers."""
    docids: int = 0
    """The generation that has the docids of the documents added since; 0 for atomic ones, and if none was added."""
    rows: int = 0
    """The number of row numbers given, those of deleted documents included."""
    deleted: int = 0
    """The number of deleted documents, whose row numbers are in the generation's folder if there are any."""
    base_hash: str = ""
    """What tells the base from other indexes, for which the documents added later are not made."""
    seconds: float = 0.0
    made: str = ""
    """When, in UTC, in ISO 8601."""
    files: dict[str, list[Any]] = field(default_factory=dict)
    """The size and the SHA-256 of every file in the generation's folder, by name."""

    @property
    def documents(self) -> int:
        """The number of documents that are there."""
        return self.rows - self.deleted

    def __str__(self) -> str:
        """What was changed, in words.

        >>> print(Generation(7, 6, "add", {"added": 100, "replaced": 0}, rows=6_100, deleted=3, seconds=4.21))
        generation 7: add, 100 added; 6,097 documents; 4.2 s
        """
        told = [
            f"{value:,} {name.replace('_', ' ')}"
            for name, value in self.facts.items()
            if value or isinstance(value, float)
        ]
        if self.change == "restore":
            told = [f"of generation {self.facts['restored']}"]
        what = ", ".join([self.change, *told])
        return f"generation {self.number}: {what}; {self.documents:,} documents; {self.seconds:.1f} s"

    @property
    def is_compact(self) -> bool:
        """Whether it is written anew, with nothing added or deleted since."""
        return self.base == self.number

    @property
    def reads(self) -> frozenset[int]:
        """The generations whose folders it is read from."""
        return frozenset({self.number, self.base, self.docids, *self.segments} - {0})

    @classmethod
    def of(cls, record: Mapping[str, Any]) -> Self:
        """The generation of a record; ValueError if a key is missing or of another type."""
        values = {each.name: record[each.name] for each in fields(cls)}
        values["segments"] = tuple(values["segments"])
        numbers = (*(values[name] for name in ("number", "base", "docids", "rows", "deleted")), *values["segments"])
        if not all(isinstance(each, int) and each >= 0 for each in numbers):
            raise ValueError("a number is none")
        return cls(**values)


def generation_folder(index_folder: Path, number: int) -> Path:
    """The folder of a generation."""
    return index_folder / GENERATIONS / f"{number:06d}"


def current(index_folder: Path) -> Generation | None:
    """The present generation of a saved index; None for one that has not changed since it was saved.

    Raises:
        DsiError: the pointer or the record is damaged.
    """
    pointer = index_folder / GENERATIONS / CURRENT
    if not pointer.exists():
        _check_pointer(index_folder, 0)
        return None
    pointed = read_object(pointer, "index")
    try:
        return _pointed(index_folder, pointed)
    except (DsiError, FileNotFoundError):
        if read_object(pointer, "index") == pointed:
            raise
    return current(index_folder)  # another process has pruned what was the present one


def _pointed(index_folder: Path, pointed: Mapping[str, Any]) -> Generation:
    number, digest = pointed.get("number"), pointed.get("sha256")
    if not isinstance(number, int):
        raise DsiError(f"{index_folder / GENERATIONS / CURRENT}: damaged; get the index again")
    record = generation_folder(index_folder, number) / RECORD
    if not record.is_file() or state_of(record)[1] != digest:
        raise DsiError(f"{record}: this file is missing, damaged or was changed; get the index again")
    return read_generation(index_folder, number)


def read_generation(index_folder: Path, number: int) -> Generation:
    """A generation that was finished; DsiError if there is none with this number."""
    path = generation_folder(index_folder, number) / RECORD
    if not path.is_file():
        raise DsiError(f"{index_folder}: there is no generation {number}; `dsi log` shows those that there are")
    record = read_object(path, "index")
    if record.get("format") != FORMAT:
        raise DsiError(f"{path}: format {record.get('format')!r:.20}; this version of dsi reads format {FORMAT}")
    try:
        return Generation.of(record)
    except (LookupError, TypeError, ValueError):
        raise DsiError(f"{path}: damaged; get the index again") from None


def finished(index_folder: Path) -> list[Generation]:
    """The generations that are there, in order, up to the present one."""
    present = current(index_folder)
    numbers = [number for number in _numbers(index_folder) if present and number <= present.number]
    return [
        read_generation(index_folder, number)
        for number in numbers
        if (generation_folder(index_folder, number) / RECORD).is_file()
    ]


def _numbers(index_folder: Path) -> list[int]:
    """The numbers of the generations that have a folder, finished or not, in order."""
    names = (path.name for path in (index_folder / GENERATIONS).glob("*"))
    return sorted(int(name) for name in names if re.fullmatch("[0-9]{6,}", name))


def _check_pointer(index_folder: Path, present: int) -> None:
    """See that no generation was finished after the one that the pointer names; DsiError if that is older, or lost."""
    for number in _numbers(index_folder):
        folder = generation_folder(index_folder, number)
        # a writer that was killed before it moved the pointer has left its name
        if number > present and (folder / RECORD).is_file() and not (folder / OWNER).exists():
            raise DsiError(
                f"{index_folder / GENERATIONS / CURRENT}: missing or old, as generation {number} is finished; get the"
                f" index again, or remove {folder}"
            )


class Claim:
    """The folder of the next generation, which this process alone fills."""

    def __init__(self, index_folder: Path, before: Generation | None, number: int) -> None:
        self.index_folder, self.before, self.number = index_folder, before, number
        self.folder = generation_folder(index_folder, number)
        self.generation: Generation | None = None
        """The generation, once it is published."""
        self._began = time.monotonic()

    def publish(self, change: str, facts: Mapping[str, int | float], **made_of: Any) -> Generation:
        """Make what stands in the folder the present generation; `made_of` are the fields of its record that differ
        from those of the generation before."""
        files = dict(files_below(self.folder, {OWNER}))
        assert all(path.suffix in ENDINGS for path in files.values()), "a file that readers would refuse"
        for path in files.values():
            to_disk(path)
        generation = Generation(
            number=self.number,
            before=self.before.number if self.before else 0,
            change=change,
            facts=dict(facts),
            seconds=round(time.monotonic() - self._began, 3),
            made=datetime.now(UTC).isoformat(timespec="seconds"),
            files={name: state_of(path) for name, path in files.items()},
            **{**self._inherited(), **made_of},
        )
        record = self.folder / RECORD
        write_json(record, {"format": FORMAT, **asdict(generation)})
        to_disk(record)
        with published(self.index_folder / GENERATIONS / CURRENT) as temporary:
            pointer = {"number": generation.number, "sha256": state_of(record)[1]}
            temporary.write_text(json.dumps(pointer), encoding="utf-8")
        self.generation = generation
        with suppress(OSError):  # it is published, whatever happens now
            (self.folder / OWNER).unlink()
        return generation

    def _inherited(self) -> dict[str, Any]:
        return {name: getattr(self.before, name) for name in MADE_OF} if self.before else {}


def log_table(index_folder: Path) -> str:
    """The generations of a saved index as lines, the present one last.

    Raises:
        DsiError: it is no saved index, or a record is damaged.
    """
    if not (index_folder / CONFIG_FILE).is_file():
        raise DsiError(f"{index_folder}: no saved index; `dsi export` makes one of a run")
    lines = [f"{each.made.replace('+00:00', 'Z')}  {each}" for each in finished(index_folder)]
    return "\n".join(lines or ["nothing has changed since the index was saved"])


@contextmanager
def changing(index_folder: Path, wait: bool = True) -> Iterator[Claim]:
    """Be the only process that changes an index in this block, with a claim of the next generation; one that is not
    published leaves nothing.

    Raises:
        DsiError: another process changes it, and this one is not to `wait`, or cannot.
    """
    folder = index_folder / GENERATIONS
    folder.mkdir(exist_ok=True)
    with (folder / LOCK).open("wb") as file:
        has_lock = _locked(file, index_folder, wait)
        before = current(index_folder)
        _remove_left(folder, before.number if before else 0, has_lock)
        claim = Claim(index_folder, before, _claimed(index_folder, before))
        try:
            yield claim
        finally:
            if claim.generation is None:
                shutil.rmtree(claim.folder, ignore_errors=True)


def prune(index_folder: Path, kept: Generation) -> list[int]:
    """Remove the generations that `kept`, the present one, does not read; return their numbers. Only the process that
    is `changing` the index may.

    Where the first index is not read either, its folders go too, which is generation 0.
    """
    folder = index_folder / GENERATIONS
    gone = [number for number in _numbers(index_folder) if number < kept.number and number not in kept.reads]
    first = [index_folder / name for name in FOLDERS if kept.base and (index_folder / name).is_dir()]
    for path in (*(generation_folder(index_folder, number) for number in gone), *first, *folder.glob(WORK)):
        doomed = folder / f".gone-{token_hex(4)}"
        path.rename(doomed)  # at once, so that a kill leaves no half of it
        shutil.rmtree(doomed)
    return [*([0] if first else []), *gone]


def _locked(file: IO[bytes], index_folder: Path, wait: bool) -> bool:
    """Whether this process has the lock; False on file systems without, where the claim of a number must do."""
    try:
        lock(file, wait=False)
    except BlockingIOError:
        if not wait:
            raise DsiError(f"{index_folder}: another process is changing this index; try again later") from None
        say(f"{index_folder}: another process is changing this index, waiting")
        lock(file, wait=True)
    except OSError:
        return False
    return True


def _claimed(index_folder: Path, before: Generation | None) -> int:
    """The next number, which this process has claimed: a folder with its owner is renamed to it."""
    folder = index_folder / GENERATIONS
    number = (before.number if before else 0) + 1
    prepared = folder / f".claim-{os.getpid()}-{token_hex(4)}"
    prepared.mkdir()
    try:
        owner = {"process": os.getpid(), "node": platform.node()}
        (prepared / OWNER).write_text(json.dumps(owner), encoding="utf-8")
        prepared.rename(generation_folder(index_folder, number))
    except OSError as error:
        if not generation_folder(index_folder, number).exists():
            raise
        raise DsiError(f"{index_folder}: another process is changing this index; try again later") from error
    finally:
        shutil.rmtree(prepared, ignore_errors=True)
    return number


def _remove_left(folder: Path, present: int, has_lock: bool) -> None:
    """Remove what writers that were killed have left; DsiError if one may be at work."""
    for gone in folder.glob(".gone-*"):
        shutil.rmtree(gone, ignore_errors=True)
    for left in folder.glob(".claim-*"):
        if not is_running(left.name.split("-")[1]):
            shutil.rmtree(left, ignore_errors=True)
    _check_pointer(folder.parent, present)
    for claim in (generation_folder(folder.parent, number) for number in _numbers(folder.parent) if number > present):
        owner = read_object(claim / OWNER, "index") if (claim / OWNER).exists() else {}
        is_here = owner.get("node", platform.node()) == platform.node()
        is_left = is_here and (owner.get("process") == os.getpid() or not is_running(owner.get("process", -1)))
        if not (has_lock and is_left):
            raise DsiError(
                f"{folder.parent}: process {owner.get('process')} of {owner.get('node')} is changing this index; try"
                f" again later, or, if it is gone, remove {claim}"
            )
        shutil.rmtree(claim)
