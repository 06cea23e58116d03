"""What a search has found: hits, and how a list of them looks in a terminal and in a notebook."""

import html
from dataclasses import dataclass

from dsi.runtime.printable import one_line, printable

SNIPPET = 160
"""The largest number of characters of a snippet."""


@dataclass(frozen=True)
class Hit:
    """A document that a search has found."""

    rank: int
    doc_id: str
    score: float
    """The log-probability of the document's docid given the query, at most 0; with ranking leaf, its leaf's logit. With
    a prior the total: log(P + epsilon) + weight * prior, where P is 0 for a document that no beam has decoded, and with
    ranking leaf the softmax over the leaves found."""
    title: str
    text: str

    def snippet(self) -> str:
        """The beginning of title and text on one line."""
        return one_line(f"{self.title} {self.text}", SNIPPET)


class Hits(list[Hit]):
    """The hits of a query, best first: a list, which prints as a table of two lines a hit.

    >>> print(Hits([Hit(1, "D7", -0.25, "Fish", "They swim.")]))
      1    -0.250  D7
         Fish They swim.
    """

    def __str__(self) -> str:
        return "\n".join(
            f"{hit.rank:>3}  {hit.score:8.3f}  {printable(hit.doc_id)}\n     {printable(hit.snippet())}" for hit in self
        )

    __repr__ = __str__

    def _repr_html_(self) -> str:
        """The hits as a table for a notebook; nothing in a text is taken for HTML."""
        cells = ((hit.rank, f"{hit.score:.3f}", hit.doc_id, hit.title, one_line(hit.text, SNIPPET)) for hit in self)
        rows = "".join(
            "<tr>" + "".join(f"<td>{html.escape(printable(str(cell)))}</td>" for cell in row) + "</tr>" for row in cells
        )
        header = "".join(f"<th>{name}</th>" for name in ("rank", "score", "document", "title", "text"))
        return f"<table><thead><tr>{header}</tr></thead><tbody>{rows}</tbody></table>"
