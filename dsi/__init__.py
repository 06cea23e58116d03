"""Generative retrieval with a Differentiable Search Index: one T5 maps a query straight to document identifiers."""

from __future__ import annotations

from importlib.metadata import version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

    from dsi.index.index import Index

__version__ = version("dsi")


def load(run: str | Path, **search: Any) -> Index:
    """The search index of a finished run, e.g. `dsi.load("runs/demo").search(["copy a directory tree"], k=10)`.

    It searches as the run's section `search` says, but for keys of that section that are given here, e.g. `beam=20`.
    """
    from dsi.index.index import load

    return load(run, **search)
