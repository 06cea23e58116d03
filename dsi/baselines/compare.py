"""Answer the evaluation queries with the baselines."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from dsi.baselines.bm25 import bm25
from dsi.config import BaselinesConfig
from dsi.corpus.store import Corpus, Query

System = Callable[[Path, Corpus, list[Query], BaselinesConfig], dict[str, Any]]

SYSTEMS: dict[str, System] = {"bm25": bm25}
"""Each writes `NAME.run` to the folder it is given and returns its costs."""


def compare(out: Path, *, baselines: BaselinesConfig, split: str | None, corpus: Path) -> dict[str, Any]:
    """Write `SYSTEM.run` for every system of the configuration and return the costs of each.

    Raises:
        DsiError: the corpus lacks the split, or a system lacks what it runs on.
    """
    documents = Corpus(corpus)
    queries = documents.queries(documents.evaluation_split(split))
    return {name: SYSTEMS[name](out, documents, queries, baselines) for name in baselines.systems}
