"""What an index answers, as values that JSON can hold. Everything here computes, and belongs in a thread."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from math import isfinite
from time import perf_counter
from typing import Any

from dsi.index.index import Index

Json = dict[str, Any]


@dataclass(frozen=True)
class Search:
    """A search that somebody wants."""

    query: str
    k: int
    beam: int | None = None
    text: bool = True
    """Whether the hits are to have their texts."""


class Answers:
    """The answers of an index, which goes by this name."""

    def __init__(self, index: Index, name: str) -> None:
        self.index, self.name = index, name

    @property
    def generation(self) -> int | None:
        """The number of the generation that is searched; None of an index as it was saved, and of a run."""
        generation = self.index.generation
        return None if generation is None else generation.number

    def search(self, asked: Sequence[Search]) -> list[Json]:
        """The answers to several searches, all of one generation. Those with the same beam are one batch of the index:
        what a search finds does not depend on the others."""
        while True:
            generation = self.generation
            answers = self._search(asked, generation)
            if generation == self.generation:  # else a new one was taken meanwhile
                return answers

    def _search(self, asked: Sequence[Search], generation: int | None) -> list[Json]:
        answers = dict[int, Json]()
        beams = [max(search.k, search.beam or self.index.config.beam) for search in asked]
        for beam in dict.fromkeys(beams):
            places = [place for place, of_search in enumerate(beams) if of_search == beam]
            of_beam, began = [asked[place] for place in places], perf_counter()
            found = self.index.search([search.query for search in of_beam], max(each.k for each in of_beam), beam)
            milliseconds = round(1000 * (perf_counter() - began), 3)
            for place, search, hits in zip(places, of_beam, found, strict=True):
                answers[place] = {
                    "query": search.query,
                    "hits": [
                        {
                            "rank": hit.rank,
                            "doc_id": hit.doc_id,
                            "score": hit.score,
                            "title": hit.title,
                            **({"text": hit.text} if search.text else {}),
                        }
                        for hit in hits[: search.k]
                    ],
                    "generation": generation,
                    "milliseconds": milliseconds,
                }
        return [answers[place] for place in range(len(asked))]

    def walk(self, asked: Search) -> Json:
        """What a search does.

        Raises:
            DsiError, ValueError: as `Index.walk`.
        """
        began = perf_counter()
        walk = asdict(self.index.walk(asked.query, asked.k, asked.beam))
        return walk | {"milliseconds": round(1000 * (perf_counter() - began), 3)}

    def explain(self, query: str, doc_id: str) -> Json:
        """Why a document has its score.

        Raises:
            DsiError, KeyError, ValueError: as `Index.explain`.
        """
        explanation = self.index.explain(query, doc_id)
        return _finite(asdict(explanation)) | {"text": str(explanation)}

    def document(self, doc_id: str) -> Json:
        """A document.

        Raises:
            KeyError: there is none with this id.
        """
        return self.index.documents[doc_id]._asdict()

    def about(self) -> Json:
        """What the index is."""
        index = self.index
        return {
            "name": self.name,
            "documents": len(index),
            "docids": index.searcher.searcher.docids.vocabulary.kind,
            "prior": None if index.config.prior == "none" else index.config.prior,
            "ranking": index.config.ranking,
            "formula": index.total,
            "generation": self.generation,
            "has_documents": index.has_documents,
        }


def _finite(value: Any) -> Any:
    """A value without infinite numbers, which JSON has not: None stands for log 0."""
    if isinstance(value, dict):
        return {key: _finite(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(each) for each in value]
    return None if isinstance(value, float) and not isfinite(value) else value
