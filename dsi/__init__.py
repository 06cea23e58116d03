"""Generative retrieval with a Differentiable Search Index: one T5 maps a query straight to document identifiers.

In: the configuration of an experiment, run by `dsi run` or make. Out: the folder of the run, whose index `load` opens.
"""

from __future__ import annotations

from importlib.metadata import version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

    from dsi.index.index import Index

__version__ = version("dsi-retrieval")


def load(run: str | Path, **search: Any) -> Index:
    """Open the index of a finished run, e.g. `dsi.load("runs/demo").search("copy a directory tree", k=10)`.

    It searches as the run's section `search` says, but for keys of that section that are given here, e.g. `beam=20`.

    Raises:
        DsiError: the run is not finished or was made by another version, or there is no such key or value.
    """
    from dsi.index.index import load

    return load(run, **search)
