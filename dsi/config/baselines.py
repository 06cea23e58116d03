"""Sections `baselines` and `encoder`: the systems to compare with, and the training of one of them."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from dsi.config.section import Count, Rate, Section, Seed, Share


class EncoderConfig(Section):
    """Training of the baseline dual_encoder, GTR's recipe; its sizes, or its checkpoint, are those of `model`."""

    steps: Count = 500
    """A step reads whole documents, so that it takes several times as long as one of the index."""
    batch_size: Count = 256
    """Pairs a step, over all processes; each process's share are the negatives of its queries."""
    learning_rate: Rate = 1e-3
    embedding_learning_rate: Rate = 2e-2
    save_steps: Count = 100
    seed: Seed = 0


class Bm25Config(Section):
    k1: Annotated[float, Field(ge=0)] = 0.9
    b: Share = 0.4


class BaselinesConfig(Section):
    systems: list[Literal["bm25", "bm25_doc2query", "dense", "dual_encoder"]] = ["bm25"]
    """bm25: Lucene through pyserini, English analyzer; bm25_doc2query: the same over passages with their synthetic
    queries; dense: a sentence-transformers model, exact inner product; dual_encoder: one trained here on the synthetic
    queries (section `encoder`)."""
    bm25: Bm25Config = Bm25Config()
    """Defaults are Lucene's in pyserini and Anserini."""
    dense_model: str = "sentence-transformers/gtr-t5-base"
    """dense: name or folder of the model; the paper's is GTR-Base."""
    depth: Count = 100
    """Documents returned a query."""
