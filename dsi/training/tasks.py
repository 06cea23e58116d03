"""Training tasks: what text leads to a document's docid (Pradeep et al. 2023, section 3.2).

d2q        a synthetic query
first_p    its first pieces (FirstP; Tay et al. 2022)
daq        random spans of it (document as query; NCI, Wang et al. 2022)
labelled   a real query, from split train
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from transformers import PreTrainedTokenizerBase

from dsi.config import TasksConfig
from dsi.corpus.store import Corpus
from dsi.doc2query.shards import read_shards
from dsi.errors import DsiError
from dsi.progress import progress
from dsi.training.examples import Pairs

LABELLED_SPLIT = "train"
CHUNK = 10_000
"""Documents tokenised at once."""


def training_pairs(
    config: TasksConfig, corpus: Corpus, doc2query: Path, text: PreTrainedTokenizerBase, query_length: int, seed: int
) -> dict[str, Pairs]:
    """The pairs of every task that has a weight, read as they are asked for; queries are cut to `query_length`
    pieces of the tokenizer `text`.

    Raises:
        DsiError: there is no pair for a task.
    """

    def cut(texts: list[str], length: int) -> list[list[int]]:
        pieces: list[list[int]] = text(texts, truncation=True, max_length=length)["input_ids"] if texts else []
        return pieces

    def synthetic_queries() -> Pairs:
        for doc_index, texts in progress(read_shards(doc2query), "tokenise queries", unit="shards"):
            yield doc_index, cut(texts, query_length)

    def first_passages() -> Pairs:
        for numbers, texts in _documents(corpus):
            yield numbers, cut(texts, config.passage_length)

    def spans() -> Pairs:
        for numbers, texts in _documents(corpus):
            random = np.random.default_rng([seed, int(numbers[0])])
            chosen = [
                _spans(pieces, config.spans, config.passage_length, random)
                for pieces in text(texts, add_special_tokens=False)["input_ids"]
            ]
            counts = [len(some) for some in chosen]
            yield np.repeat(numbers, counts), [[*span, text.eos_token_id] for some in chosen for span in some]

    def labelled_queries() -> Pairs:
        corpus.check_split("training.tasks.labelled", LABELLED_SPLIT)
        pairs = corpus.relevant(LABELLED_SPLIT)
        while chunk := list(islice(pairs, CHUNK)):
            numbers = np.array([number for _, number in chunk], dtype=np.uint32)
            yield numbers, cut([query.text for query, _ in chunk], query_length)

    tasks = {"d2q": synthetic_queries, "first_p": first_passages, "daq": spans, "labelled": labelled_queries}
    return {name: _not_empty(name, pairs()) for name, pairs in tasks.items() if getattr(config, name)}


def _documents(corpus: Corpus) -> Iterator[tuple[NDArray[np.uint32], list[str]]]:
    for start in progress(range(0, len(corpus), CHUNK), "tokenise documents", unit=f"x {CHUNK} docs"):
        texts = [document.content() for document in corpus.rows(start, start + CHUNK)]
        yield np.arange(start, start + len(texts), dtype=np.uint32), texts


def _spans(pieces: list[int], count: int, length: int, random: np.random.Generator) -> list[list[int]]:
    """Spans at random places; a document that is not longer than one is its only span."""
    length -= 1  # the end of the text is a piece too
    if len(pieces) <= length:
        return [pieces]
    return [pieces[start : start + length] for start in random.integers(len(pieces) - length + 1, size=count)]


def _not_empty(name: str, pairs: Pairs) -> Iterator[Any]:
    found = False
    for doc_index, pieces in pairs:
        found = found or bool(pieces)
        yield doc_index, pieces
    if not found:
        raise DsiError(f"training.tasks.{name}: there is nothing to train on; do the documents have words?")
