"""An index as it is searched: its parts, read, with the documents added and without those deleted since it was trained.

What is costly to read, the model and the postings that were saved, is shared by all generations that build on it.
"""

from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dsi.corpus.store import NO_DOCUMENTS, Corpus
from dsi.docids.kind import Kind
from dsi.docids.kinds import opened
from dsi.docids.store import Docids
from dsi.index import later_docids
from dsi.index.generations import DELETED, SEGMENT, Generation, generation_folder
from dsi.index.growth import Growth
from dsi.index.parts import Parts
from dsi.index.segments import Segment, joined_rows
from dsi.lexical.index_terms import Terms
from dsi.model.architecture import DifferentiableSearchIndex
from dsi.model.grown_head import grown_model
from dsi.search.changes import Changes
from dsi.search.text_searcher import TextSearcher


@dataclass(frozen=True, eq=False)
class Opened:
    """An index at one generation, of which nothing changes any more.

    Raises:
        DsiError: a part is damaged or does not fit the others, the device cannot compute in the configured precision,
            or the head cannot be searched as configured.
    """

    parts: Parts
    trained: TextSearcher
    """The searcher of the index as it was trained."""
    growth: Growth
    """What documents that come later need."""
    segments: tuple[Segment, ...] = ()
    """The documents added since."""
    deleted: NDArray[np.int64] = field(default_factory=lambda: NO_DOCUMENTS)
    """The row numbers of the documents deleted since, in increasing order."""

    @classmethod
    def of(cls, parts: Parts) -> "Opened":
        """Read the parts of an index."""
        trained, growth = TextSearcher(parts.folders, parts.search), Growth(parts.base / "growth", Corpus(parts.corpus))
        index = cls(replace(parts, generation=None), trained, growth)
        return index if parts.generation is None else index.at(parts.generation)

    def at(self, generation: Generation) -> "Opened":
        """The same index at another generation that builds on what it was trained to."""
        parts = replace(self.parts, generation=generation)
        known = {segment.folder: segment for segment in self.segments}
        segments, first = list[Segment](), len(self.growth.corpus)
        for number in generation.segments:
            folder = generation_folder(parts.folder, number) / SEGMENT
            segments.append(known.get(folder) or Segment(folder, first))
            first += len(segments[-1])
        return replace(self, parts=parts, segments=tuple(segments), deleted=_read_deleted(parts.folder, generation))

    @cached_property
    def corpus(self) -> Corpus:
        """The documents by row number, deleted ones too."""
        return self.growth.corpus.changed([segment.corpus for segment in self.segments], self.deleted)

    @cached_property
    def assigned(self) -> tuple[Docids, Kind]:
        """The docids of all documents, and what assigns them; of atomic ones those of the documents of the training."""
        trained, generation = self.trained.searcher.docids, self.parts.generation
        if generation is None or not generation.docids:
            return trained, opened(trained.folder)
        folder = generation_folder(self.parts.folder, generation.docids) / later_docids.FOLDER
        return later_docids.read_later_docids(folder, trained)

    def model_of(self, trained: DifferentiableSearchIndex) -> DifferentiableSearchIndex:
        """The model with the docids of all documents, if these are of several tokens; the `trained` one if not."""
        before, (now, _) = self.trained.searcher.docids, self.assigned
        return trained if now is before else grown_model(trained, before, now, joined_rows(self.segments))

    @cached_property
    def searcher(self) -> TextSearcher:
        """The searcher among the documents that are there."""
        if not self.segments and not len(self.deleted):
            return self.trained
        plain, is_atomic = self.trained.searcher, self.trained.searcher.docids.is_atomic
        if not is_atomic and self.segments:
            plain = plain.among(self.model_of(plain.model), self.assigned[0])
        terms = self.trained.terms
        if terms is not None:
            terms = terms.changed([segment.terms for segment in self.segments if segment.terms], self.deleted)
        rows = joined_rows(self.segments) if is_atomic else None
        return self.trained.changed(plain.changed(Changes(rows, self.deleted)), terms)

    @cached_property
    def stored_terms(self) -> Terms | None:
        """The postings that were saved, whether or not a search uses them; None of an index without."""
        folder = self.parts.base / "lexical"
        return self.trained.terms or (Terms(folder) if folder.is_dir() else None)

    @property
    def numbers(self) -> NDArray[np.int64]:
        """The row numbers of the documents that are there, in increasing order."""
        return np.delete(np.arange(len(self.corpus)), self.deleted)

    @property
    def untrained(self) -> NDArray[np.int64]:
        """The row numbers of the documents that are there and were added since the model was trained."""
        added = np.arange(len(self.growth.corpus), len(self.corpus))
        return np.setdiff1d(np.concatenate([self.growth.untrained, added]), self.deleted, assume_unique=True)

    def __len__(self) -> int:
        """The number of documents that are there."""
        return len(self.corpus) - len(self.deleted)


def corpus_of(parts: Parts) -> Corpus:
    """The documents of a saved index by row number, without the rest of it."""
    if (generation := parts.generation) is None:
        return Corpus(parts.corpus)
    later = [Corpus(generation_folder(parts.folder, number) / SEGMENT) for number in generation.segments]
    return Corpus(parts.corpus).changed(later, _read_deleted(parts.folder, generation))


def _read_deleted(folder: Path, generation: Generation) -> NDArray[np.int64]:
    path = generation_folder(folder, generation.number) / DELETED
    return np.load(path).astype(np.int64) if generation.deleted else NO_DOCUMENTS


def write_deleted(folder: Path, deleted: NDArray[np.int64]) -> None:
    """Write the row numbers of the deleted documents to the folder of a generation, if there are any."""
    if len(deleted):
        np.save(folder / DELETED, deleted.astype(np.uint32))
