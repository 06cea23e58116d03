"""The rankings of an index as other tools measure them: as deep as those of `dsi evaluate`, no two scores equal."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

from dsi.index.hits import Hit
from dsi.index.index import Index, load
from dsi.search.run_files import strictly_decreasing

BATCHES = 32
"""The number of batches whose hits, with their texts, are in memory together."""


def opened(index: Index | str | Path) -> Index:
    """The index itself, or that of a run, a saved folder or a repository of the hub."""
    return index if isinstance(index, Index) else load(index)


@dataclass(frozen=True)
class Rankings:
    """How an index is asked.

    Raises:
        ValueError: depth or beam are below 1.
    """

    index: Index
    depth: int
    """The number of documents of a ranking, if there are so many."""
    beam: int
    without_own: bool = False
    """Whether queries may be documents, whose own one, of the same id, is left out of their rankings."""

    def __post_init__(self) -> None:
        if min(self.depth, self.beam) < 1:
            raise ValueError(f"k and beam must be above 0, not {self.depth} and {self.beam}")

    @classmethod
    def of(cls, index: Index, k: int | None, beam: int | None, without_own: bool) -> Self:
        """Those of `dsi evaluate` by default: as many documents as the beam, that of the configuration, has."""
        beam = index.config.beam if beam is None else beam
        depth = beam if k is None else k
        return cls(index, depth, max(beam, depth), without_own)

    def to(self, depth: int) -> Self:
        """The same with at most so many documents."""
        return replace(self, depth=min(depth, self.depth))

    def __call__(self, queries: Sequence[tuple[str, str]]) -> Iterator[list[Hit]]:
        """The ranking for each query, an id and a text, whose scores are lowered where it takes that to tell them apart
        (see `run_lines`)."""
        step, more = BATCHES * self.index.config.batch_size, int(self.without_own)
        for start in range(0, len(queries), step):
            asked = queries[start : start + step]
            found = self.index.search([text for _, text in asked], self.depth + more, self.beam + more)
            for (query_id, _), hits in zip(asked, found, strict=True):
                kept = [hit for hit in hits if not (self.without_own and hit.doc_id == query_id)][: self.depth]
                scores = strictly_decreasing([hit.score for hit in kept]).tolist()
                yield [
                    replace(hit, rank=rank, score=score)
                    for rank, (hit, score) in enumerate(zip(kept, scores, strict=True), start=1)
                ]
