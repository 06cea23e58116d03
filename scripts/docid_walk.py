"""A query's walk through the docid tree to a document: the branches that a narrow beam looks at, level by level."""

import math
from collections import Counter
from typing import NamedTuple

from dsi.corpus.store import Document
from dsi.corpus.words import words_of
from dsi.errors import DsiError
from dsi.index.index import Index

WIDE = 1000
"""The documents whose ways are looked at: among them are those of a beam that is much narrower."""
WORDS = 4
"""The words that stand for the documents below a branch."""
SHORTEST = 4
"""The letters that such a word has at least."""


class Branch(NamedTuple):
    """A node of the docid tree that the beam looks at."""

    node: int
    parent: int
    """The node above it; the root is 0."""
    probability: float
    """The probability of its token given the query and the tokens before."""
    log_prob: float
    """The log-probability of all tokens so far."""


class Walk(NamedTuple):
    """What a search with a narrow beam looks at on its way to a document."""

    way: list[Branch]
    """The branches to the document."""
    levels: list[list[Branch]]
    """The branches of each level of the way: that of the way, those that the beam keeps, and the best that it drops.
    The last level has leaves of all levels."""
    kept: set[int]
    """The nodes that the beam keeps, with the root."""


def ways(index: Index, query: str) -> list[list[Branch]]:
    """The ways from the root to the documents that are most probable, the best first.

    Raises:
        DsiError: the docids of the index are no tree.
    """
    searcher, [token_ids] = index.searcher.searcher, index.searcher.encode([query])
    if searcher.docids.is_atomic:
        raise DsiError("atomic docids are no tree: take an index with docids.kind=semantic")
    found = []
    for hit in index.search(query, k=WIDE, beam=WIDE):
        branches = [Branch(0, 0, 1.0, 0.0)]
        for node, log_prob, *_ in searcher.score(token_ids, index.corpus.doc_index(hit.doc_id)).steps:
            above = branches[-1]
            branches.append(Branch(node, above.node, math.exp(log_prob), above.log_prob + log_prob))
        found.append(branches[1:])
    return found


def walk(ways: list[list[Branch]], leaf: int, beam: int, dropped: int) -> Walk:
    """The walk to a leaf of a beam of this width along these ways, with the best `dropped` branches that it drops.

    >>> a, b, c = Branch(1, 0, 0.7, -0.4), Branch(2, 0, 0.2, -1.6), Branch(3, 0, 0.1, -2.3)
    >>> ways = [[a, Branch(4, 1, 1.0, -0.4)], [b, Branch(5, 2, 1.0, -1.6)], [c]]
    >>> found = walk(ways, leaf=4, beam=1, dropped=1)
    >>> [[branch.node for branch in level] for level in found.levels], found.kept
    ([[1, 2], [4, 3]], {0, 1, 4})

    Raises:
        DsiError: the beam does not find the leaf.
    """
    leaves = {way[-1].node for way in ways}
    levels, kept, ends = list[list[Branch]](), {0}, set[Branch]()
    for level in range(max(map(len, ways), default=0)):
        reached = {way[level] for way in ways if len(way) > level and way[level].parent in kept}
        ends |= {branch for branch in reached if branch.node in leaves}
        best = _best(reached - ends)
        kept |= {branch.node for branch in best[:beam]}
        levels.append(best[: beam + dropped])
    best = _best(ends)
    kept |= {branch.node for branch in best[:beam]}
    if leaf not in kept:
        raise DsiError(f"a beam of {beam} does not find this document: give another query or a wider beam")
    [way] = [way for way in ways if way[-1].node == leaf]
    shown, nodes = list[list[Branch]](), [0]
    for branches in [*levels[: len(way) - 1], best[: beam + dropped]]:
        follow = [branch for branch in branches if branch.parent in nodes]
        follow.sort(key=lambda branch: (branch not in way, branch.node not in kept, nodes.index(branch.parent)))
        shown.append(follow)
        nodes += [branch.node for branch in follow]
    return Walk(way, shown, kept)


def _best(branches: set[Branch]) -> list[Branch]:
    return sorted(branches, key=lambda branch: (-branch.log_prob, branch.node))


class Labels:
    """What stands for the documents below a node."""

    def __init__(self, index: Index) -> None:
        self.trie, self.corpus = index.searcher.searcher.docids.trie, index.corpus
        self.words = [_words(self.corpus[number]) for number in range(len(self.corpus))]
        self.everywhere = Counter(word for words in self.words for word in words)

    def __call__(self, node: int) -> tuple[int, list[str]]:
        """The number of documents below a node, and the words that are most typical of them; of one, its title."""
        count, numbers = self.trie.below(node, len(self.corpus))
        if count == 1:
            document = self.corpus[numbers[0]]
            return 1, [document.title or document.text]
        here = Counter(word for number in numbers for word in self.words[number])
        weights = {word: times * math.log(len(self.corpus) / self.everywhere[word]) for word, times in here.items()}
        return count, sorted(weights, key=lambda word: (-weights[word], word))[:WORDS]


def _words(document: Document) -> set[str]:
    return {word for word in words_of(f"{document.title} {document.text}") if len(word) >= SHORTEST}
