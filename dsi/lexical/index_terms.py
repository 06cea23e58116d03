"""The stages `lexical` and `lexical_doc2query`: the postings of the documents' terms, the second with those of their
synthetic queries, by tantivy, and BM25 over them.

BM25 is Lucene's but for three things: k1 and b are 1.2 and .75, which tantivy does not let one choose; all scores are
k1 + 1 = 2.2 times as large; and stems and stop words are others (see `analysis`). Both round lengths above 40 terms.

postings/        tantivy's index; the document with row number n has n in its column `doc_index`
language.json    the language by which texts are cut into terms
"""

import json
import shutil
from collections import Counter
from collections.abc import Iterator, Sequence
from copy import copy
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np
import tantivy
from numpy.typing import NDArray

from dsi.artifacts import WORK, write_json
from dsi.corpus.checks import id_hash
from dsi.corpus.store import Corpus
from dsi.doc2query.expanded import contents
from dsi.lexical.analysis import analyzer, terms_of, words_between_blanks
from dsi.lexical.later_terms import LaterPostings, check_order
from dsi.lexical.postings import Postings
from dsi.runtime.processes import is_first_process, rank
from dsi.runtime.progress import progress
from dsi.runtime.shards import Shards, published
from dsi.runtime.system import link_or_copy

POSTINGS, LANGUAGE = "postings", "language.json"
ANALYZER = "terms"
"""The name under which an opened index knows the analyzer."""
HEAP_BYTES = 128_000_000
"""The memory of the writer, which writes a segment when it is full."""
SHARD = 1 << 20
"""The number of documents in a shard."""
SEGMENTS, MANAGED = "meta.json", ".managed.json"
"""The files of tantivy in which the segments of an index stand, and the files that it may remove."""


def index_terms(out_folder: Path, *, language: str, corpus_folder: Path) -> dict[str, Any]:
    """Write the postings of all documents, those of a million after the other; all processes share the work.

    Returns:
        documents, language and bytes.
    """
    return _write(out_folder, language, Corpus(corpus_folder), None)


def index_expanded_terms(
    out_folder: Path, *, language: str, corpus_folder: Path, doc2query_folder: Path
) -> dict[str, Any]:
    """Write the postings of all documents with their synthetic queries, as `index_terms` does those of documents."""
    return _write(out_folder, language, Corpus(corpus_folder), doc2query_folder)


def _write(out_folder: Path, language: str, corpus: Corpus, doc2query_folder: Path | None) -> dict[str, Any]:
    shards = Shards(out_folder / WORK, len(corpus), SHARD, ".postings", rank())
    for shard in shards.unfinished():
        with published(shards.path(shard)) as temporary:
            _write_postings(temporary, language, corpus, doc2query_folder, shards.range(shard))
    folders = shards.wait()
    if not is_first_process():
        return {}
    _join(out_folder / POSTINGS, folders)
    write_json(out_folder / LANGUAGE, language)
    size = sum(file.stat().st_size for file in (out_folder / POSTINGS).iterdir())
    return {"documents": len(corpus), "language": language, "index_bytes": size}


def _write_postings(folder: Path, language: str, corpus: Corpus, doc2query_folder: Path | None, numbers: range) -> None:
    """Write the postings of some documents, and of their synthetic queries if the folder of these is given, to a new
    folder."""
    folder.mkdir()
    schema = tantivy.SchemaBuilder()
    schema.add_text_field("terms", tokenizer_name=ANALYZER, index_option="freq")
    schema.add_unsigned_field("doc_index", fast=True)
    index = tantivy.Index(schema.build(), path=str(folder))
    index.register_tokenizer(ANALYZER, analyzer(language))
    writer = index.writer(heap_size=HEAP_BYTES, num_threads=1)  # so that the same documents give the same segments
    texts = progress(contents(corpus, doc2query_folder, numbers), "index terms", total=len(numbers))
    for doc_index, (_, content) in zip(numbers, texts, strict=True):
        document = tantivy.Document()
        document.add_text("terms", words_between_blanks(content, language))
        document.add_unsigned("doc_index", doc_index)
        writer.add_document(document)
    writer.commit()
    writer.wait_merging_threads()


def _join(folder: Path, parts: Sequence[Path]) -> None:
    """Make one index of several with the same schema: the segments of all, whose names differ, and their lists."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    whole, managed = dict[str, Any](), dict[str, None]()
    for part in parts:
        of_part = json.loads((part / SEGMENTS).read_text(encoding="utf-8"))
        managed |= dict.fromkeys(json.loads((part / MANAGED).read_text(encoding="utf-8")))
        whole = {**of_part, "segments": [*whole.get("segments", []), *of_part["segments"]]}
        for file in part.glob("[!.]*"):  # without locks
            if file.name != SEGMENTS:
                link_or_copy(file, folder / file.name)  # rather than move: a kill leaves all parts as they were
    (folder / MANAGED).write_text(json.dumps([*managed]), encoding="utf-8")
    (folder / SEGMENTS).write_text(json.dumps(whole, indent=2), encoding="utf-8")


class TermScore(NamedTuple):
    """A term of a query, and what it says of one document."""

    term: str
    score: float
    """What the term adds to the BM25 score of the document, once for each time that it stands in the query; 0 if it is
    not in the document."""
    documents: int
    """The number of documents that have it, later ones not counted."""


class Terms:
    """Read access to the folder of either stage: the documents that have the words of a query, ranked by BM25.

    `changed` adds documents that came later and leaves out others. What BM25 knows of the collection, how many
    documents there are, how many have a term and how long they are, is that of the folder for all of them.
    """

    def __init__(self, folder: Path) -> None:
        self.language: str = json.loads((folder / LANGUAGE).read_text(encoding="utf-8"))
        self.postings = Postings(folder / POSTINGS)
        self.later: Sequence[LaterPostings] = ()
        self.deleted: NDArray[np.int64] = np.zeros(0, dtype=np.int64)

    def changed(self, later: Sequence[LaterPostings], deleted: NDArray[np.int64]) -> Self:
        """The same documents of the folder, with these later ones and without the deleted ones, in no time.

        Args:
            later: postings that follow each other, the first of them the documents of the folder.
            deleted: the doc_index of each deleted document, of the folder or later, increasing: (deleted,).

        Raises:
            ValueError: the later documents do not follow those of the folder and each other.
        """
        check_order(later, len(self.postings))
        terms = copy(self)
        terms.later, terms.deleted = tuple(part for part in later if len(part)), deleted
        return terms

    def __len__(self) -> int:
        """The number of documents, with later and with deleted ones: that of row numbers."""
        return len(self.postings) + sum(map(len, self.later))

    def best(self, texts: Sequence[str], count: int) -> tuple[NDArray[np.uint32], NDArray[np.float32]]:
        """The doc_index and the score of the `count` best documents for each text, each (texts, count), best first.

        A text is words; nothing in it is a command. Of documents with equal scores the earlier ones come first. Where
        fewer have a word of the text, the rest is document 0 with the score -inf.
        """
        doc_index = np.zeros((len(texts), count), dtype=np.uint32)
        scores = np.full((len(texts), count), -np.inf, dtype=np.float32)
        for row, text in enumerate(texts):
            terms = terms_of(text, self.language)
            numbers, values = self._best_of_folder(terms, count)
            if self.later:
                least = values[-1] if len(values) == count else np.float32(0)
                later, of_later = self._best_later(terms, count, least)
                numbers, values = np.concatenate([numbers, later]), np.concatenate([values, of_later])
                order = np.lexsort((numbers, -values))[:count]
                numbers, values = numbers[order], values[order]
            doc_index[row, : len(numbers)], scores[row, : len(numbers)] = numbers, values
        return doc_index, scores

    def _best_of_folder(self, terms: Sequence[str], count: int) -> tuple[NDArray[np.uint32], NDArray[np.float32]]:
        """The best documents of the folder, at most `count`, without deleted ones."""
        limit = count + min(count, int(np.searchsorted(self.deleted, len(self.postings))))
        while True:  # once, unless more than `count` of the best are deleted
            numbers, scores = self.postings.best(terms, limit)
            living = ~self._is_deleted(numbers)
            if living.sum() >= count or len(numbers) < limit:
                return numbers[living][:count], scores[living][:count]
            limit *= 2

    def _best_later(
        self, terms: Sequence[str], count: int, least: np.float32
    ) -> tuple[NDArray[np.uint32], NDArray[np.float32]]:
        """The later documents with a score above `least`, at least the best `count` of them, without deleted ones."""
        first = len(self.postings)
        scores = np.zeros(len(self) - first, dtype=np.float32)
        for _, part, documents, added in self._scores_of_terms(terms, self.later):
            np.add.at(scores[part.first_document - first :], documents, added)
        scores[self.deleted[np.searchsorted(self.deleted, first) :] - first] = 0
        places = np.flatnonzero(scores > least)
        if len(places) > count:
            places = places[scores[places] >= np.partition(scores[places], -count)[-count]]
        return (first + places).astype(np.uint32), scores[places]

    def _is_deleted(self, numbers: NDArray[np.uint32]) -> NDArray[np.bool_]:
        places = np.searchsorted(self.deleted, numbers, side="right")
        return places > np.searchsorted(self.deleted, numbers)

    def scores_of(self, text: str, doc_index: int) -> list[TermScore]:
        """What each term of a text, in the order of the text, adds to the score that `best` gives a document for it,
        or would, were it not deleted."""
        terms = terms_of(text, self.language)
        if doc_index < len(self.postings):
            scores = {term: times * self.postings.score(term, doc_index) for term, times in Counter(terms).items()}
        else:
            [part] = (part for part in self.later if 0 <= doc_index - part.first_document < len(part))
            place = doc_index - part.first_document
            of_terms = self._scores_of_terms(terms, [part])
            scores = {term: float(added[documents == place].sum()) for term, _, documents, added in of_terms}
        return [TermScore(term, scores.get(term, 0.0), self.postings.having(term)) for term in dict.fromkeys(terms)]

    def _scores_of_terms(
        self, terms: Sequence[str], parts: Sequence[LaterPostings]
    ) -> Iterator[tuple[str, LaterPostings, NDArray[np.intp], NDArray[np.float32]]]:
        """For each of the terms and each of the parts that have it, the documents with the term, counted from the first
        of the part, and what the term adds to their scores, as often as it is among the terms."""
        for term, times in Counter(terms).items():
            hashed, weight = np.uint64(id_hash(term)), np.float32(times) * self.postings.weight(term)
            for part in parts:
                postings = part.postings_of(hashed)
                if postings.stop > postings.start:
                    yield term, part, *part.scores(postings, weight, self.postings.norms(terms))
