"""Generative retrieval with a Differentiable Search Index: one T5 maps a query straight to document identifiers.

In: your documents, of which `build` makes an index, or the configuration of an experiment, run by `dsi run` or make.
Out: an `Index`, which `load` opens, too.
"""

from __future__ import annotations

from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from dsi.errors import DsiError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from dsi.index.hits import Hit, Hits
    from dsi.index.index import Index

__version__ = version("dsi-retrieval")
__all__ = ["DsiError", "Hit", "Hits", "Index", "build", "load"]
_LATER = {"Index": "dsi.index.index", "Hit": "dsi.index.hits", "Hits": "dsi.index.hits"}
"""The modules of classes that need torch, which takes a second to import."""


def build(
    documents: Any,
    folder: str | Path | None = None,
    *,
    queries: Any = None,
    qrels: Any = None,
    config: str | Path | None = None,
    keys: Mapping[str, Any] | None = None,
) -> Index:
    """Build an index of documents, save it to `folder` and open it.

    >>> dsi.build(["Fish swim.", "Birds fly."], "my-index").search("swimming fish")  # doctest: +SKIP

    Args:
        documents: texts, (id, text) pairs, mappings (`doc_id`, `_id` or `id`; `title`; `text` or `contents`), a
            `datasets.Dataset`, an iterator of these, which is never held whole; or the path of a file or folder, or
            the name of a Hugging Face dataset (see dsi.corpus.documents). Without ids, the id is the row number.
        folder: a new folder. None keeps the index in a temporary one, which is removed with it; `save` keeps it.
        queries: queries with judgements, if there are some: a mapping from ids to texts, pairs, or a file. A half of
            them chooses the model, the other one measures it. Without, the model is chosen on simulated queries.
        qrels: their judgements: a mapping from query ids to ids of documents, or to relevances by document id, triples
            (query id, document id, relevance), or a file.
        config: a configuration to build by, a file or a name of one that comes with dsi, in place of `documents` with
            sizes that follow the number of documents.
        keys: keys of the configuration with other values, e.g. `{"search.beam": 20}`.

    Interrupted, the same call with a folder goes on from there.

    Raises:
        DsiError: the folder exists, a document or key is at fault, or a stage fails.
    """
    from dsi.runtime.libraries import settle_libraries

    settle_libraries()
    from dsi.from_documents.build import build

    return build(documents, folder, queries=queries, qrels=qrels, config=config, keys=keys or {})


def load(folder: str | Path, revision: str | None = None, **search: Any) -> Index:
    """Open the index of a finished run, of a saved folder or of a repository of the Hugging Face hub, OWNER/NAME.

    >>> dsi.load("runs/demo").search("copy a directory tree", k=10)  # doctest: +SKIP

    It searches as its section `search` says, but for keys of that section that are given here, e.g. `beam=20`.
    `revision` is a branch, tag or commit of a repository.

    Raises:
        DsiError: there is no such index, it is damaged or was made by another version, or there is no such key or
            value.
    """
    from dsi.index.index import load

    return load(folder, revision, **search)


def __getattr__(name: str) -> Any:
    if name in _LATER:
        from importlib import import_module

        return getattr(import_module(_LATER[name]), name)
    raise AttributeError(f"module 'dsi' has no attribute {name!r}")
