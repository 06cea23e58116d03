"""The parts of an index: the folders that it is read from, those of a run's stages or of a saved index."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dsi.artifacts import fingerprint, read_manifest
from dsi.config import SearchConfig
from dsi.index.generations import Generation
from dsi.search.text_searcher import IndexFolders


@dataclass(frozen=True)
class Parts:
    """Where an index is read from, and how it searches."""

    folder: Path
    """The folder of the run, or of the saved index."""
    corpus: Path
    folders: IndexFolders
    search: SearchConfig
    saved: dict[str, Any] | None = None
    """What `config.json` of a saved index says; None for a run."""
    generation: Generation | None = None
    """What has changed since; None if nothing has."""
    is_shared: bool = False
    """Whether it is in the hub's cache, which is not ours to change."""

    @property
    def base(self) -> Path:
        """The folder of the index as it was trained: the run's, or that of a saved one with config.json."""
        return self.corpus.parent

    @property
    def has_documents(self) -> bool:
        """Whether the documents' titles and texts are there, and not their ids alone."""
        return self.saved is None or bool(self.saved["include_documents"])

    @property
    def stored_search(self) -> SearchConfig:
        """How the index searches as it was saved, whatever it was opened with."""
        return SearchConfig(**self.saved["search"]) if self.saved is not None else self.search

    @property
    def indexes_queries(self) -> bool:
        """Whether the postings have the words of the synthetic queries, too, which are all kept for them."""
        return self.stored_search.prior == "bm25_doc2query"

    @property
    def fingerprint(self) -> str:
        """What tells this index, as it is and searches now, from others, wherever it lies."""
        search = self.search.model_dump(mode="json")
        if self.saved is None:
            stages = [folder for folder in (self.folders.model, self.folders.prior) if folder is not None]
            made: Any = [(read_manifest(folder) or {}).get("fingerprint") for folder in stages]
        else:
            now = self.generation
            made = [self.base_hash, *([now.number, now.made, now.files] if now is not None else [])]
        return fingerprint({"made": made, "search": search})

    @property
    def base_hash(self) -> str:
        """What tells a saved index from others, whatever has changed since: a hash of its files."""
        assert self.saved is not None
        return base_hash(self.saved["files"])


def base_hash(files: Mapping[str, Any]) -> str:
    """The hash that tells an index, of whose files the states are given by name, from others."""
    return fingerprint(dict(files))
