"""The stages `lexical` and `lexical_doc2query`: the postings of the documents' terms, the second with those of their
synthetic queries, by tantivy, and BM25 over them.

BM25 is Lucene's but for three things: k1 and b are 1.2 and .75, which tantivy does not let one choose; all scores are
k1 + 1 = 2.2 times as large; and stems and stop words are others (see `analysis`). Both round lengths above 40 terms.

postings/        tantivy's index; the document with row number n has n in its column `doc_index`
language.json    the language by which texts are cut into terms
"""

import json
import os
import shutil
import tempfile
import weakref
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import tantivy
from numpy.typing import NDArray

from dsi.artifacts import WORK, write_json
from dsi.corpus.store import Corpus
from dsi.doc2query.expanded import contents
from dsi.lexical.analysis import analyzer, terms_of, words_between_blanks
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
    """The number of documents that have it."""


class Terms:
    """Read access to the folder of either stage: the documents that have the words of a query, ranked by BM25."""

    def __init__(self, folder: Path) -> None:
        self.language: str = json.loads((folder / LANGUAGE).read_text(encoding="utf-8"))
        self.schema, self.searcher = self._opened(folder / POSTINGS)

    def _opened(self, postings: Path) -> tuple[tantivy.Schema, tantivy.Searcher]:
        """The schema and the searcher of postings. Readers make a file for a lock; where they may not, they get it in a
        temporary folder of links."""
        try:
            index = tantivy.Index.open(str(postings))
            return index.schema, index.searcher()
        except ValueError:
            if os.access(postings, os.W_OK):
                raise
        links = Path(tempfile.mkdtemp(prefix="dsi-"))
        weakref.finalize(self, shutil.rmtree, links, ignore_errors=True)
        for file in postings.glob("[!.]*"):  # without locks
            (links / file.name).symlink_to(file.resolve())
        index = tantivy.Index.open(str(links))
        return index.schema, index.searcher()

    def __len__(self) -> int:
        return int(self.searcher.num_docs)

    def best(self, texts: Sequence[str], count: int) -> tuple[NDArray[np.uint32], NDArray[np.float32]]:
        """The doc_index and the score of the `count` best documents for each text, each (texts, count), best first.

        A text is words; nothing in it is a command. Of documents with equal scores the earlier ones come first. Where
        fewer have a word of the text, the rest is document 0 with the score -inf.
        """
        doc_index = np.zeros((len(texts), count), dtype=np.uint32)
        scores = np.full((len(texts), count), -np.inf, dtype=np.float32)
        for row, text in enumerate(texts):
            found = self.searcher.search(self._query(text), count, count=False).hits
            numbers = np.array(self.searcher.fast_field_values("doc_index", [place for _, place in found]), np.uint32)
            values = np.array([score for score, _ in found], dtype=np.float32)
            order = np.lexsort((numbers, -values))
            doc_index[row, : len(found)], scores[row, : len(found)] = numbers[order], values[order]
        return doc_index, scores

    def scores_of(self, text: str, doc_index: int) -> list[TermScore]:
        """What each term of a text, in the order of the text, adds to the score that `best` gives a document for it."""
        field = ("doc_index", tantivy.FieldType.Unsigned)
        is_document = tantivy.Query.range_query(self.schema, *field, doc_index, doc_index)
        unscored = tantivy.Query.const_score_query(is_document, 0.0)
        scores = []
        for term, times in Counter(terms_of(text, self.language)).items():
            both = [(tantivy.Occur.Must, unscored), (tantivy.Occur.Must, self._term(term))]
            found = self.searcher.search(tantivy.Query.boolean_query(both), 1, count=False).hits
            score = times * found[0][0] if found else 0.0
            scores.append(TermScore(term, score, self.searcher.doc_freq("terms", term)))
        return scores

    def _query(self, text: str) -> tantivy.Query:
        terms = map(self._term, terms_of(text, self.language))
        return tantivy.Query.boolean_query([(tantivy.Occur.Should, term) for term in terms])

    def _term(self, term: str) -> tantivy.Query:
        return tantivy.Query.term_query(self.schema, "terms", term, index_option="freq")
