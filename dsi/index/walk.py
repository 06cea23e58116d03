"""What an index does for a query, to be shown: the branches of the docid tree that its beam looks at, level by level,
or the documents that it weighs where docids are atomic.

Two numbers of at least 0 say what a branch or a document is worth: `of_index` and `of_prior`, the parts of the index
and of the words. The beam is in the order of their sum, as is the ranking of atomic docids; that of a tree with ranking
leaf is not. Without a prior the part of the index is the probability; with one it is log(P + epsilon) less what P = 0
gives, or without an epsilon log P less the lowest shown.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Branch:
    """A branch of the docid tree that a beam looks at."""

    node: int
    """The node of the docid trie that it leads to."""
    parent: int
    """The node that it leads from; 0 is the root."""
    token: str
    """The docid token: the string that it stands for if there is one, else its number."""
    step: float
    """The probability of the token, given the query and the tokens before."""
    probability: float
    """The probability of all tokens so far."""
    prior: float
    """The largest prior of a document below; 0 without a prior."""
    of_index: float
    of_prior: float
    kept: bool
    """Whether the beam goes on from here or, at the end of a docid, returns it."""
    hits: tuple[int, ...]
    """The ranks of the hits below."""
    documents: int
    """The number of documents below."""
    words: tuple[str, ...]
    """Words of the documents below that those below the other branches shown seldom have."""
    examples: tuple[str, ...]
    """The titles, or the beginnings of the texts where there is none, of up to three documents below."""
    doc_ids: tuple[str, ...]
    """The ids of these, at the end of a docid; before, none."""


@dataclass(frozen=True)
class WalkedLevel:
    """A level of the docid tree: its branches that lead to a hit, the best others, and the best that were dropped."""

    kept: int
    """How many branches the beam keeps, shown or not."""
    dropped: int
    """How many it looks at and drops."""
    branches: tuple[Branch, ...]
    """Those shown, best first."""


@dataclass(frozen=True)
class WeighedDocument:
    """A document that is found, with its atomic docid."""

    rank: int
    doc_id: str
    title: str
    """The title, or the beginning of the text where there is none."""
    probability: float
    prior: float
    """0 without a prior, or if the document is not among the best by words."""
    of_index: float
    of_prior: float


@dataclass(frozen=True)
class Walk:
    """What an index does for a query."""

    query: str
    kind: str
    """`tree`, or `atomic`."""
    prior: str | None
    """The prior, e.g. bm25, that counts for this query; None if there is none."""
    formula: str
    """What documents are ranked by, in words."""
    beam: int
    certified: int
    """How many of the first hits are certified to be the best documents of all."""
    certificate: str
    """This in words."""
    levels: tuple[WalkedLevel, ...] = ()
    """None of atomic docids."""
    documents: tuple[WeighedDocument, ...] = ()
    """The hits, best first, of atomic docids alone."""
