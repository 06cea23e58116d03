"""Opens an index, of a run or saved, at its present generation or at another; parts that do not fit are refused."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from dsi.errors import DsiError, first_line
from dsi.index import saved
from dsi.index.generations import Generation
from dsi.index.opened import Opened
from dsi.index.parts import Parts


def opened(parts: Parts) -> Opened:
    """The index with these parts.

    Raises:
        DsiError: they are not of one number of documents, or one cannot be read.
    """
    with _readable(parts):
        index = Opened.of(parts)
        docids, terms = index.trained.searcher.docids, index.trained.terms
        sizes = {"corpus": len(index.growth.corpus), "docids": len(docids.codes)}
        if parts.saved is not None:
            sizes["config.json"] = parts.saved["documents"]
        if terms is not None:
            sizes["lexical"] = len(terms)
        _check_same(parts, sizes)
        if parts.saved is not None and not docids.is_atomic:
            docids.trie.check(len(docids.codes))
        if parts.generation is not None:
            _check_changed(index, parts.generation)
    return index


def at(index: Opened, generation: Generation | None) -> Opened:
    """The index at another generation, of which only what is new is read where that builds on the same base.

    Raises:
        DsiError: as `opened`.
    """
    parts, before = index.parts, index.parts.generation
    if generation == before:
        return index
    if generation is None or generation.base != (before.base if before is not None else 0):
        return opened(saved.open_saved(parts.folder, parts.search.model_dump(mode="json")))
    with _readable(parts):
        saved.check_generation(parts, generation, before.reads if before is not None else frozenset())
        index = index.at(generation)
        _check_changed(index, generation)
    return index


def _check_changed(index: Opened, generation: Generation) -> None:
    """See that what has changed is of one number of documents; makes the searcher, which may take a while."""
    searcher, terms = index.searcher.searcher, index.searcher.terms
    sizes = {"corpus": len(index.corpus), "generation": generation.rows, "docids": searcher.documents}
    if terms is not None:
        sizes["lexical"] = len(terms)
    _check_same(index.parts, sizes)


def _check_same(parts: Parts, sizes: Mapping[str, int]) -> None:
    if len(set(sizes.values())) > 1:
        counted = ", ".join(f"{part} {size:,}" for part, size in sizes.items())
        raise DsiError(f"{parts.folder}: its parts are not of the same documents ({counted})")


@contextmanager
def _readable(parts: Parts) -> Iterator[None]:
    try:
        yield
    except saved.UNREADABLE as error:
        if parts.saved is None:
            raise
        what = "cannot be opened, a file is not what its name says"
        raise DsiError(f"{parts.folder}: {what}: {first_line(error)}") from error
