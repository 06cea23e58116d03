"""Known-item simulation: queries of a person who remembers some words of a document.

Azzopardi, de Rijke and Balog, "Building Simulated Queries for Known-Item Topics", SIGIR 2007: draw a query length, then
each word from the term model of the document or, with the probability `noise`, of the collection (words
remembered wrongly). No neural model is needed, and it works for every language; where a script puts no blanks between
words, two letters that follow each other are drawn in place of a word.
"""

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
from dsi.corpus.words import joined, words_of

BINS = 1 << 22
"""The number of bins in which words are counted by hash, so that memory, 16 MB, does not grow with the vocabulary."""
SAMPLED_DOCUMENTS = 10_000
"""The number of documents, evenly spaced, from whose words noise is drawn, in place of the whole collection."""
IN_ORDER = 0.5
"""The share of queries whose words keep the order of the document."""


def word_bins(words: Iterable[str]) -> NDArray[np.int64]:
    """The bin of each word, (words,)."""
    return np.fromiter((zlib.crc32(word.encode()) & (BINS - 1) for word in words), dtype=np.int64)


@dataclass(frozen=True)
class Collection:
    """The statistics of the whole collection that a generator needs."""

    frequencies: NDArray[np.int32]
    """The document frequency of each bin of words, (BINS,)."""
    documents: int
    """The number of documents."""
    sample: pa.Array
    """The words of a sample of the documents, each as often as it occurs there."""


def sampled_documents(documents: int) -> range:
    """The numbers of the documents, of so many, from whose words noise is drawn."""
    return range(0, documents, -(-documents // SAMPLED_DOCUMENTS) or 1)


def read_collection(contents: Iterable[str], documents: int) -> Collection:
    """Count the words of a collection in one pass over the contents of its `documents` documents."""
    frequencies, sample = np.zeros(BINS, dtype=np.int32), list[str]()
    sampled = sampled_documents(documents)
    for number, content in enumerate(contents):
        words = words_of(content, pairs=True)
        frequencies[word_bins(set(words))] += 1
        if number in sampled:
            sample += words
    return Collection(frequencies, documents, pa.array(sample, pa.string()))


class KnownItemGenerator:
    """Draws queries from the words of documents."""

    def __init__(self, config: KnownItemConfig, collection: Collection) -> None:
        self.config, self.collection = config, collection

    def __call__(self, documents: Sequence[Document], random: np.random.Generator) -> list[list[str]]:
        """`config.queries` queries for each document, none for a document without words."""
        config = self.config
        titles = [words_of(document.title, pairs=True) for document in documents]
        texts = (words_of(document.text, pairs=True) for document in documents)
        words_of_each = [title + text for title, text in zip(titles, texts, strict=True)]
        sizes = np.array([len(words) for words in words_of_each])
        if not sizes.sum():
            return [[] for _ in documents]
        words = pa.array(chain.from_iterable(words_of_each), pa.string()).dictionary_encode()
        codes, vocabulary = words.indices.to_numpy(), words.dictionary
        first_word = np.concatenate([[0], np.cumsum(sizes)])
        terms = self._terms(codes, vocabulary, sizes, np.array([len(title) for title in titles]))

        # First one row per query, then one row per drawn word of a query.
        document = np.repeat(np.flatnonzero(sizes), config.queries)
        lengths = config.min_words + random.poisson(config.mean_words - config.min_words, size=len(document))
        in_order = random.random(len(document)) < IN_ORDER
        is_span = random.random(len(document)) < config.spans
        span_start = (random.random(len(document)) * np.maximum(sizes[document] - lengths + 1, 1)).astype(np.int64)
        query = np.repeat(np.arange(len(document)), lengths)
        nth = np.arange(len(query)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
        word = terms.draw(document[query], random)  # as a number among the words of all documents
        spanned = is_span[query]
        consecutive = first_word[document[query]] + span_start[query] + nth
        is_first = np.zeros(len(query), dtype=bool)  # whether the query has not drawn the word before
        is_first[np.unique(query * (int(word.max()) + 1) + word, return_index=True)[1]] = True
        keep = np.where(spanned, consecutive < first_word[document[query] + 1], is_first)
        word = np.where(spanned, consecutive, word)[keep]
        query, nth = query[keep], nth[keep]
        ordered = np.lexsort((np.where(in_order[query] | is_span[query], word, nth), query))
        spelled = vocabulary.take(pa.array(codes[word[ordered]]))
        noisy = random.random(len(spelled)) < config.noise
        others = random.integers(len(self.collection.sample), size=noisy.sum())
        spelled = pc.replace_with_mask(spelled, pa.array(noisy), self.collection.sample.take(pa.array(others)))
        offsets = np.searchsorted(query, np.arange(len(document) + 1)).astype(np.int32)
        blanked = pc.binary_join(pa.ListArray.from_arrays(pa.array(offsets), spelled), " ").to_pylist()
        queries = map(joined, blanked)
        return [[next(queries) for _ in range(config.queries if size else 0)] for size in sizes]

    def _terms(
        self, codes: NDArray[Any], vocabulary: pa.Array, sizes: NDArray[np.int64], title_sizes: NDArray[np.int64]
    ) -> "TermModels":
        """The term models of the documents: how likely each of their words is drawn."""
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
    """Distributions over the distinct words of each document, as one cumulative sum over the words of all documents."""

    word: NDArray[np.int64]
    """The first occurrence of each distinct word of each document, as a number among the words of all documents."""
    cumulative: NDArray[np.float64]
    """The sum of the weights before each distinct word, then the sum of all."""
    bounds: NDArray[np.int64]
    """The place of the first distinct word of each document, then their number."""

    def draw(self, document: NDArray[np.int64], random: np.random.Generator) -> NDArray[np.int64]:
        """Draw one word for each of the given documents, as a number among the words of all documents."""
        low, high = self.bounds[document], self.bounds[document + 1]
        target = self.cumulative[low] + random.random(len(document)) * (self.cumulative[high] - self.cumulative[low])
        return self.word[np.clip(np.searchsorted(self.cumulative, target, side="right") - 1, low, high - 1)]
