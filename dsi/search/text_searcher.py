"""A trained index that is searched with texts: tokenizer, model and docids, opened as section `search` says."""

from collections.abc import Sequence
from pathlib import Path

from transformers import AutoTokenizer

from dsi.config import SearchConfig
from dsi.corpus.words import nfc
from dsi.docids.store import Docids
from dsi.errors import DsiError
from dsi.model.build import open_index
from dsi.model.precision import to_precision
from dsi.runtime.device import compute_device
from dsi.search.searcher import Ranking, Searcher


class TextSearcher:
    """Ranks the row numbers of documents for texts, with the stages in the given folders.

    Raises:
        DsiError: a file of the model is damaged, the device cannot compute in the configured precision, or the head
            cannot be searched as configured.
    """

    def __init__(self, tokenizer_folder: Path, docids_folder: Path, model_folder: Path, search: SearchConfig) -> None:
        self.config = search
        self.tokenizer = AutoTokenizer.from_pretrained(tokenizer_folder)
        model = open_index(model_folder).to(compute_device())
        try:
            search.check_head(model.config.docid_head)
        except ValueError as error:
            raise DsiError(f"{error}; the head of {model_folder} is {model.config.docid_head}") from None
        model = to_precision(model, search.precision, "search.precision")
        self.query_length: int = model.config.query_length
        max_beam = search.max_beam if search.exact else 0
        self.blank = self.encode([""])[0]
        """The token ids of a text without a word."""
        self.searcher = Searcher(model, Docids(docids_folder), search.constrained, max_beam, search.ranking)

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """The token ids of texts, in NFC as the corpus is, cut to the query length that the model was trained with."""
        return self.tokenizer(list(map(nfc, texts)), truncation=True, max_length=self.query_length)["input_ids"]

    def rank(self, queries: Sequence[Sequence[int]], beam: int | None = None) -> list[Ranking]:
        """The rankings for queries given as token ids; `beam` is by default that of the configuration."""
        return self.searcher.search(queries, beam or self.config.beam, self.config.batch_size)
