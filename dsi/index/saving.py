"""Writes a saved index (see dsi.index.saved), and makes it the content of a repository of the hub."""

import shutil
import tempfile
from pathlib import Path
from typing import Any

from dsi.artifacts import check_path, write_json
from dsi.corpus.store import Corpus, Document, write_rows
from dsi.errors import DsiError
from dsi.index import hub
from dsi.index.card import card, for_repository, licences_of, with_changes, without_folders
from dsi.index.compacting import write_living
from dsi.index.files import copy_files, files_below, state_of
from dsi.index.growth import write_growth
from dsi.index.opened import Opened
from dsi.index.parts import Parts
from dsi.index.saved import ALSO_THERE, CLASS, CONFIG_FILE, FORMAT, README, is_saved
from dsi.report.report import without_texts
from dsi.runtime.new_folder import new_folder

NEEDED = {"corpus": ("documents.arrow",), "model": ("config.json", "*.safetensors", "*.safetensors.index.json")}
"""The files of these stages that an index needs; of the others all but the manifest."""


def save(index: Opened, folder: Path, include_documents: bool = True, name: str | None = None) -> None:
    """Write a saved index to a new folder, whole or not at all; one that has changed since it was trained is written as
    by `dsi compact`. The card says that `name` opens it, by default the folder's.

    Raises:
        DsiError: the folder exists, or documents are wanted of an index that was saved without.
    """
    check_path(folder)
    parts = index.parts
    if include_documents and not parts.has_documents:
        raise DsiError(
            f"{parts.folder} was saved without its documents; save it with include_documents=False"
            " (--without-documents), too"
        )
    if parts.generation is not None and not parts.has_documents:
        raise DsiError(
            f"{parts.folder} was saved without its documents, and has changed since: it cannot be written anew"
        )
    if parts.saved is not None and not is_saved(parts.base):
        raise DsiError(f"{parts.folder}: the index was opened there, and is gone; open it again where it is")
    with new_folder(folder) as partial:
        if parts.generation is None:
            _copy(parts, partial, include_documents)
        else:
            write_living(index, partial)
            if not include_documents:
                _remove_texts(partial)
        files = describe(index, partial, include_documents, name or folder.name)
        if parts.generation is None:
            _check_unchanged(parts, files, include_documents)


def describe(index: Opened, folder: Path, include_documents: bool = True, name: str | None = None) -> dict[str, Any]:
    """Write report, card and `config.json` of an index whose other folders are written; return the states of its files,
    by name. Without a `name` the card says of the index's own that it opens it."""
    parts = index.parts
    _write_report(parts, folder / "report")
    licences = parts.saved["licences"] if parts.saved else licences_of(parts)
    text = (parts.base / README).read_text(encoding="utf-8") if parts.saved else card(parts, licences)
    if parts.generation is not None:
        text = with_changes(text, len(index))
    (folder / README).write_text(for_repository(text, name) if name else text, encoding="utf-8")
    files = {file: state_of(path) for file, path in files_below(folder, ALSO_THERE)}
    config = {
        "class": CLASS,
        "format": FORMAT,
        "documents": len(index),
        "include_documents": include_documents,
        "search": parts.search.model_dump(mode="json"),
        "licences": licences,
        "files": files,
    }
    write_json(folder / CONFIG_FILE, config)
    return files


def push(index: Opened, repository: str, private: bool, include_documents: bool) -> str:
    """Save an index as the content of a repository; return its address.

    Raises:
        DsiError: documents are wanted of an index without, or the hub refuses it or cannot be reached.
    """
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary, "index")
        save(index, folder, include_documents, name=repository)
        return hub.push(folder, repository, private)


def _copy(parts: Parts, folder: Path, include_documents: bool) -> None:
    """Copy what an index needs of a run, with what documents that come later need, or of a saved index."""
    for part, source in {"corpus": parts.corpus, **_folders(parts)}.items():
        if part == "corpus" and not include_documents:
            _write_ids(source, folder / part)
        else:
            copy_files(source, folder / part, NEEDED.get(part, ("*",)))
    if include_documents and parts.saved is None:
        write_growth(folder / "growth", parts)
    elif include_documents:
        copy_files(parts.base / "growth", folder / "growth")


def _remove_texts(folder: Path) -> None:
    """Remove titles, texts and what later documents would need from an index that is being written."""
    shutil.rmtree(folder / "growth")
    whole = (folder / "corpus").rename(folder / "whole")
    _write_ids(whole, folder / "corpus")
    shutil.rmtree(whole)


def _check_unchanged(parts: Parts, files: dict[str, Any], include_documents: bool) -> None:
    """See that what was copied of a saved index is what was opened, whatever is in its place now."""
    for name, state in (parts.saved or {"files": {}})["files"].items():
        is_copied = name.partition("/")[0] in _copied(parts, include_documents)
        if is_copied and files.get(name) != state:
            raise DsiError(f"{parts.folder / name}: this file has changed since the index was opened; open it again")


def _copied(parts: Parts, include_documents: bool) -> set[str]:
    """The folders of a saved index that are copied as they are."""
    return {*_folders(parts), "report", *(("corpus", "growth") if include_documents else ())}


def _folders(parts: Parts) -> dict[str, Path]:
    names = ("tokenizer", "docids", "model", "prior", "lexical")
    folders = parts.folders
    found = (folders.tokenizer, folders.docids, folders.model, folders.prior, folders.terms)
    return {name: folder for name, folder in zip(names, found, strict=True) if folder is not None}


def _write_report(parts: Parts, folder: Path) -> None:
    """Write the report of a run without the page, figures and texts, and without what is in which folder here."""
    source = parts.base / "report/report.md"
    if source.is_file():
        text = without_texts(source.read_text(encoding="utf-8"))
        text = text if parts.saved else without_folders(text, parts.folder)
        folder.mkdir()
        (folder / source.name).write_text(text, encoding="utf-8")


def _write_ids(corpus_folder: Path, folder: Path) -> None:
    """Write the documents without their titles and texts."""
    folder.mkdir()
    ids = (Document(document.doc_id, "", "") for document in Corpus(corpus_folder))
    write_rows(folder / "documents.arrow", Document, ids)
