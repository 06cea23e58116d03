"""The trie gives back exactly the docids it was built from."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dsi.docids.trie import Trie, build_trie


def walk(trie: Trie) -> dict[tuple[int, ...], list[int]]:
    """Every docid of the trie with its documents, by following children from the root."""
    found = {}
    stack: list[tuple[int, tuple[int, ...]]] = [(0, ())]
    while stack:
        node, path = stack.pop()
        children = range(int(trie.first_child[node]), int(trie.first_child[node + 1]))
        tokens = [int(trie.token[child]) for child in children]
        assert tokens == sorted(set(tokens))
        stack += [(child, (*path, token)) for child, token in zip(children, tokens, strict=True)]
        if not children:
            found[path] = trie.documents_of(np.array([node]))[0].tolist()
    leaves = np.flatnonzero(np.diff(trie.first_child.astype(int)) == 0)[::-1]  # all at once, in another order
    documents, sizes = trie.documents_of(leaves)
    assert documents.tolist() == [doc for leaf in leaves for doc in trie.documents_of(np.array([leaf]))[0]]
    assert sizes.sum() == len(trie.documents) == len(documents)
    return found


def pad(docids: list[list[int]]) -> np.ndarray:
    codes = np.full((len(docids), max(map(len, docids))), -1)
    for row, docid in zip(codes, docids, strict=True):
        row[: len(docid)] = docid
    return codes


def by_docid(docids: list[list[int]]) -> dict[tuple[int, ...], list[int]]:
    documents: dict[tuple[int, ...], list[int]] = {}
    for number, docid in enumerate(docids):
        documents.setdefault(tuple(docid), []).append(number)
    return documents


@given(st.lists(st.lists(st.integers(1, 5), max_size=5).map(lambda docid: [*docid, 0]), min_size=1, max_size=40))
def test_round_trip_with_duplicates_and_variable_length(docids: list[list[int]]) -> None:
    trie = build_trie(pad(docids))
    assert walk(trie) == by_docid(docids)
    assert (len(trie.leaf_start) == 0) == (len(by_docid(docids)) == len(docids))  # not stored where it says nothing
    assert len(trie.level_start) - 2 == max(map(len, docids))
    assert trie.level_start[-1] == len(trie.token) == len({tuple(d[:n]) for d in docids for n in range(len(d) + 1)})


@given(
    st.lists(st.lists(st.integers(1, 3), max_size=4).map(lambda docid: [*docid, 0]), min_size=1, max_size=40),
    st.integers(1, 50),
)
def test_documents_below_every_node(docids: list[list[int]], count: int) -> None:
    trie = build_trie(pad(docids))
    paths = trie.paths(pad(docids))
    for node in range(len(trie.token)):
        expected = set(np.flatnonzero((paths == node).any(axis=1)).tolist()) if node else set(range(len(docids)))
        total, chosen = trie.below(node, count)
        assert total == len(expected)
        assert len(set(chosen)) == len(chosen) == min(count, total)
        assert set(chosen) <= expected


def test_saved_arrays_come_back(tmp_path) -> None:  # type: ignore[no-untyped-def]
    trie = build_trie(pad([[300, 1], [2, 70_000], [2, 5]]))
    trie.save(tmp_path)
    assert walk(Trie.load(tmp_path)) == walk(trie)
    assert trie.token.dtype == np.uint32


@pytest.mark.parametrize("docids", [[[1], [1, 2]], [[3, 4, 5], [3]], [[], [1]]])
def test_a_docid_that_begins_another_is_refused(docids: list[list[int]]) -> None:
    with pytest.raises(ValueError, match="beginning of another"):
        build_trie(pad(docids))
