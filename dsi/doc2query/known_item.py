"""Known-item simulation: queries as a person might type them who remembers some words of a document.

Azzopardi, de Rijke and Balog, "Building Simulated Queries for Known-Item Topics", SIGIR 2007: choose a query length,
then draw that many words from the document by a term model. Ours is their discriminative one, softened by the term's
frequency in the document. No model is needed, and any language that splits into words will do.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterable, Sequence
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from dsi.config import KnownItemConfig

WORD = re.compile(r"[^\W_]+")
BINS = 1 << 22
"""Words are counted by hash, so that memory does not grow with the vocabulary: 16 MB."""


def words_of(text: str) -> list[str]:
    """Lower-cased words.

    >>> words_of("Copy a directory_tree, 2x!")
    ['copy', 'a', 'directory', 'tree', '2x']
    """
    return WORD.findall(text.lower())


def word_bins(words: Iterable[str]) -> NDArray[np.int64]:
    return np.fromiter((zlib.crc32(word.encode()) & (BINS - 1) for word in words), dtype=np.int64)


def document_frequencies(contents: Iterable[str]) -> tuple[NDArray[np.int32], int]:
    """Documents a word bin occurs in, shape (BINS,), and the number of documents."""
    frequencies, count = np.zeros(BINS, dtype=np.int32), 0
    for content in contents:
        frequencies[word_bins(set(words_of(content)))] += 1
        count += 1
    return frequencies, count


class KnownItemGenerator:
    """Draws queries from documents, given the collection's document frequencies, shape (BINS,)."""

    def __init__(self, config: KnownItemConfig, frequencies: NDArray[np.int32], documents: int) -> None:
        self.config = config
        self.frequencies = frequencies
        self.documents = documents

    def __call__(self, contents: Sequence[str], random: np.random.Generator) -> list[list[str]]:
        """`config.queries` queries for each document; none for a document without words."""
        words = [words_of(content) for content in contents]
        collection = np.array(list(chain(*words)), dtype=object)
        return [self._queries(own, collection, random) for own in words]

    def _queries(self, words: list[str], collection: NDArray[np.object_], random: np.random.Generator) -> list[str]:
        if not words:
            return []
        vocabulary, counts = np.unique(np.array(words, dtype=object), return_counts=True)
        log_weights = self._log_weights(vocabulary, counts)
        first = {word: position for position, word in reversed(list(enumerate(words)))}
        positions = np.array([first[word] for word in vocabulary])
        queries, config = self.config.queries, self.config
        # The largest n of log weight + Gumbel noise are n draws without replacement.
        keys = log_weights + random.gumbel(size=(queries, len(vocabulary)))
        order = np.argsort(-keys, axis=1)
        lengths = random.integers(config.min_words, config.max_words + 1, size=queries)
        in_document_order = random.random(queries) < 0.5
        is_span = random.random(queries) < config.spans
        starts = (random.random(queries) * np.maximum(len(words) - lengths + 1, 1)).astype(int)
        noise = collection[random.integers(len(collection), size=(queries, config.max_words))]
        is_noisy = random.random((queries, config.max_words)) < config.noise
        chosen = []
        for number, (row, length) in enumerate(zip(order, lengths, strict=True)):
            terms = row[:length]
            if is_span[number]:
                query = words[starts[number] : starts[number] + length]
            elif in_document_order[number]:
                query = vocabulary[terms[np.argsort(positions[terms])]]
            else:
                query = vocabulary[terms]
            extra = zip(query, noise[number], is_noisy[number], strict=False)
            chosen.append(" ".join(f"{word} {other}" if noisy else word for word, other, noisy in extra))
        return chosen

    def _log_weights(self, vocabulary: Iterable[str], counts: NDArray[np.int64]) -> NDArray[np.float64]:
        """Log of the unnormalised probability of drawing each word: a power of idf times a damped term frequency."""
        frequencies = np.maximum(self.frequencies[word_bins(vocabulary)], 1)
        inverse_document_frequency = np.log1p(self.documents / frequencies)
        term_frequency = 1 + 0.5 * np.minimum(counts - 1, 3)
        return np.asarray(self.config.discrimination * np.log(inverse_document_frequency) + np.log(term_frequency))
