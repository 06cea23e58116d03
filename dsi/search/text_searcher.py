"""A trained index that answers texts: tokenizer, model and docids, opened as section `search` says."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from transformers import AutoTokenizer

from dsi.config import SearchConfig
from dsi.docids.store import Docids
from dsi.errors import DsiError
from dsi.model.architecture import DifferentiableSearchIndex
from dsi.model.precision import to_precision
from dsi.runtime.device import compute_device
from dsi.search.searcher import Ranking, Searcher


class TextSearcher:
    """Finds the documents of texts, by row number.

    Args:
        tokenizer: folder of the stage; so are the next two.
        search: how to search.

    Raises:
        DsiError: the device cannot compute in the precision asked for, or the head cannot be searched as asked for.
    """

    def __init__(self, tokenizer_folder: Path, docids_folder: Path, model_folder: Path, search: SearchConfig) -> None:
        self.config = search
        self.tokenizer = AutoTokenizer.from_pretrained(tokenizer_folder)
        trained = DifferentiableSearchIndex.from_pretrained(model_folder, dtype=torch.float32).to(compute_device())
        try:
            search.check_head(trained.config.docid_head)
        except ValueError as error:
            raise DsiError(f"{error}; the head of {model_folder} is {trained.config.docid_head}") from None
        trained = to_precision(trained, search.precision, "search.precision")
        self.query_length: int = trained.config.query_length
        max_beam = search.max_beam if search.exact else 0
        self.searcher = Searcher(trained, Docids(docids_folder), search.constrained, max_beam, search.ranking)

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of queries, cut to the length the model was trained with."""
        token_ids: list[list[int]] = self.tokenizer(list(texts), truncation=True, max_length=self.query_length)[
            "input_ids"
        ]
        return token_ids

    def rank(self, queries: Sequence[Sequence[int]], beam: int | None = None) -> list[Ranking]:
        """Rankings of queries given as text tokens; `beam` is by default that of the configuration."""
        return self.searcher.search(queries, beam or self.config.beam, self.config.batch_size)
