"""A trained index that is searched with texts: tokenizer, model and docids, opened as section `search` says."""

from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from dsi.config import SearchConfig
from dsi.corpus.words import nfc
from dsi.docids.store import Docids
from dsi.errors import DsiError
from dsi.lexical.index_terms import Terms
from dsi.model.build import open_index
from dsi.model.precision import to_precision
from dsi.runtime.device import search_device
from dsi.search.lexical_prior import lexical_priors, read_mixture
from dsi.search.prior import PLAIN, Prior
from dsi.search.ranking import Ranking
from dsi.search.searcher import Searcher
from dsi.tokenizer import open_tokenizer


@dataclass(frozen=True)
class IndexFolders:
    """The folders of the stages that an index is searched with."""

    tokenizer: Path
    docids: Path
    model: Path
    prior: Path | None = None
    """The stage `prior`, for a search with a prior; None for one without."""
    terms: Path | None = None
    """The stage whose postings the prior is read from."""


class TextSearcher:
    """Ranks the row numbers of documents for texts, with the stages in the given folders.

    Raises:
        DsiError: a file of the model is damaged, the device cannot compute in the configured precision, or the head
            cannot be searched as configured.
    """

    def __init__(self, folders: IndexFolders, search: SearchConfig) -> None:
        self.config = search
        self.tokenizer = open_tokenizer(folders.tokenizer)
        model = open_index(folders.model).to(search_device())
        try:
            search.check_head(model.config.docid_head)
        except ValueError as error:
            raise DsiError(f"{error}; the head of {folders.model} is {model.config.docid_head}") from None
        model = to_precision(model, search.precision, "search.precision")
        self.query_length: int = model.config.query_length
        max_beam = search.max_beam if search.exact else 0
        self.blank = self.encode([""])[0]
        """The token ids of a text without a word."""
        self.terms = Terms(folders.terms) if folders.terms is not None else None
        mixture = read_mixture(folders.prior, search) if folders.prior is not None else PLAIN
        self.searcher = Searcher(model, Docids(folders.docids), search.constrained, max_beam, search.ranking, mixture)

    def changed(self, searcher: Searcher, terms: Terms | None) -> Self:
        """The same index with another searcher, and other words of the documents, after documents have changed."""
        other = copy(self)
        other.searcher, other.terms = searcher, terms
        return other

    def formula(self, has_prior: bool) -> str:
        """What documents are ranked by for a query with a prior, or for one without, in words."""
        by_leaf = self.config.ranking == "leaf"
        if not has_prior:
            return "the logit of its leaf" if by_leaf else "log P"
        total = self.searcher.mixture.formula(self.config.prior)
        return f"{total}, P the softmax over the leaves found" if by_leaf else total

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """The token ids of texts, in NFC as the corpus is, cut to the query length that the model was trained with."""
        return self.tokenizer(list(map(nfc, texts)), truncation=True, max_length=self.query_length)["input_ids"]

    def priors(self, texts: Sequence[str]) -> list[Prior] | None:
        """The priors of texts; None if the index searches without."""
        return lexical_priors(self.terms, texts, self.config.prior_documents) if self.terms is not None else None

    def rank(
        self, queries: Sequence[Sequence[int]], beam: int | None = None, priors: Sequence[Prior] | None = None
    ) -> list[Ranking]:
        """The rankings for queries given as token ids; `beam` is by default that of the configuration. With a prior for
        each query they are planned."""
        return self.searcher.search(queries, beam or self.config.beam, self.config.batch_size, priors)
