"""Section `corpus`: which documents, queries and judgements."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import model_validator

from dsi.config.section import Count, Section, Seed, Share

TRAIN, DEV, TEST = USUAL_SPLITS = ("train", "dev", "test")
"""Splits that are read without being named where a source has them."""


class CorpusConfig(Section):
    source: Literal["pydoc", "msmarco", "beir", "ir_datasets"] = "pydoc"
    """pydoc: documentation of Python and of installed packages; msmarco: the official TSV files; beir: a BEIR folder;
    ir_datasets: any id of that catalogue."""
    path: str | None = None
    """msmarco, beir: the folder that holds the files; msmarco also takes the official .tar.gz."""
    dataset: str | None = None
    """ir_datasets: the id that has the documents, e.g. msmarco-passage."""
    packages: list[str] = []
    """pydoc: installed packages to read beside the standard library."""
    splits: dict[str, str] = {}
    """Our split name -> the source's (msmarco {dev: dev.small}; ir_datasets {dev: msmarco-passage/dev/small}); these
    must exist. Splits named train, dev and test are read without being named here where a folder has them."""
    size: Count | None = None
    """Keep this many documents: first those judged for the evaluation queries, then those of the training queries,
    then random ones. A smaller subset is contained in every larger one. Null keeps all."""
    evaluation_queries: Count | None = None
    """Keep the first so many judged queries of every split but train, whose documents a small subset must hold. Null
    keeps all."""
    max_unknown: Share = 0.0
    """Largest tolerated share of judgements that name an unknown (or empty) document or an unknown query."""
    seed: Seed = 0

    @model_validator(mode="after")
    def _source_has_its_keys(self) -> Self:
        if self.source in ("msmarco", "beir") and self.path is None:
            raise ValueError(f"corpus.path is needed with corpus.source={self.source}")
        if self.source == "ir_datasets" and (self.dataset is None or not self.splits):
            raise ValueError("corpus.dataset and corpus.splits are needed with corpus.source=ir_datasets")
        return self
