"""A saved index: a folder that needs nothing else, and is a repository of the Hugging Face hub as it stands.

config.json     class, format, number of documents, section `search`, licences; size and SHA-256 of every other file
README.md       the model card, which people may change
corpus/         documents.arrow: id, title and text of every document, or with include_documents=False the ids alone
tokenizer/  docids/  model/  prior/  lexical/    as in a run, the last two with a prior
growth/         what later documents need (dsi.index.growth); not without documents
report/         report.md, what was measured, if something was

Nothing in it is pickled, and no code that stands in it is run. A folder from others is read with care: what
`config.json` does not name, has another hash, leads out of the folder or has other sizes than its arrays is refused.
"""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa

from dsi.artifacts import check_path
from dsi.config import SearchConfig, read_part
from dsi.errors import DsiError, first_line
from dsi.index.parts import Parts
from dsi.runtime.checkpoint_files import read_object
from dsi.search.text_searcher import IndexFolders

CONFIG_FILE, README, CLASS, FORMAT = "config.json", "README.md", "dsi.Index", 1
FOLDERS = ("corpus", "tokenizer", "docids", "model", "prior", "lexical", "growth", "report")
ALSO_THERE = {CONFIG_FILE, README, "LICENSE"}
"""The files that have no hash: that of the hashes, and those that people or the hub change."""
UNREADABLE = (OSError, ValueError, LookupError, TypeError, MemoryError, RuntimeError, pa.ArrowException)
"""What readers of arrays, tables, postings and tokenizers raise for files that are not theirs."""
POSTINGS = (".fast", ".fieldnorm", ".idx", ".pos", ".store", ".term")
ENDINGS = {".arrow", ".jinja", ".json", ".md", ".model", ".npy", ".parquet", ".safetensors", *POSTINGS}
"""How the names of an index's files end, none of which can hold code."""
CODE = "auto_map"
"""The key by which a checkpoint of transformers names classes in files that come with it."""


def is_saved(folder: Path) -> bool:
    """Whether a folder is that of a saved index rather than of a run."""
    return (folder / CONFIG_FILE).is_file()


def open_saved(folder: Path, changes: dict[str, Any], root: Path | None = None) -> Parts:
    """The parts of a saved index, with these changes to how it searches. Links may lead to files below `root`, by
    default below the folder itself.

    Raises:
        DsiError: it is of another format, a file of it is missing, damaged, not named in `config.json` or a link out of
            it, or there is no such key or value.
    """
    check_path(folder)
    config = read_config(folder)
    _check_files(folder, config["files"], (root or folder).resolve())
    for name in ("model/config.json", "tokenizer/tokenizer_config.json"):
        if (folder / name).is_file() and CODE in read_object(folder / name, "index"):
            raise DsiError(f"{folder / name}: it names code of its own ({CODE}), which is not run")
    search = read_part(folder / CONFIG_FILE, "search", SearchConfig, changes)
    has_prior = (folder / "lexical").is_dir()
    if search.prior != "none" and not has_prior:
        raise DsiError(f"{folder}: the index was saved without a prior; search with prior=none")
    own = config["search"].get("prior")
    if search.prior not in ("none", own):
        raise DsiError(f"{folder}: the prior of this index is {own}, not {search.prior}")
    used = ("tokenizer", "docids", "model", *(("prior", "lexical") if search.prior != "none" else ()))
    return Parts(folder, folder / "corpus", IndexFolders(*(folder / name for name in used)), search, config)


def read_config(folder: Path) -> dict[str, Any]:
    """What `config.json` of a saved index says; DsiError if it is not that of an index of this format."""
    path = folder / CONFIG_FILE
    config = read_object(path, "index")
    if config.get("class") != CLASS:
        raise DsiError(f"{path}: no index of dsi, whose class would be {CLASS!r}, not {config.get('class')!r:.60}")
    if config.get("format") != FORMAT:
        raise DsiError(
            f"{path}: this index has format {config.get('format')!r:.20}, and this version of dsi reads format"
            f" {FORMAT}; take another version of dsi, or save it again"
        )
    files = config.get("files")
    kinds = {"documents": int, "include_documents": bool, "search": dict, "licences": dict}
    is_listed = isinstance(files, dict) and all(
        isinstance(state, list) and [type(part) for part in state] == [int, str] for state in files.values()
    )
    if not is_listed or any(type(config.get(key)) is not kind for key, kind in kinds.items()):
        raise DsiError(f"{path}: damaged: files, {', '.join(kinds)}: one is not as it was saved")
    return config


def files_of(folder: Path) -> Iterator[tuple[str, Path]]:
    """The files of a saved index by name, but for the hidden ones, which readers of postings leave there."""
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder)
        is_hidden = any(part.startswith(".") for part in name.parts)
        if (path.is_symlink() or not path.is_dir()) and not is_hidden and str(name) not in ALSO_THERE:
            yield name.as_posix(), path


def state_of(path: Path) -> list[Any]:
    """The size of a file and the SHA-256 of its content."""
    with path.open("rb") as file:
        return [path.stat().st_size, hashlib.file_digest(file, "sha256").hexdigest()]


def _check_files(folder: Path, listed: dict[str, Any], root: Path) -> None:
    there = dict(files_of(folder))
    for name, path in there.items():
        if name not in listed or name.partition("/")[0] not in FOLDERS or path.suffix not in ENDINGS:
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
