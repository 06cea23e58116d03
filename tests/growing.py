"""Tiny indexes that grow: documents to add, answers to compare, and what the files of a folder hold."""

import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from conftest import tiny_documents
from safetensors.numpy import load_file
from test_saved import SMALL, TREE

import dsi
from dsi.corpus.store import Document
from dsi.index.files import state_of
from dsi.index.hits import Hit
from dsi.index.index import Index

ALL = [document._replace(doc_id=f"D{number:08}") for number, document in enumerate(tiny_documents(80))]
"""Their ids are long enough not to be in a file by chance."""
OLD, NEW = ALL[:60], ALL[60:]
KINDS: dict[str, dict[str, Any]] = {
    "atomic": {"search.prior": "bm25_doc2query"},
    "tree": TREE,
    "naive": {"docids.kind": "naive", "model.head": "plain"},
}
EVERY = 200
"""More hits than there are documents."""


def query_of(document: Document) -> str:
    return " ".join(document.text.split()[3:6])


QUERIES = [query_of(document) for document in ALL[::9]]


def records(documents: list[Document]) -> list[dict[str, str]]:
    """Documents as `add` and `dsi.build` take them."""
    return [document._asdict() for document in documents]


def built(folder: Path, kind: str) -> Path:
    """An index of the old documents in a new folder."""
    dsi.build(records(OLD), folder, keys=SMALL | KINDS[kind])
    return folder


def opened(saved: Path, folder: Path, **search: Any) -> Index:
    """A copy of a saved index in a new folder."""
    shutil.copytree(saved, folder)
    return dsi.load(folder, **search)


def with_two_generations(saved: Path, folder: Path) -> Path:
    """A copy of a saved index in a new folder, to which twelve documents were added, and one of them deleted."""
    index = opened(saved, folder)
    index.add(records(NEW[:12]))
    index.delete(NEW[0].doc_id)
    return folder


def answers(index: Index) -> list[dict[str, float]]:
    """The scores of all documents found, by id, for each of the queries."""
    return [{hit.doc_id: hit.score for hit in hits} for hits in index.search(QUERIES, k=EVERY)]


def check_same(
    found: list[dict[str, float]], expected: list[dict[str, float]], within: float = 1e-6, relative: float = 0.0
) -> None:
    for one, other in zip(found, expected, strict=True):
        assert one.keys() == other.keys()
        np.testing.assert_allclose([one[doc_id] for doc_id in other], list(other.values()), rtol=relative, atol=within)


def ids_of(documents: Iterable[Document | Hit]) -> list[str]:
    return [document.doc_id for document in documents]


def files_of(folder: Path) -> dict[str, list[Any]]:
    """The states of all files but the lock of writers, by name."""
    return {
        str(path.relative_to(folder)): state_of(path)
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != ".lock"
    }


def contents(folder: Path) -> bytes:
    """The bytes of all files, and the texts of their tables, which may be compressed."""
    parts = list[bytes]()
    for path in folder.rglob("*"):
        if not path.is_file():
            continue
        parts.append(path.read_bytes())
        if path.suffix == ".parquet":
            parts += map(_texts, pq.read_table(path).columns)
        elif path.suffix == ".arrow":
            parts += map(_texts, pa.ipc.open_stream(path).read_all().columns)
    return b"\0".join(parts)


def _texts(column: pa.ChunkedArray) -> bytes:
    return "\0".join(map(str, column.to_pylist())).encode()


def float_rows(folder: Path, width: int) -> Iterator[np.ndarray]:
    """The rows of all arrays of floats of this width in the files of a folder."""
    for path in folder.rglob("*"):
        arrays = load_file(path).values() if path.suffix == ".safetensors" else []
        for array in [np.load(path)] if path.suffix == ".npy" else arrays:
            if array.ndim == 2 and array.shape[1] == width and array.dtype.kind == "f":
                yield array
