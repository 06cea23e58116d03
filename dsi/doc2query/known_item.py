"""Known-item simulation: queries as a person might type them who remembers some words of a document.

Azzopardi, de Rijke and Balog, "Building Simulated Queries for Known-Item Topics", SIGIR 2007: draw a query length; then
draw each word from the document's term model, or, with a small chance, from the collection's (what the person remembers
wrongly). No model is needed, and any language that splits into words will do.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from dsi.config import KnownItemConfig
from dsi.corpus.store import Document
from dsi.corpus.words import words_of

BINS = 1 << 22
"""Words are counted by hash, so that memory does not grow with the vocabulary: 16 MB."""
SAMPLED_DOCUMENTS = 10_000
"""Documents, evenly spaced, whose words stand for the collection when a word is drawn from all of it."""
IN_ORDER = 0.5
"""Share of the queries whose words keep the document's order."""


def word_bins(words: Iterable[str]) -> NDArray[np.int64]:
    return np.fromiter((zlib.crc32(word.encode()) & (BINS - 1) for word in words), dtype=np.int64)


@dataclass(frozen=True)
class Collection:
    """What a generator knows of the whole collection."""

    frequencies: NDArray[np.int32]
    """Documents a word bin occurs in, (BINS,)."""
    documents: int
    sample: pa.Array
    """Words of a sample of the documents, as often as they occur there."""


def read_collection(contents: Iterable[str], documents: int) -> Collection:
    """Count the collection's words in one pass over the contents of its `documents` documents."""
    frequencies, sample = np.zeros(BINS, dtype=np.int32), list[str]()
    stride = -(-documents // SAMPLED_DOCUMENTS)
    for number, content in enumerate(contents):
        words = words_of(content)
        frequencies[word_bins(set(words))] += 1
        if number % stride == 0:
            sample += words
    return Collection(frequencies, documents, pa.array(sample, pa.string()))


class KnownItemGenerator:
    """Draws queries from documents."""

    def __init__(self, config: KnownItemConfig, collection: Collection) -> None:
        self.config = config
        self.collection = collection

    def __call__(self, documents: Sequence[Document], random: np.random.Generator) -> list[list[str]]:
        """`config.queries` queries for each document; none for a document without words."""
        config = self.config
        titles = [words_of(document.title) for document in documents]
        texts = [words_of(document.text) for document in documents]
        sizes = np.array([len(title) + len(text) for title, text in zip(titles, texts, strict=True)])
        if not sizes.sum():
            return [[] for _ in documents]
        words = pa.array(chain.from_iterable(chain(*zip(titles, texts, strict=True))), pa.string()).dictionary_encode()
        codes, vocabulary = words.indices.to_numpy(), words.dictionary
        first_word = np.concatenate([[0], np.cumsum(sizes)])
        terms = self._terms(codes, vocabulary, sizes, np.array([len(title) for title in titles]))

        # One row a query, then one row a drawn word of a query.
        document = np.repeat(np.flatnonzero(sizes), config.queries)
        lengths = config.min_words + random.poisson(config.mean_words - config.min_words, size=len(document))
        in_order = random.random(len(document)) < IN_ORDER
        is_span = random.random(len(document)) < config.spans
        span_start = (random.random(len(document)) * np.maximum(sizes[document] - lengths + 1, 1)).astype(np.int64)
        query = np.repeat(np.arange(len(document)), lengths)
        nth = np.arange(len(query)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
        word = terms.draw(document[query], random)  # number among the block's words
        spanned = is_span[query]
        consecutive = first_word[document[query]] + span_start[query] + nth
        keep = np.where(spanned, consecutive < first_word[document[query] + 1], _first_of_its_kind(query, word))
        word = np.where(spanned, consecutive, word)[keep]
        query, nth = query[keep], nth[keep]
        ordered = np.lexsort((np.where(in_order[query] | is_span[query], word, nth), query))
        spelled = vocabulary.take(pa.array(codes[word[ordered]]))
        noisy = random.random(len(spelled)) < config.noise
        others = random.integers(len(self.collection.sample), size=noisy.sum())
        spelled = pc.replace_with_mask(spelled, pa.array(noisy), self.collection.sample.take(pa.array(others)))
        offsets = np.searchsorted(query, np.arange(len(document) + 1)).astype(np.int32)
        queries = iter(pc.binary_join(pa.ListArray.from_arrays(pa.array(offsets), spelled), " ").to_pylist())
        return [[next(queries) for _ in range(config.queries if size else 0)] for size in sizes]

    def _terms(
        self, codes: NDArray[Any], vocabulary: pa.Array, sizes: NDArray[np.int64], title_sizes: NDArray[np.int64]
    ) -> TermModels:
        """The documents' term models: how likely each of their words is drawn."""
        config = self.config
        document = np.repeat(np.arange(len(sizes)), sizes)
        within = np.arange(len(codes)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
        occurrence = np.where(within < title_sizes[document], config.title_weight, 1.0)
        pairs, first, inverse = np.unique(
            document * len(vocabulary) + codes, return_index=True, return_inverse=True
        )  # sorted by document
        counts = np.bincount(inverse, weights=occurrence)
        frequency = np.maximum(self.collection.frequencies[word_bins(vocabulary.to_pylist())], 1)[codes[first]]
        if config.terms == "popular":
            weights = counts
        elif config.terms == "discriminative":
            weights = 1.0 / frequency
        else:
            inverse_document_frequency = np.log1p(self.collection.documents / frequency)
            weights = np.log1p(counts) * inverse_document_frequency**config.discrimination
        stops = np.searchsorted(pairs, np.arange(1, len(sizes) + 1) * len(vocabulary))
        return TermModels(first, np.concatenate([[0.0], np.cumsum(weights)]), np.concatenate([[0], stops]))


@dataclass(frozen=True)
class TermModels:
    """Distributions over the distinct words of each document, as one cumulative sum over all of them."""

    word: NDArray[np.int64]
    """Where each distinct word of each document first occurs, as a number among the words of all documents."""
    cumulative: NDArray[np.float64]
    """Weights summed before each of them, and in all."""
    bounds: NDArray[np.int64]
    """Where the distinct words of each document start, and the end."""

    def draw(self, document: NDArray[np.int64], random: np.random.Generator) -> NDArray[np.int64]:
        """One word, by number, for each of the given documents."""
        low, high = self.bounds[document], self.bounds[document + 1]
        target = self.cumulative[low] + random.random(len(document)) * (self.cumulative[high] - self.cumulative[low])
        return self.word[np.clip(np.searchsorted(self.cumulative, target, side="right") - 1, low, high - 1)]


def _first_of_its_kind(query: NDArray[np.int64], word: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Whether the query has not drawn the same word before."""
    first = np.zeros(len(query), dtype=bool)
    first[np.unique(query * (int(word.max()) + 1) + word, return_index=True)[1]] = True
    return first
