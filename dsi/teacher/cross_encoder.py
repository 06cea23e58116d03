"""The teacher `cross_encoder`: a model that reads query and document together scores what another teacher finds."""

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from dsi.corpus.store import Corpus
from dsi.embeddings.sentence_encoder import check_encoder
from dsi.errors import DsiError, first_line
from dsi.runtime.device import compute_device

PAIRS_PER_BATCH = 64


class Retriever(Protocol):
    """A teacher that searches all documents."""

    def best(self, texts: Sequence[str], count: int) -> tuple[NDArray[np.uint32], NDArray[np.float32]]:
        """The doc_index and the score of the `count` best documents for each text, each (texts, at most count)."""


class CrossEncoder:
    """Orders the documents of a retriever by a CrossEncoder of sentence-transformers.

    Raises:
        DsiError: the model cannot be loaded, or gives several scores for a pair.
    """

    def __init__(self, model: str, retriever: Retriever, corpus: Corpus) -> None:
        self.model, self.retriever, self.corpus = load_cross_encoder(model), retriever, corpus

    def best(self, texts: Sequence[str], count: int) -> tuple[NDArray[np.uint32], NDArray[np.float32]]:
        """The doc_index and the score of the `count` documents that the retriever finds for each text, best first."""
        doc_index, found = self.retriever.best(texts, count)
        query, place = np.nonzero(found > -np.inf)
        scores = np.full(found.shape, -np.inf, dtype=np.float32)
        if pairs := self.pairs(texts, doc_index, found):
            options = {"batch_size": PAIRS_PER_BATCH, "show_progress_bar": False, "convert_to_numpy": True}
            scores[query, place] = self.model.predict(pairs, **options)
        order = np.argsort(-scores, axis=1, kind="stable")
        return np.take_along_axis(doc_index, order, axis=1), np.take_along_axis(scores, order, axis=1)

    def pairs(
        self, texts: Sequence[str], doc_index: NDArray[np.uint32], found: NDArray[np.float32]
    ) -> list[tuple[str, str]]:
        """Each text with the content of every document that the retriever found for it, in the order of its results:
        `doc_index` and the scores `found`, each (texts, count)."""
        query, place = np.nonzero(found > -np.inf)
        numbers = doc_index[query, place].tolist()
        contents = {number: self.corpus[number].content() for number in set(numbers)}
        return [(texts[row], contents[number]) for row, number in zip(query.tolist(), numbers, strict=True)]


def load_cross_encoder(name: str) -> Any:
    """The CrossEncoder of this hub name or folder; DsiError if it cannot be loaded, or gives several scores a pair."""
    check_encoder(name, "teacher.model")
    from sentence_transformers import CrossEncoder as Model

    try:
        model = Model(name, device=str(compute_device()), trust_remote_code=False)
    except Exception as error:  # of many kinds, according to what is wrong with the files
        raise DsiError(f"teacher.model: cannot load {name!r}: {first_line(error)}") from None
    if model.num_labels != 1:
        raise DsiError(f"teacher.model: {name!r} gives {model.num_labels} scores for a pair, not one; take a ranker")
    return model
