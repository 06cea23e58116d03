"""The files of a saved index and of its generations: what they may be, and whether they are as they were written."""

import hashlib
import shutil
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from dsi.artifacts import MANIFEST
from dsi.errors import DsiError, first_line

FOLDERS = ("corpus", "tokenizer", "docids", "model", "prior", "lexical", "growth", "report")
"""The folders of an index as it is saved."""
GENERATIONS = "generations"
"""The folder of what has changed since."""
POSTINGS = (".fast", ".fieldnorm", ".idx", ".pos", ".store", ".term")
ENDINGS = {".arrow", ".jinja", ".json", ".md", ".model", ".npy", ".parquet", ".safetensors", *POSTINGS}
"""How the names of an index's files end, none of which can hold code."""


def files_below(folder: Path, without: set[str]) -> Iterator[tuple[str, Path]]:
    """The files in a folder and below it by name, but for those named in `without`, generations, and hidden ones, which
    readers of postings leave there."""
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder)
        is_skipped = any(part.startswith(".") for part in name.parts) or name.parts[0] == GENERATIONS
        if (path.is_symlink() or not path.is_dir()) and not is_skipped and str(name) not in without:
            yield name.as_posix(), path


def state_of(path: Path) -> list[Any]:
    """The size of a file and the SHA-256 of its content."""
    with path.open("rb") as file:
        return [path.stat().st_size, hashlib.file_digest(file, "sha256").hexdigest()]


def check_files(folder: Path, listed: Mapping[str, Any], root: Path, without: set[str]) -> None:
    """See that a folder has the files that are listed with their states, and no others but those `without`. Links may
    lead to files below `root`.

    Raises:
        DsiError: one is missing, damaged, not listed, of another kind or a link elsewhere; it is named.
    """
    there = dict(files_below(folder, without))
    for name, path in there.items():
        if name not in listed or path.suffix not in ENDINGS:
            raise DsiError(f"{path}: no file of the index; take it out, or get the index again")
        if not path.resolve().is_relative_to(root) or not path.is_file():
            raise DsiError(f"{path}: a link out of the folder, or no file; it is not followed")
    for name, state in listed.items():
        if name not in there:
            raise DsiError(f"{folder / name}: this file is missing; get the index again")
        try:
            found = state_of(there[name])
        except OSError as error:
            raise DsiError(f"{folder / name}: cannot be read: {first_line(error)}") from None
        if found != state:
            raise DsiError(f"{folder / name}: this file is damaged or was changed; get the index again")


def copy_files(source: Path, target: Path, patterns: Sequence[str] = ("*",), without: Collection[str] = ()) -> None:
    """Copy the files of a stage that match a pattern, but for its manifest and those named in `without`; hidden ones
    are locks of tantivy's."""
    for path in sorted(source.rglob("*")):
        name = path.relative_to(source)
        is_data = path.suffix in ENDINGS and path.name not in (MANIFEST, *without) and any(map(path.match, patterns))
        if path.is_file() and is_data and not any(part.startswith(".") for part in name.parts):
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target / name)
