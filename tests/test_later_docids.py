"""Docids of documents that are added after training, and the output rows of the model with them."""

from collections.abc import Sequence
from dataclasses import asdict
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import Stages, assign_tiny
from hypothesis import given
from hypothesis import strategies as st
from models import random_model, random_queries

from dsi.config import DocidsConfig
from dsi.docids.clustered import Clustered
from dsi.docids.kind import Kind, NewDocument
from dsi.docids.kinds import KINDS, opened
from dsi.docids.later import LARGER, LaterDocids, later_docids
from dsi.docids.semantic import Semantic
from dsi.docids.store import Docids, DocidsInMemory, Vocabulary, write_docids
from dsi.errors import DsiError
from dsi.model.architecture import START, DifferentiableSearchIndex
from dsi.model.build import DocidShape, open_index
from dsi.model.grown_head import grown_model, same_nodes
from dsi.model.heads.layout import Targets
from dsi.search.searcher import Searcher
from dsi.training.targets import DocidTargets

CLUSTERED = ["semantic", "semantic_2d", "residual"]


def random_vectors(count: int, seed: int, distinct: int | None = None) -> np.ndarray:
    vectors = np.random.default_rng(seed).normal(size=(count, 3)).astype(np.float32)
    return vectors if distinct is None else vectors[np.arange(count) % distinct]


def assigned(kind: str, vectors: np.ndarray, leaf_size: int = 4) -> tuple[Docids, Clustered]:
    """Docids of several tokens, with one or two levels above the leaves."""
    config = DocidsConfig(kind=kind, clusters=3, leaf_size=leaf_size, levels=2, codebook=3)  # type: ignore[arg-type]
    found, vocabulary, codes = KINDS[kind].assign(config, None, vectors, None)  # type: ignore[arg-type]
    assert isinstance(found, Clustered)
    return DocidsInMemory(Path(), vocabulary, codes), found


def add(
    docids: Docids, kind: Kind, vectors: np.ndarray, has_node_rows: bool, count: int, **options: Any
) -> tuple[Docids, LaterDocids]:
    """Add the next `count` of the vectors."""
    first = len(docids.codes)
    documents = [NewDocument(row, f"D{row}", vectors[row]) for row in range(first, first + count)]

    def read(rows: np.ndarray) -> np.ndarray:
        assert (np.diff(rows) > 0).all()
        assert rows[-1] < first
        assert not set(rows.tolist()) & set(options.get("deleted", ()))
        return vectors[rows]

    later = later_docids(docids, kind, documents, read, has_node_rows=has_node_rows, **options)
    return later.joined(docids), later


def as_lists(docids: Docids) -> list[list[int]]:
    return [[token for token in code if token >= 0] for code in docids.codes.tolist()]


def leaf_ways(docids: Docids, kind: Clustered) -> list[tuple[int, ...]]:
    return [tuple(code[:-1] if kind.is_numbered else code[:2]) for code in as_lists(docids)]


@pytest.mark.parametrize("has_node_rows", [False, True])
@pytest.mark.parametrize("name", CLUSTERED)
def test_a_copy_of_a_document_goes_to_its_leaf(name: str, has_node_rows: bool) -> None:
    vectors = np.tile(random_vectors(30, seed=0), (2, 1))
    docids, kind = assigned(name, vectors[:30])
    grown, later = add(docids, kind, vectors, has_node_rows, 30)
    ways = leaf_ways(grown, kind)
    assert ways[30:] == ways[:30]
    if not has_node_rows or name != "residual":  # the leaves are twice as large now, and no larger
        assert not len(later.moved)
    there, stayed = as_lists(docids), set(range(30)) - set(later.moved.tolist())
    assert all(as_lists(grown)[row] == there[row] for row in stayed)


@given(
    st.sampled_from(CLUSTERED),
    st.booleans(),
    st.integers(2, 40),
    st.lists(st.integers(1, 12), min_size=1, max_size=6),
    st.integers(1, 4),
    st.sampled_from([3, 20, None]),
)
def test_documents_added_in_parts(
    name: str, has_node_rows: bool, before: int, parts: list[int], leaf_size: int, distinct: int | None
) -> None:
    vectors = random_vectors(before + sum(parts), before, distinct)
    docids, kind = assigned(name, vectors[:before], leaf_size)
    together, later = add(docids, kind, vectors, has_node_rows, sum(parts))
    in_parts, part_kind = docids, kind
    for part in parts:
        in_parts, step = add(in_parts, part_kind, vectors, has_node_rows, part)
        assert isinstance(step.kind, Clustered)
        part_kind = step.kind
    assert asdict(in_parts.vocabulary) == asdict(together.vocabulary)
    np.testing.assert_array_equal(in_parts.codes, together.codes)

    codes, old = as_lists(together), as_lists(docids)
    assert max(map(max, codes)) < together.vocabulary.tokens
    assert len(together.trie.token) > 1  # no docid is the beginning of another
    different = len(set(map(tuple, codes)))
    assert later.shared == len(codes) - different
    moved = set(later.moved.tolist())
    assert moved == {row for row, code in enumerate(old) if codes[row] != code}
    if not has_node_rows:
        assert not moved
        assert together.vocabulary == docids.vocabulary
        return
    assert different == len(codes)
    ways, leaves = leaf_ways(docids, kind), [code[:-1] for code in codes]
    assert isinstance(later.kind, Clustered)
    for row in moved:  # all documents of a leaf move, down from it
        assert moved >= {other for other in range(before) if ways[other] == ways[row]} or name == "residual"
        assert codes[row][: len(ways[row])] == list(ways[row])
    if name != "residual":
        largest = together.vocabulary.largest_leaf
        assert largest == max(ways.count(way) for way in ways)
        for leaf in leaves:
            members = [row for row, other in enumerate(leaves) if other == leaf]
            assert len(members) <= LARGER * largest or len(np.unique(vectors[members], axis=0)) == 1
    if name == "semantic_2d":  # every token belongs to one position
        pairs = {(token, place) for code in codes + old for place, token in enumerate(code)}
        assert len(pairs) == len({token for token, _ in pairs})
    if distinct is None:
        for row, (code, vector) in enumerate(zip(codes, vectors, strict=True)):
            way = later.kind.way(NewDocument(row, "", vector))
            assert code[: len(way)] == way
            assert len(code) - len(way) == 1 or name == "residual"


def test_a_full_leaf_is_divided_and_later_documents_go_on_into_its_children() -> None:
    near, far = np.zeros((3, 2), dtype=np.float32), np.full((3, 2), 100, dtype=np.float32)
    near[:, 0] = [0, 0.1, 5]
    added = np.array([[0.2, 0], [5.1, 0], [5.2, 0], [0.3, 0], [0.4, 0], [5.3, 0], [100, 100]], dtype=np.float32)
    vectors = np.concatenate([near, far, added])
    config = DocidsConfig(kind="semantic", clusters=2, leaf_size=3)
    kind, vocabulary, codes = Semantic.assign(config, None, vectors[:6], None)  # type: ignore[arg-type]
    docids = DocidsInMemory(Path(), vocabulary, codes)
    for count in range(1, 8):
        grown, later = add(docids, kind, vectors, True, count)
        if count <= 3:  # up to twice the three of each leaf at first
            assert not len(later.moved)
            np.testing.assert_array_equal(grown.codes[:6], docids.codes)
        else:
            assert later.moved.tolist() == [0, 1, 2]
            children = grown.codes[:, 1].tolist()
            assert grown.vocabulary.length == 3
            assert len({children[row] for row in (0, 1, 6, 9)}) == 1
            assert len({children[row] for row in (2, 7, 8)}) == 1
            assert children[0] != children[2]
    assert children[10] == children[0]
    assert children[11] == children[2]
    assert grown.codes[12].tolist() == [*docids.codes[3, :1], 3, -1]


def test_documents_that_are_all_the_same_stay_in_one_leaf() -> None:
    vectors = np.zeros((40, 2), dtype=np.float32)
    vectors[-1] = 1
    docids, kind = assigned("semantic", vectors[:3])
    grown, later = add(docids, kind, vectors, True, 36)
    assert grown.codes.tolist() == [[number] for number in range(39)]
    assert not len(later.moved)
    grown, later = add(grown, later.kind, vectors, True, 1)
    assert len(later.moved) == 39
    assert np.unique(grown.codes[:, 0]).tolist() == [0, 1]


def test_residual_docids_get_a_number_when_they_are_no_longer_alone() -> None:
    vectors = random_vectors(6, seed=1)
    vectors[4:] = vectors[0]
    config = DocidsConfig(kind="residual", levels=2, codebook=4)
    kind, vocabulary, codes = KINDS["residual"].assign(config, None, vectors[:4], None)  # type: ignore[arg-type]
    docids = DocidsInMemory(Path(), vocabulary, codes)
    assert codes.shape == (4, 2)
    grown, later = add(docids, kind, vectors, True, 2)
    assert later.moved.tolist() == [0]
    way, new = codes[0].tolist(), vocabulary.tokens
    assert grown.codes[[0, 4, 5]].tolist() == [[*way, new], [*way, new + 1], [*way, new + 2]]
    shared, later = add(docids, kind, vectors, False, 2)
    assert shared.codes[[0, 4, 5]].tolist() == [way] * 3
    assert later.shared == 2


def test_a_full_leaf_is_shared_with_the_nearest_document_where_rows_are_of_tokens() -> None:
    vectors = np.array([[0.0], [1], [2], [50], [51], [0.9], [2.2], [51.4], [51.5]], dtype=np.float32)
    config = DocidsConfig(kind="semantic_2d", clusters=2, leaf_size=3)
    kind, vocabulary, codes = KINDS["semantic_2d"].assign(config, None, vectors[:5], None)  # type: ignore[arg-type]
    docids = DocidsInMemory(Path(), vocabulary, codes)
    assert vocabulary.sizes == [2, 3]
    grown, later = add(docids, kind, vectors, False, 4)
    assert grown.codes[5].tolist() == codes[1].tolist()
    assert grown.codes[6].tolist() == codes[2].tolist()
    assert grown.codes[7].tolist() == [codes[3, 0], 4]  # the third number was free there
    assert grown.codes[8].tolist() == grown.codes[7].tolist()
    assert later.shared == 3
    grown, later = add(docids, kind, vectors, False, 4, deleted={1})
    assert grown.codes[5].tolist() == codes[0].tolist()  # 0.9 from it, and 1.1 from the other


@pytest.mark.parametrize("name", CLUSTERED)
def test_docids_of_deleted_documents_are_not_given_again(name: str) -> None:
    vectors = random_vectors(60, seed=2)
    docids, kind = assigned(name, vectors[:20])
    deleted = {0, 3, 4, 7, 11, 19}
    grown, later = add(docids, kind, vectors, True, 40, deleted=deleted)
    assert len(set(map(tuple, as_lists(grown)))) == 60
    grown.trie.check(60)
    given_again = set(map(tuple, as_lists(grown)[20:])) & {tuple(as_lists(docids)[row]) for row in deleted}
    assert not given_again
    assert set(later.moved.tolist()) & deleted or name == "residual"


def test_atomic_docids_are_row_numbers(tmp_path: Path) -> None:
    write_docids(tmp_path, Vocabulary("atomic", 3, 1), np.arange(3)[:, None])
    docids = Docids(tmp_path)
    later = later_docids(
        docids, opened(tmp_path), [NewDocument(3, "x"), NewDocument(4, "y")], np.zeros, has_node_rows=False
    )
    grown = later.joined(docids)
    assert grown.is_atomic
    assert grown.codes[:, 0].tolist() == list(range(5))
    assert grown.vocabulary == Vocabulary("atomic", 5, 1)
    with pytest.raises(ValueError, match="must count from 3"):
        later_docids(docids, opened(tmp_path), [NewDocument(4, "y")], np.zeros, has_node_rows=False)


def test_naive_docids_spell_later_ids(tiny: Stages) -> None:
    docids, kind = tiny.docids, opened(tiny.docids.folder)
    first = len(docids.codes)
    ids = ["D5", "D01234567890", "D10"]
    documents = [NewDocument(first + place, doc_id) for place, doc_id in enumerate(ids)]
    later = later_docids(docids, kind, documents, np.zeros, has_node_rows=True)
    grown, strings = later.joined(docids), docids.vocabulary.strings
    assert ["".join(strings[token] for token in code[:-1]) for code in as_lists(grown)[first:]] == ids
    assert grown.vocabulary.length == len(ids[1]) + 1 > docids.vocabulary.length
    assert grown.vocabulary.tokens == docids.vocabulary.tokens
    assert later.shared == 1  # D10 is an id already
    assert len(grown.trie.documents) == first + 3
    with pytest.raises(DsiError, match=r"'D1x'.*'x'"):
        later_docids(docids, kind, [NewDocument(first, "D1x")], np.zeros, has_node_rows=True)


@pytest.mark.parametrize("name", CLUSTERED)
def test_what_is_written_goes_on_as_what_is_in_memory(tiny: Stages, tmp_path: Path, name: str) -> None:
    config = DocidsConfig(kind=name, clusters=3, leaf_size=4, levels=2, codebook=3)  # type: ignore[arg-type]
    assign_tiny(tmp_path, tiny, config)
    docids, kind = Docids(tmp_path), opened(tmp_path)
    vectors = np.load(tmp_path / "embeddings/vectors.npy").astype(np.float32)
    vectors = np.concatenate([vectors, vectors[::-1] + 0.01, vectors])
    grown, later = add(docids, kind, vectors, True, 60)
    (tmp_path / "grown").mkdir()
    write_docids(tmp_path / "grown", grown.vocabulary, grown.codes)
    later.kind.save(tmp_path / "grown")
    read = Docids(tmp_path / "grown")
    np.testing.assert_array_equal(read.codes, grown.codes)
    np.testing.assert_array_equal(read.paths, grown.paths)
    assert (read.vocabulary, read.codes.dtype) == (grown.vocabulary, grown.codes.dtype)
    expected, _ = add(grown, later.kind, vectors, True, 60)
    np.testing.assert_array_equal(add(read, opened(tmp_path / "grown"), vectors, True, 60)[0].codes, expected.codes)


def model_of(docids: Docids, head: str) -> DifferentiableSearchIndex:
    shape = DocidShape.of(docids, head)
    return random_model(
        shape.tokens,
        shape.length,
        docid_head=head,
        docid_nodes=shape.nodes,
        docid_siblings=shape.siblings,
        docid_sizes=shape.sizes,
    )


def docids_before_and_after(tiny: Stages, name: str) -> tuple[Docids, Docids, LaterDocids]:
    if name == "naive":
        docids, kind = tiny.docids, opened(tiny.docids.folder)
        documents = [NewDocument(60 + place, doc_id) for place, doc_id in enumerate(["D5", "D01", "D012345", "D10"])]
        later = later_docids(docids, kind, documents, np.zeros, has_node_rows=True)
        return docids, later.joined(docids), later
    vectors = random_vectors(80, seed=3)
    before = 30 if name != "residual" else 8  # of which some are alone on their path
    docids, kind = assigned(name, vectors[:before])
    grown, later = add(docids, kind, vectors, True, 50)
    assert 0 < len(later.moved) < before
    return docids, grown, later


@torch.inference_mode()
def step_log_probs(
    model: DifferentiableSearchIndex, docids: Docids, query: list[int], code: Sequence[int]
) -> list[dict[int, float]]:
    """For each token of a docid the log-probability of all its siblings by token, by hand."""
    ids = torch.tensor([query])
    mask, trie, node = torch.ones_like(ids), docids.trie, 0
    states = model.decoder_states(model.encode(ids, mask), mask, torch.tensor([list(code)]))[0]
    steps = []
    for state, token in zip(states, code, strict=True):
        children = list(range(*trie.first_child[node : node + 2].tolist()))
        values = torch.stack([model.docid_head.weight[child] @ state for child in children]).log_softmax(0).tolist()
        steps.append({int(trie.token[child]): value for child, value in zip(children, values, strict=True)})
        node = next(child for child in children if int(trie.token[child]) == token)
    return steps


def rows_by_path(model: DifferentiableSearchIndex, docids: Docids) -> dict[tuple[int, ...], torch.Tensor]:
    """The output row of every trie node but the root by its path."""
    return {
        tuple(code[: place + 1]): model.docid_head.weight[node].detach()
        for code, nodes in zip(as_lists(docids), docids.paths.tolist(), strict=True)
        for place, node in enumerate(nodes[: len(code)])
    }


@pytest.mark.parametrize("name", ["naive", *CLUSTERED])
def test_the_tree_keeps_what_was_learnt(tiny: Stages, tmp_path: Path, name: str) -> None:
    before, after, later = docids_before_and_after(tiny, name)
    model = model_of(before, "hierarchical_softmax")
    first, moved = len(before.codes), set(later.moved.tolist())
    rows = torch.randn(len(later.codes), 16)
    grown = grown_model(model, before, after, rows)
    assert grown.encoder.block[0].layer[0].SelfAttention.q.weight.data_ptr() == (
        model.encoder.block[0].layer[0].SelfAttention.q.weight.data_ptr()
    )

    old_codes, codes = as_lists(before), as_lists(after)
    old_rows, new_rows = rows_by_path(model, before), rows_by_path(grown, after)
    old_leaves = {tuple(code): [row for row, other in enumerate(old_codes) if other == code] for code in old_codes}

    def own(row: int) -> torch.Tensor:
        return rows[row - first] if row >= first else old_rows[tuple(old_codes[row])]

    for path, found in new_rows.items():
        below = [row for row, code in enumerate(codes) if tuple(code[: len(path)]) == path]
        old_below = [row for row in below if row < first]
        is_kept = path in old_rows and (path not in old_leaves or (old_below and old_below == old_leaves[path]))
        expected = old_rows[path] if is_kept else torch.stack([own(row) for row in below]).mean(dim=0)
        torch.testing.assert_close(found, expected, rtol=0 if is_kept else 1e-5, atol=0 if is_kept else 1e-6)

    for query in random_queries(2):
        for row in range(0, first, 3):
            if row in moved:
                continue
            old, new = (
                step_log_probs(each, docids, query, codes[row]) for each, docids in ((model, before), (grown, after))
            )
            for step, others in zip(old, new, strict=True):
                among_old = np.logaddexp.reduce([others[token] for token in step])
                assert step == pytest.approx({token: others[token] - among_old for token in step}, abs=1e-4)

    ranking = Searcher(grown, after).search([query], 100, 1)[0]
    assert sorted(ranking.doc_index) == list(range(len(codes)))
    for row, score in list(zip(ranking.doc_index.tolist(), ranking.score.tolist(), strict=True))[::7]:
        steps = step_log_probs(grown, after, query, codes[row])
        assert score == pytest.approx(sum(step[token] for step, token in zip(steps, codes[row], strict=True)), abs=1e-4)

    documents = np.arange(len(codes))
    targets = DocidTargets(after, with_nodes=True)(documents, documents, np.zeros(len(codes)))
    batch = {name: torch.from_numpy(array) for name, array in targets.items()}
    ids = torch.tensor([query] * len(codes))
    with torch.inference_mode():
        states = grown.decoder_states(grown.encode(ids, torch.ones_like(ids)), torch.ones_like(ids), batch["codes"])
        of_tokens = grown.docid_head(states, Targets.of(batch))
    sums = torch.zeros(len(codes)).index_add(0, of_tokens.query, of_tokens.of_targets)
    np.testing.assert_allclose(sums[ranking.doc_index], ranking.score, atol=1e-4)  # as training sees them

    grown.save_pretrained(tmp_path)
    again = open_index(tmp_path)
    assert {key: value for key, value in again.config.to_dict().items() if key.startswith("docid_")} == {
        key: value for key, value in grown.config.to_dict().items() if key.startswith("docid_")
    }
    assert again.config.docid_nodes == len(after.trie.token)
    reopened = Searcher(again, after).search([query], 100, 1)[0]
    np.testing.assert_array_equal(reopened.doc_index, ranking.doc_index)


def test_new_tokens_begin_as_the_mean_of_the_others(tiny: Stages) -> None:
    before, after, later = docids_before_and_after(tiny, "semantic_2d")
    model = model_of(before, "hierarchical_softmax")
    old = model.docid_embedding.weight
    new = grown_model(model, before, after, torch.randn(len(later.codes), 16)).docid_embedding.weight
    assert len(new) == START + 1 + after.vocabulary.tokens > len(old)
    torch.testing.assert_close(new[: len(old)], old, rtol=0, atol=0)
    torch.testing.assert_close(new[len(old) :], old[START + 1 :].mean(0).expand(len(new) - len(old), -1))


def test_a_leaf_as_root_gets_token_embeddings_when_it_is_divided() -> None:
    vectors = random_vectors(9, seed=4)
    before, kind = assigned("semantic", vectors[:4])
    after, _ = add(before, kind, vectors, True, 5)
    assert (before.vocabulary.length, after.vocabulary.length) == (1, 2)
    model = model_of(before, "hierarchical_softmax")
    grown = grown_model(model, before, after, torch.randn(5, 16))
    assert len(grown.docid_embedding.weight) == START + 1 + after.vocabulary.tokens
    assert sorted(Searcher(grown, after).search(random_queries(1), 20, 1)[0].doc_index) == list(range(9))


@pytest.mark.parametrize("head", ["plain", "pawa"])
@pytest.mark.parametrize("name", ["semantic_2d", "residual"])
def test_heads_with_rows_of_tokens_find_later_documents_with_the_same_weights(
    tmp_path: Path, name: str, head: str
) -> None:
    vectors = random_vectors(50, seed=5)
    before, kind = assigned(name, vectors[:30])
    after, later = add(before, kind, vectors, False, 20)
    model = model_of(before, head)
    grown = grown_model(model, before, after)
    for parameter, other in zip(model.parameters(), grown.parameters(), strict=True):
        assert parameter.data_ptr() == other.data_ptr()
    [query] = random_queries(1)
    found, old = Searcher(grown, after).search([query], 60, 1)[0], Searcher(model, before).search([query], 60, 1)[0]
    assert sorted(found.doc_index) == list(range(50))
    scores = dict(zip(found.doc_index.tolist(), found.score.tolist(), strict=True))
    for row, score in zip(old.doc_index.tolist(), old.score.tolist(), strict=True):
        assert scores[row] == pytest.approx(score, abs=1e-4)
    grown.save_pretrained(tmp_path)
    np.testing.assert_array_equal(Searcher(open_index(tmp_path), after).search([query], 60, 1)[0].score, found.score)
    assert later.shared == 50 - int(after.trie.is_leaf.sum())


def test_longer_docids_than_trained(tiny: Stages) -> None:
    before, after, _ = docids_before_and_after(tiny, "naive")
    assert after.vocabulary.length > before.vocabulary.length
    grown = grown_model(model_of(before, "plain"), before, after)
    assert grown.config.docid_length == after.vocabulary.length
    assert sorted(Searcher(grown, after).search(random_queries(1), 80, 1)[0].doc_index) == list(range(64))
    vectors = random_vectors(9, seed=6)
    before, kind = assigned("residual", vectors[:2])
    vectors[2:] = vectors[0]
    after, _ = add(before, kind, vectors, True, 7)
    with pytest.raises(DsiError, match=r"model\.head=pawa has output rows for docids of 2 tokens"):
        grown_model(model_of(before, "pawa"), before, after)


def test_same_nodes_of_docids_that_did_not_change(tiny: Stages) -> None:
    assert same_nodes(tiny.docids, tiny.docids).tolist() == list(range(len(tiny.docids.trie.token)))
    assert all(start < stop for start, stop in pairwise(tiny.docids.trie.level_start.tolist()))
