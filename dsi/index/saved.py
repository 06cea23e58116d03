"""A saved index: a folder that needs nothing else, and is a repository of the Hugging Face hub as it stands.

config.json     class, format, number of documents, section `search`, licences; size and SHA-256 of every other file
README.md       the model card, which people may change
corpus/         documents.arrow: id, title and text of every document, or with include_documents=False the ids alone
tokenizer/  docids/  model/  prior/  lexical/    as in a run, the last two with a prior
growth/         what later documents need (dsi.index.growth); not without documents
report/         report.md, what was measured, if something was
generations/    what has changed since (dsi.index.generations); not in a new one

Nothing in it is pickled, and no code that stands in it is run. A folder from others is read with care: what
`config.json` does not name, has another hash, leads out of the folder or has other sizes than its arrays is refused.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa

from dsi.artifacts import check_path
from dsi.config import SearchConfig, read_part
from dsi.errors import DsiError
from dsi.index.files import FOLDERS, check_files
from dsi.index.generations import BASE, OWNER, RECORD, Generation, current, generation_folder, read_generation
from dsi.index.parts import Parts
from dsi.runtime.checkpoint_files import read_object
from dsi.search.text_searcher import IndexFolders

CONFIG_FILE, README, CLASS, FORMAT = "config.json", "README.md", "dsi.Index", 1
ALSO_THERE = {CONFIG_FILE, README, "LICENSE"}
"""The files that have no hash: that of the hashes, and those that people or the hub change."""
UNREADABLE = (OSError, ValueError, LookupError, TypeError, MemoryError, RuntimeError, pa.ArrowException)
"""What readers of arrays, tables, postings and tokenizers raise for files that are not theirs."""
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
    read_config(folder)
    return open_at(folder, current(folder), changes, root)


def open_at(folder: Path, generation: Generation | None, changes: dict[str, Any], root: Path | None = None) -> Parts:
    """The parts of a saved index at one of its generations, None for as it was saved; the rest as for `open_saved`."""
    base = generation_folder(folder, generation.base) / BASE if generation and generation.base else folder
    opened = _open_base(base, changes, (root or folder).resolve())
    parts = replace(opened, folder=folder, generation=generation, is_shared=root is not None)
    if generation is not None:
        check_generation(parts, generation, root=root)
    return parts


def check_generation(
    parts: Parts, generation: Generation, known: frozenset[int] = frozenset(), root: Path | None = None
) -> None:
    """See that the files of a generation, and of those before whose documents it has, are as they were written.

    Args:
        parts: what it builds on.
        generation: the generation.
        known: generations of which that is known.
        root: the folder below which links may lead to files, by default that of the index.

    Raises:
        DsiError: one is not, or it is of another index.
    """
    if generation.base_hash != parts.base_hash:
        raise DsiError(f"{parts.folder}: generation {generation.number} belongs to another index; get the index again")
    for number in sorted(generation.reads - known):
        folder = generation_folder(parts.folder, number)
        record = generation if number == generation.number else read_generation(parts.folder, number)
        check_files(folder, record.files, (root or parts.folder).resolve(), {RECORD, OWNER})


def _open_base(folder: Path, changes: dict[str, Any], root: Path) -> Parts:
    """The parts of an index as it was saved, or written anew by a generation."""
    config = read_config(folder)
    listed = config["files"]
    check_files(folder, listed, root, ALSO_THERE)
    if strange := [name for name in listed if name.partition("/")[0] not in FOLDERS]:
        raise DsiError(f"{folder / strange[0]}: no file of the index; take it out, or get the index again")
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
