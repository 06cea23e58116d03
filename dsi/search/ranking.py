"""Rankings: the documents found for a query, by log-probability or by the total with a prior."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from dsi.search.prior import Mixture, Prior

SAME = 1e-12
"""The relative difference of float64 logarithms of the same number: tensors of other shapes are rounded otherwise."""


class Ranking(NamedTuple):
    """The documents found for a query, best first."""

    doc_index: NDArray[np.int64]
    """The row numbers of the documents, (hits,)."""
    score: NDArray[np.float32]
    """What they are ordered by, (hits,): the log-probability of each document's docid given the query, or the logit of
    its leaf; with a prior the total."""
    log_prob: NDArray[np.float32]
    """The log-probability of each document's docid, or what stands for it with ranking leaf, (hits,); -inf for a
    document of the prior that no beam has decoded, whose total is that of probability 0."""
    certified: int
    """How many of the first hits are certified to be the best documents of all by this score."""
    is_docid: NDArray[np.bool_]
    """Whether each result of the beam is a docid that exists, (results,)."""

    def hits(self) -> Iterator[tuple[int, float]]:
        """The doc_index and the score of each document."""
        return zip(self.doc_index.tolist(), self.score.tolist(), strict=True)


NOTHING = Ranking(np.empty(0, np.int64), np.empty(0, np.float32), np.empty(0, np.float32), 0, np.empty(0, np.bool_))
"""The ranking where no document is left."""


def by_total(
    documents: NDArray[np.int64],
    log_prob: NDArray[np.float32],
    prior: Prior,
    mixture: Mixture,
    beam: int,
    certified_from: float,
) -> Ranking:
    """The ranking by total of some documents, repeated or not, and of the rest of the prior. No other document has a
    larger total than `certified_from`."""
    documents, first = np.unique(documents, return_index=True)
    rest = np.setdiff1d(prior.doc_index, documents, assume_unique=True)
    documents = np.concatenate([documents, rest])
    log_prob = np.concatenate([log_prob[first], np.full(len(rest), -np.inf, dtype=np.float32)])
    of_prior = torch.from_numpy(prior.of_documents(documents))
    gains = mixture.gains(torch.from_numpy(log_prob), of_prior).numpy()
    order = np.lexsort((documents, -log_prob, -gains))[:beam]
    order = order[gains[order] > -np.inf]
    equal = SAME * np.abs(gains[order])
    is_certified = (gains[order] >= certified_from - equal) & (log_prob[order] > -np.inf)
    certified = int(np.argmin(np.append(is_certified, False)))  # up to the first that is not
    totals = (gains[order] + mixture.floor).astype(np.float32)
    return Ranking(documents[order], totals, log_prob[order], certified, np.ones(len(order), dtype=bool))
