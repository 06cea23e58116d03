"""Search among rows rounded to int8 against the products of all rows."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from models import random_model, random_queries

from dsi.docids.store import Docids, Vocabulary, write_docids
from dsi.search import rounded_rows
from dsi.search.rounded_rows import BLOCK, RoundedRows
from dsi.search.searcher import Searcher


def some_rows(rows: int, width: int, seed: int, spread: float) -> torch.Tensor:
    """Rows of very different lengths, some of them zero, some equal."""
    random = torch.Generator().manual_seed(seed)
    weight = torch.randn(rows, width, generator=random)
    weight *= torch.randn(rows, 1, generator=random).mul(spread).exp()
    weight[torch.randint(rows, (5,), generator=random)] = 0
    weight[torch.randint(rows, (20,), generator=random)] = weight[0].clone()
    return weight


@settings(max_examples=30)
@given(
    rows=st.integers(9_000, 2 * BLOCK + 1),
    width=st.sampled_from([8, 33, 64]),
    seed=st.integers(0, 1000),
    spread=st.sampled_from([0.0, 0.3, 1.0]),
    count=st.sampled_from([1, 10, 100]),
    dtype=st.sampled_from([torch.float32, torch.bfloat16]),
)
def test_what_is_proven_is_so(rows: int, width: int, seed: int, spread: float, count: int, dtype: torch.dtype) -> None:
    weight = some_rows(rows, width, seed, spread).to(dtype)
    states = torch.randn(7, width, generator=torch.Generator().manual_seed(seed))
    states *= 20 / (states @ weight.float().T).amax(dim=1, keepdim=True)  # logits as those of trained models
    found = RoundedRows(weight).best(states, count)
    logits = states @ weight.float().T
    expected = logits.topk(count).values
    assert found.documents.shape == found.logits.shape == (7, count)
    torch.testing.assert_close(found.logits, logits.gather(1, found.documents), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(found.logits[found.is_proven], expected[found.is_proven], rtol=1e-4, atol=1e-4)
    assert all(len(set(numbers)) == count for numbers in found.documents.tolist())
    of_proven = found.log_sum[found.is_proven], logits.logsumexp(dim=1)[found.is_proven]
    torch.testing.assert_close(*of_proven, rtol=0, atol=0.03)


def test_rows_at_random_are_proven(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows of length 1 and states near some of them, as those of trained models: nothing is read a second time."""
    random = torch.Generator().manual_seed(1)
    weight = torch.nn.functional.normalize(torch.randn(70_000, 128, generator=random))
    states = 24 * torch.nn.functional.normalize(weight[:20] + 0.06 * torch.randn(20, 128, generator=random))
    found = RoundedRows(weight).best(states, 10)
    assert found.is_proven.all()
    torch.testing.assert_close(found.documents, (states @ weight.T).topk(10).indices)
    below = RoundedRows(-weight.abs()).best(states.abs(), 10)  # all logits are below those of what fills the last block
    assert below.documents.max() < len(weight)
    assert below.is_proven.float().mean() > 0.5


def test_bounds_hold_for_every_row() -> None:
    weight, states = some_rows(BLOCK + 100, 32, 1, 1.0), torch.randn(5, 32)
    of_groups = RoundedRows(weight)
    rounded, scale = rounded_rows._rounded(states)
    largest, _ = of_groups._read_all(rounded.to(torch.int8), scale)
    lengths = torch.stack([states.norm(dim=1), (states - rounded * scale[:, None]).norm(dim=1)], dim=1)
    upper = largest + lengths @ of_groups.lengths.flatten(1)
    groups = torch.arange(upper.shape[1]).expand(1, -1)
    rows = of_groups._rows_of(groups).view(-1, rounded_rows.GROUP)
    assert sorted(rows.flatten().tolist()) == list(range(2 * BLOCK))
    logits = torch.nn.functional.pad(states @ weight.T, (0, 2 * BLOCK - len(weight)), value=-torch.inf)
    assert (logits[:, rows].amax(dim=2) <= upper + 1e-4).all()


def test_rows_at_right_angles_are_found_by_reading_all(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the rounded rows prove nothing, as all logits are nearly the same, and where they do: same documents."""
    count = 9_000
    folder = tmp_path_factory.mktemp("docids")
    write_docids(folder, Vocabulary("atomic", count, 1, None), np.arange(count)[:, None])
    docids, queries = Docids(folder), random_queries(6)
    for scale in (1e-3, 30.0):
        model = random_model(count, 1)
        model.docid_head.weight.data *= scale
        monkeypatch.setattr(rounded_rows, "WORTHWHILE", count + 1)
        plain = Searcher(model, docids)
        expected = plain.search(queries, 10, 4)
        assert plain.rows is not None
        assert plain.rows.rounded is not None
        assert plain.rows.rounded() is None
        monkeypatch.setattr(rounded_rows, "WORTHWHILE", count)
        searcher = Searcher(model, docids)
        for depth in (10, 1_000):  # the latter are too many
            for mine, theirs in zip(searcher.search(queries, depth, 4), plain.search(queries, depth, 4), strict=True):
                np.testing.assert_allclose(mine.score, theirs.score, atol=0.02)
                if scale > 1:
                    assert mine.doc_index.tolist() == theirs.doc_index.tolist()
        assert searcher.rows is not None
        assert searcher.rows.rounded is not None
        assert searcher.rows.rounded() is not None
        assert len(expected[0].doc_index) == 10
        score = searcher.score(queries[0], 5)
        assert score.log_prob == pytest.approx(plain.score(queries[0], 5).log_prob, abs=0.02)
