"""Tests between systems, against scipy and exact enumeration."""

from itertools import product

import numpy as np
import pytest
from scipy import stats

from dsi.evaluation.significance import compare_all, holm, interval


def test_randomisation_equals_enumeration_of_all_flips() -> None:
    differences = np.array([0.3, -0.1, 0.4, 0.2, 0.5, -0.05, 0.1])
    baseline = np.full(7, 0.5)
    found = compare_all({"bm25": baseline, "dsi": baseline + differences}, "bm25")["dsi"]
    flips = np.array(list(product([1, -1], repeat=7))) @ differences
    exact = (np.abs(flips) >= abs(differences.sum()) - 1e-12).mean()
    assert found["randomisation"] == pytest.approx(exact)
    assert found["t_test"] == pytest.approx(stats.ttest_rel(baseline + differences, baseline).pvalue)
    assert found["difference"] == pytest.approx(differences.mean())
    assert found["holm"] == pytest.approx(exact)  # a single comparison
    assert found["interval"] == interval(differences)
    assert found["interval"][0] < found["difference"] < found["interval"][1]


def test_chance_is_told_from_a_difference() -> None:
    random = np.random.default_rng(0)
    base = random.random(400)
    systems = {
        "bm25": base,
        "same": base,
        "noise": base + random.normal(size=400),
        "better": base + 0.1 + 0.01 * random.random(400),
    }
    found = compare_all(systems, "bm25")
    assert found["same"]["holm"] == found["same"]["t_test"] == 1.0
    assert found["noise"]["holm"] > 0.05
    assert found["better"]["holm"] < 0.01
    assert "bm25" not in found


@pytest.mark.parametrize("queries", [1, 2, 3])
def test_few_queries_prove_little(queries: int) -> None:
    found = compare_all({"bm25": np.zeros(queries), "dsi": np.ones(queries)}, "bm25")["dsi"]
    assert found["randomisation"] == found["t_test"] == 2 / 2**queries


def test_holm() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([]) == []


def test_intervals_hold_the_mean_as_often_as_they_say() -> None:
    random = np.random.default_rng(1)
    inside = [
        low <= 0.3 <= high for low, high in (interval((random.random(80) < 0.3).astype(float)) for _ in range(60))
    ]
    assert 0.85 < np.mean(inside) <= 1.0
    assert interval(np.full(5, 0.25)) == (0.25, 0.25)
