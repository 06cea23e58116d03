"""A finished run as a search index: texts in, ranked documents out."""

from __future__ import annotations

import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import torch
from transformers import AutoTokenizer

from dsi.artifacts import read_manifest
from dsi.corpus.store import Corpus
from dsi.docids.store import Docids
from dsi.errors import DsiError
from dsi.model.architecture import DifferentiableSearchIndex
from dsi.model.device import compute_device, to_precision
from dsi.search.searcher import Searcher

SNIPPET = 160
"""Characters."""


@dataclass(frozen=True)
class Hit:
    """A document found."""

    rank: int
    doc_id: str
    score: float
    """Log-probability of the document's docid given the query: 0 is certain."""
    title: str
    text: str

    def snippet(self) -> str:
        """The beginning of the document on one line."""
        line = re.sub(r"\s+", " ", f"{self.title} {self.text}").strip()
        return line if len(line) <= SNIPPET else line[:SNIPPET].rsplit(" ", 1)[0] + " ..."


class Index:
    """Searches a corpus with a trained model."""

    def __init__(
        self,
        corpus: Path,
        tokenizer: Path,
        docids: Path,
        model: Path,
        precision: str = "float32",
        constrained: bool = True,
        budget: int = 0,
    ) -> None:
        self.corpus = Corpus(corpus)
        self.tokenizer = AutoTokenizer.from_pretrained(tokenizer)
        trained = DifferentiableSearchIndex.from_pretrained(model, dtype=torch.float32).to(compute_device())
        trained = to_precision(trained, precision, "search.precision")
        self.query_length: int = trained.config.query_length
        self.searcher = Searcher(trained, Docids(docids), constrained, budget)

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """Text pieces of queries, cut to the length the model was trained with."""
        pieces: list[list[int]] = self.tokenizer(list(texts), truncation=True, max_length=self.query_length)[
            "input_ids"
        ]
        return pieces

    def search(self, texts: Sequence[str], k: int = 10, beam: int = 40, batch_size: int = 32) -> list[list[Hit]]:
        """The `k` best documents for each text, best first; fewer if the corpus is smaller.

        At least `beam` hypotheses are kept on the way (the paper's 40): with only `k`, sequential docids lose some.

        >>> dsi.load("runs/demo").search(["copy a directory tree"], k=10)  # doctest: +SKIP
        """
        return [
            [
                Hit(rank, document.doc_id, float(score), document.title, document.text)
                for rank, (doc_index, score) in enumerate(islice(ranking.hits(), k), start=1)
                for document in [self.corpus[int(doc_index)]]
            ]
            for ranking in self.searcher.search(self.encode(texts), max(beam, k), batch_size)
        ]


STAGES = ("corpus", "tokenizer", "docids", "model")
"""What searching needs."""


def load(run: str | Path) -> Index:
    """The index of a finished run, e.g. `load("runs/demo")`, or of a folder made by `export`.

    Raises:
        DsiError: the run has no finished model.
    """
    corpus, tokenizer, docids, model = _folders(Path(run))
    return Index(corpus, tokenizer, docids, model)


def export(run: Path, folder: Path) -> None:
    """Copy what searching needs of a finished run into `folder`, which then needs neither the run nor its store.

    Raises:
        DsiError: the run has no finished model, or the folder is there already.
    """
    if folder.exists():
        raise DsiError(f"{folder} exists already; name a new folder")
    folders = _folders(run)
    partial = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    for source in folders:
        shutil.copytree(source, partial / source.name)
    partial.rename(folder)


def _folders(run: Path) -> list[Path]:
    folders = [run / stage for stage in STAGES]
    for folder in folders:
        if read_manifest(folder) is None:
            raise DsiError(f"{folder}: no finished stage {folder.name} there; is {run} a run, e.g. runs/demo?")
    return folders
