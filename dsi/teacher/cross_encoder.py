"""The teacher `cross_encoder`: a model that reads query and document together scores what another teacher finds."""

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from torch.nn import Identity

from dsi.corpus.store import Corpus
from dsi.embeddings.sentence_encoder import architectures, check_encoder, model_config
from dsi.errors import DsiError, first_line
from dsi.model.loading import check_weights
from dsi.runtime.device import compute_device

PAIRS_PER_BATCH = 64
KEY = "teacher.model"
HEADS = ("ForSequenceClassification", "ForCausalLM")
"""How the names of the architectures end that can score a pair; language models do by the logit of a word."""


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


def check_cross_encoder(name: str) -> None:
    """Check a CrossEncoder, a hub name or folder, without loading it.

    Raises:
        DsiError: as `check_encoder`, or it has no head for a pair, for which sentence-transformers makes a random one.
    """
    check_encoder(name, KEY)
    named, scores = architectures(name, KEY), len(model_config(name, KEY).get("id2label") or {})
    if scores > 1:
        raise _several(name, scores)
    if named and not any(each.endswith(HEADS) for each in named):
        raise DsiError(
            f"{KEY}: {name!r} does not score pairs of texts: it is a {', '.join(named)}, and teacher.kind=cross_encoder"
            " needs a model for sequence classification, such as cross-encoder/ms-marco-MiniLM-L6-v2"
        )


def load_cross_encoder(name: str) -> Any:
    """The CrossEncoder of this hub name or folder; its scores are those of its last layer.

    Raises:
        DsiError: as `check_cross_encoder`, it cannot be loaded, or gives several scores for a pair.
    """
    check_cross_encoder(name)
    from sentence_transformers import CrossEncoder as Model

    try:
        model = Model(name, device=str(compute_device()), trust_remote_code=False, activation_fn=Identity())
    except Exception as error:  # of many kinds, according to what is wrong with the files
        raise DsiError(f"{KEY}: cannot load {name!r}: {first_line(error)}") from None
    if model.num_labels != 1:
        raise _several(name, model.num_labels)
    if (part := getattr(model[0], "auto_model", None)) is not None:
        check_weights(type(part), name, part.config, KEY)
    return model


def _several(name: str, scores: int) -> DsiError:
    return DsiError(f"{KEY}: {name!r} gives {scores} scores for a pair, not one; take a ranker")
