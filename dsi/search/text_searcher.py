"""A trained index that is searched with texts: tokenizer, model and docids, opened as section `search` says."""

from collections.abc import Sequence
from pathlib import Path

from transformers import AutoTokenizer

from dsi.config import SearchConfig
from dsi.corpus.words import nfc
from dsi.docids.store import Docids
from dsi.errors import DsiError
from dsi.lexical.index_terms import Terms
from dsi.model.build import open_index
from dsi.model.precision import to_precision
from dsi.runtime.device import compute_device
from dsi.search.prior import PLAIN, Prior, lexical_priors, read_mixture
from dsi.search.searcher import Ranking, Searcher


class TextSearcher:
    """Ranks the row numbers of documents for texts, with the stages in the given folders.

    The last two folders, of the stage `prior` and of the postings that its prior is read from, are needed for a search
    with a prior.

    Raises:
        DsiError: a file of the model is damaged, the device cannot compute in the configured precision, or the head
            cannot be searched as configured.
    """

    def __init__(
        self,
        tokenizer_folder: Path,
        docids_folder: Path,
        model_folder: Path,
        search: SearchConfig,
        prior_folder: Path | None = None,
        terms_folder: Path | None = None,
    ) -> None:
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
        self.terms = Terms(terms_folder) if terms_folder is not None else None
        mixture = read_mixture(prior_folder, search) if prior_folder is not None else PLAIN
        self.searcher = Searcher(model, Docids(docids_folder), search.constrained, max_beam, search.ranking, mixture)

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
