"""Priors of the words of the documents, and the weight that the stage `prior` has chosen for them."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from dsi.config import SearchConfig
from dsi.errors import DsiError
from dsi.lexical.index_terms import Terms, TermScore
from dsi.search.prior import Mixture, Prior

CHOICE = "prior.json"
"""The file of the stage `prior` with the weight and the epsilon."""
LUCENE = 1 / 2.2
"""What makes scores of tantivy as large as those of Lucene, whose BM25 lacks the factor k1 + 1."""


def lexical_priors(terms: Terms, texts: Sequence[str], documents: int) -> list[Prior]:
    """The priors of texts: the BM25 scores of at most so many documents each, in Lucene's unit."""
    priors = []
    for text in texts:
        [doc_index], [scores] = terms.best([text], min(documents, len(terms)))
        found = scores > 0
        order = np.argsort(doc_index[found], kind="stable")
        priors.append(Prior(doc_index[found][order].astype(np.int64), LUCENE * scores[found][order]))
    return priors


def term_priors(terms: Terms, text: str, doc_index: int) -> list[TermScore]:
    """What each term of a text adds to the prior of a document, or would, were it among the best; in Lucene's unit."""
    return [term._replace(score=LUCENE * term.score) for term in terms.scores_of(text, doc_index)]


def read_mixture(prior_folder: Path, search: SearchConfig) -> Mixture:
    """The weight and the epsilon of the configuration, where these are `auto` those that the stage `prior` chose.

    Raises:
        DsiError: they are `auto`, and the stage has chosen none.
    """
    chosen: dict[str, Any] = json.loads((prior_folder / CHOICE).read_text(encoding="utf-8"))
    values = []
    for key in ("weight", "epsilon"):
        value = getattr(search, f"prior_{key}")
        values.append(chosen[key] if value == "auto" else value)
        for name in ("prior", "ranking"):
            if value == "auto" and chosen[name] != getattr(search, name):
                raise DsiError(
                    f"search.prior_{key}=auto: the run has chosen one for search.{name}={chosen[name]}, not for"
                    f" {getattr(search, name)}; give it a number, or make the run so"
                )
    return Mixture(*values)
