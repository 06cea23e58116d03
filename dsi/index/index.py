"""A finished run as a search index: texts in, ranked documents out."""

import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from dsi.artifacts import check_files, read_manifest
from dsi.config import CONFIG, SearchConfig, describe, read_part
from dsi.corpus.store import Corpus
from dsi.errors import DsiError
from dsi.search.text_searcher import TextSearcher

SNIPPET = 160
"""The largest number of characters of a snippet."""


@dataclass(frozen=True)
class Hit:
    """A document that a search has found."""

    rank: int
    doc_id: str
    score: float
    """The log-probability of the document's docid given the query, at most 0; with ranking leaf, its leaf's logit."""
    title: str
    text: str

    def snippet(self) -> str:
        """The beginning of title and text on one line."""
        line = re.sub(r"\s+", " ", f"{self.title} {self.text}").strip()
        return line if len(line) <= SNIPPET else line[:SNIPPET].rsplit(" ", 1)[0] + " ..."


class Index:
    """Searches a corpus with a trained model, both read from stage folders, as `search` says.

    Raises:
        DsiError: the device cannot compute in the configured precision, or the head cannot be searched as configured.
    """

    def __init__(
        self,
        corpus_folder: Path,
        tokenizer_folder: Path,
        docids_folder: Path,
        model_folder: Path,
        search: SearchConfig | None = None,
    ) -> None:
        self.corpus = Corpus(corpus_folder)
        self.searcher = TextSearcher(tokenizer_folder, docids_folder, model_folder, search or SearchConfig())

    @property
    def config(self) -> SearchConfig:
        """How the index searches by default."""
        return self.searcher.config

    def search(self, texts: Sequence[str], k: int = 10, beam: int | None = None) -> list[list[Hit]]:
        """The `k` best documents for each text, best first; fewer if the corpus is smaller.

        The beam is `beam`, by default that of the configuration, and at least `k`.

        >>> dsi.load("runs/demo").search(["copy a directory tree"], k=10)  # doctest: +SKIP
        """
        return [
            [
                Hit(rank, document.doc_id, float(score), document.title, document.text)
                for rank, (doc_index, score) in enumerate(islice(ranking.hits(), k), start=1)
                for document in [self.corpus[int(doc_index)]]
            ]
            for ranking in self.searcher.rank(self.searcher.encode(texts), max(beam or self.config.beam, k))
        ]


STAGES = ("corpus", "tokenizer", "docids", "model")
"""The stages whose folders an index needs, beside the section `search` of the configuration."""


def load(run: str | Path, **search: Any) -> Index:
    """The index of a finished run or of a folder that `export` wrote.

    The run's section `search` says how it searches; `search` are keys of that section with other values, e.g.
    `load("runs/demo", beam=20, exact=True)`.

    Raises:
        DsiError: the run has no finished model or was made by another version, or there is no such key or value.
    """
    folder = Path(run)
    corpus, tokenizer, docids, model = _folders(folder)
    return Index(corpus, tokenizer, docids, model, read_part(folder / CONFIG, "search", SearchConfig, search))


def export(run_folder: Path, folder: Path) -> None:
    """Copy what `load` reads of a finished run to a new folder, which then needs neither the run nor its store.

    Raises:
        DsiError: the run has no finished model, or the folder is there already.
    """
    if folder.exists():
        raise DsiError(f"{folder} exists already; name a new folder")
    folders = _folders(run_folder)
    partial = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    for source in folders:
        shutil.copytree(source, partial / source.name)
    search = read_part(run_folder / CONFIG, "search", SearchConfig)
    (partial / CONFIG).write_text(f"search:\n{describe(SearchConfig, search, '  ')}\n", encoding="utf-8")
    partial.rename(folder)


def _folders(run_folder: Path) -> list[Path]:
    """The folders of STAGES in a run; DsiError if one is not finished."""
    folders = [run_folder / stage for stage in STAGES]
    for folder in folders:
        if read_manifest(folder) is None:
            raise DsiError(f"{folder}: no finished stage {folder.name} there; is {run_folder} a run, e.g. runs/demo?")
        check_files(folder)
    return folders
