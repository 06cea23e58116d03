"""Is a difference between two systems more than chance? Paired tests over queries, corrected for their number.

Two-sided: the paired t-test, and the paired randomisation test (Smucker et al. 2007), which assumes nothing of how the
differences are distributed. Holm's correction is over the systems that are compared on a measure. Intervals of a mean
are percentile bootstraps over queries. All from scipy but Holm's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypedDict

import numpy as np
from numpy.typing import NDArray
from scipy import stats

CONFIDENCE = 0.95
RESAMPLES = 9_999
Values = NDArray[np.float64]


class Comparison(TypedDict):
    """A system against the baseline on one measure."""

    difference: float
    """Of the means; above 0 if the system is better."""
    t_test: float
    """p."""
    randomisation: float
    """p."""
    holm: float
    """p of the randomisation test after the correction."""


def compare_all(values: Mapping[str, Values], baseline: str, seed: int = 0) -> dict[str, Comparison]:
    """Every system against `baseline`; `values` has a system's measure for each query, in the same order for all."""
    others = [system for system in values if system != baseline]
    tests = [_tests(values[system] - values[baseline], seed) for system in others]
    corrected = holm([randomisation for _, randomisation in tests])
    return {
        system: Comparison(
            difference=float(np.mean(values[system] - values[baseline])),
            t_test=t_test,
            randomisation=randomisation,
            holm=p,
        )
        for system, (t_test, randomisation), p in zip(others, tests, corrected, strict=True)
    }


def holm(p_values: Sequence[float]) -> list[float]:
    """Corrected p-values in the same order (Holm 1979).

    >>> holm([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]
    """
    order = np.argsort(p_values)
    factors = len(p_values) - np.arange(len(p_values))
    corrected = np.minimum(np.maximum.accumulate(np.asarray(p_values, dtype=float)[order] * factors), 1)
    result = np.empty_like(corrected)
    result[order] = corrected
    return [round(p, 12) for p in result.tolist()]


def interval(values: Values, seed: int = 0) -> tuple[float, float]:
    """Of the mean, at 95 % confidence."""
    if np.ptp(values) == 0:
        return float(values[0]), float(values[0])
    found = stats.bootstrap(
        (values,),
        np.mean,
        n_resamples=RESAMPLES,
        batch=500,
        confidence_level=CONFIDENCE,
        method="percentile",
        rng=np.random.default_rng(seed),
    ).confidence_interval
    return float(found.low), float(found.high)


def _tests(differences: Values, seed: int) -> tuple[float, float]:
    """p of the t-test and of the randomisation test that the mean difference is 0."""
    if not differences.any():
        return 1.0, 1.0
    if np.ptp(differences) == 0:  # the t-test has no spread to go by; all flips are as large, two in 2^n are as extreme
        p = max(2.0 ** (1 - len(differences)), 1 / (RESAMPLES + 1))
        return p, p
    flipped = stats.permutation_test(
        (differences,),
        np.mean,
        permutation_type="samples",
        n_resamples=RESAMPLES,
        batch=500,
        vectorized=True,
        rng=np.random.default_rng(seed),
    )
    return float(stats.ttest_1samp(differences, 0).pvalue), float(flipped.pvalue)
