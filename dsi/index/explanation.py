"""Why a document has the score that it has for a query, as numbers that print in a terminal and in a notebook."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape
from typing import NamedTuple

from dsi.lexical.index_terms import TermScore
from dsi.runtime.printable import one_line, printable

BETWEEN = " | "
"""What stands between the titles of a step."""
SHOWN = 100
"""The largest number of characters of a query that are printed."""


@dataclass(frozen=True)
class DocidStep:
    """A step along the docid of a document, one docid token, which leads to a node of the docid tree."""

    token: str
    """The docid token: the string that it stands for if there is one, else its number."""
    log_prob: float
    """Its log-probability given the query and the tokens before, as the search counts it."""
    documents: int
    """The number of documents below the node."""
    examples: tuple[str, ...]
    """The titles, or the beginnings of the texts where there is none, of up to three of them, at equal distances."""
    sibling: "DocidStep | None" = None
    """The most probable step in its place, if that is another."""

    @property
    def probability(self) -> float:
        """The probability of the token."""
        return math.exp(self.log_prob)


@dataclass(frozen=True)
class NearDocument:
    """A document whose output row is near that of the one explained."""

    doc_id: str
    title: str
    """The title, or the beginning of the text where there is none."""
    cosine: float
    """The cosine of the two rows."""


@dataclass(frozen=True)
class BestDocument:
    """The most probable document of all, where docids are atomic."""

    doc_id: str
    title: str
    """The title, or the beginning of the text where there is none."""
    log_prob: float


@dataclass(frozen=True)
class PriorScore:
    """What the words of the query say of the document, and how much that counts."""

    name: str
    """The prior, e.g. bm25."""
    score: float
    """The prior of the document; 0 if it is not among the best."""
    is_among_best: bool
    """Whether the document is among those that the query has a prior of, the best `search.prior_documents`."""
    weight: float
    epsilon: float
    words: tuple[TermScore, ...]
    """What each term of the query adds to the prior of the document, or would, were it among the best."""


class Table(NamedTuple):
    """A part of what is shown: columns of numbers, and last one of text."""

    caption: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True)
class Explanation:
    """Why a document has the score that it has for a query. `print` shows it, and so does a notebook."""

    query: str
    doc_id: str
    title: str
    """The title, or the beginning of the text where there is none."""
    log_prob: float
    """The log-probability of the document's docid given the query, whether or not a search finds it. A search rounds it
    otherwise, with search.precision=int8 by some tenths, as there the other docids of a batch count too."""
    total: float | None
    """What the index ranks the document by: the log-probability, or the logit of its leaf, or with a prior the sum in
    `formula`. None only with a prior and ranking leaf, for a document that the search does not find, since P is then a
    share among those found."""
    formula: str
    """The total in words."""
    rank: int | None
    """The rank of the document in the index's default search, from 1; None if it is not found."""
    beam: int
    """The number of documents that this search finds at most."""
    is_decoded: bool
    """Whether a beam of this search has reached the docid. A document of the prior that none has reached is ranked as
    if P were 0, which is below `total`."""
    leaf_logit: float | None = None
    """The logit of the document's leaf, with ranking leaf; else None."""
    prior: PriorScore | None = None
    """None for an index without a prior."""
    steps: tuple[DocidStep, ...] = ()
    """The way to the document in the docid tree, whose log-probabilities sum to `log_prob`; none for atomic docids."""
    best: BestDocument | None = None
    """The most probable document of all, with atomic docids; else None."""
    nearest: tuple[NearDocument, ...] = ()
    """Up to five documents whose output rows are nearest to that of this one, with atomic docids."""

    @property
    def probability(self) -> float:
        """The probability of the document's docid given the query."""
        return math.exp(self.log_prob)

    def __str__(self) -> str:
        """The explanation for a terminal, without control characters."""
        facts = list(self._facts())
        width = max(len(name) for name, _ in facts)
        parts = ["\n".join(f"{name.ljust(width)}  {printable(value)}" for name, value in facts)]
        for table in self._tables():
            lines = [table.header, *([printable(cell) for cell in row] for row in table.rows)]
            widths = [max(map(len, column)) for column in list(zip(*lines, strict=True))[:-1]]
            aligned = ("  ".join([*map(str.rjust, cells, widths), last]) for *cells, last in lines)
            parts.append("\n".join([table.caption, *(f"  {line}".rstrip() for line in aligned)]))
        return "\n\n".join(parts)

    def _repr_html_(self) -> str:
        """The explanation for a notebook: tables, with every text escaped."""
        return "\n".join(
            [
                _html("", [], list(self._facts())),
                *(_html(table.caption, table.header, table.rows) for table in self._tables()),
            ]
        )

    def _facts(self) -> Iterator[tuple[str, str]]:
        yield "query", one_line(self.query, SHOWN)
        yield "document", f"{self.doc_id}: {self.title}"
        yield "rank", self._rank()
        yield "log P", _log_prob(self.log_prob)
        if self.best is not None:
            most = "the same document" if self.best.doc_id == self.doc_id else f"{self.best.doc_id}: {self.best.title}"
            yield "best log P", f"{_log_prob(self.best.log_prob)}, {most}"
        if self.leaf_logit is not None:
            yield "leaf", f"{self.leaf_logit:.3f}, the logit of its output row"
        if self.prior is not None:
            yield self.prior.name, self._prior(self.prior)
        total = f"{self.total:.3f}" if self.total is not None else "none, as the search has not found it"
        yield "total", f"{total}, {self.formula}"

    def _rank(self) -> str:
        if self.rank is None:
            return f"not among the {self.beam:,} documents of a search"
        undecoded = "" if self.is_decoded else "; no beam has reached it, so that it was ranked as if P were 0"
        return f"{self.rank:,} of a search for {self.beam:,} documents{undecoded}"

    @staticmethod
    def _prior(prior: PriorScore) -> str:
        score = f"{prior.score:.3f}"
        if prior.is_among_best:
            return score
        if any(word.score for word in prior.words):
            return f"{score}, as the document is not among the best by words, which alone have a prior"
        return f"{score}, as none of these words is in it"

    def _tables(self) -> Iterator[Table]:
        if self.prior is not None:
            rows = [[f"{word.score:.3f}", f"{word.documents:,}", word.term] for word in self.prior.words]
            caption = f"{self.prior.name}, what each word of the query adds to it, and how many documents have the word"
            yield Table(caption, [self.prior.name, "documents", "word"], rows)
        if self.steps:
            rows = []
            for number, step in enumerate(self.steps, start=1):
                rows.append([str(number), *_cells(step)])
                if step.sibling is not None:
                    rows.append(["or", *_cells(step.sibling)])
            caption = "the way of its docid, with the documents below each step; after `or` a more probable step"
            yield Table(caption, ["step", "token", "log P", "P", "documents", "among them"], rows)
        if self.nearest:
            rows = [[f"{near.cosine:.3f}", f"{near.doc_id}: {near.title}"] for near in self.nearest]
            yield Table("the documents whose output rows are nearest to its own", ["cosine", "document"], rows)


def _cells(step: DocidStep) -> list[str]:
    numbers = [f"{step.log_prob:.3f}", f"{step.probability:.3g}", f"{step.documents:,}"]
    return [step.token, *numbers, BETWEEN.join(step.examples)]


def _log_prob(log_prob: float) -> str:
    return f"{log_prob:.3f}, P {math.exp(log_prob):.3g}"


def _html(caption: str, header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table in HTML, of which the last column is text."""

    def cells(row: Sequence[str], tag: str) -> str:
        *numbers, last = (escape(printable(cell)) for cell in row)
        before = "".join(f"<{tag}>{cell}</{tag}>" for cell in numbers)
        return f'<tr>{before}<{tag} style="text-align: left">{last}</{tag}></tr>'

    title = f'<caption style="text-align: left">{escape(caption)}</caption>' if caption else ""
    head = cells(header, "th") if header else ""
    return f"<table>{title}{head}{''.join(cells(row, 'td') for row in rows)}</table>"
