"""The parts of an index: the folders that it is read from, those of a run's stages or of a saved index."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dsi.config import SearchConfig
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

    @property
    def has_documents(self) -> bool:
        """Whether the documents' titles and texts are there, and not their ids alone."""
        return self.saved is None or bool(self.saved["include_documents"])
