"""Whether a difference between two systems is more than chance: paired tests over queries, and intervals of means.

The tests are two-sided: the paired t-test, and the paired randomisation test (Smucker et al. 2007), which assumes
nothing about the distribution of the differences. Holm's correction is for the number of systems compared on a measure.
Intervals of a mean are percentile bootstraps over queries.
"""

from collections.abc import Mapping, Sequence
from typing import TypedDict

import numpy as np
from numpy.typing import NDArray
from scipy import stats

CONFIDENCE = 0.95
RESAMPLES = 9_999
Values = NDArray[np.float64]
"""The measure of each query, or the difference of two systems on it, (queries,)."""


class Comparison(TypedDict):
    """A system against the baseline on one measure: the difference of the means, its interval and p-values."""

    difference: float
    """The difference of the means, above 0 if the system is better."""
    interval: tuple[float, float]
    """The 95 % confidence interval of the difference."""
    t_test: float
    """The p-value of the paired t-test."""
    randomisation: float
    """The p-value of the paired randomisation test."""
    holm: float
    """The p-value of the randomisation test after Holm's correction."""


def compare_all(values: Mapping[str, Values], baseline: str, seed: int = 0) -> dict[str, Comparison]:
    """Compare every system with `baseline`; `values` has the measure of each query by system, all in the same order."""
    others = [system for system in values if system != baseline]
    differences = [values[system] - values[baseline] for system in others]
    tests = [_tests(difference, seed) for difference in differences]
    corrected = holm([randomisation for _, randomisation in tests])
    means = [float(np.mean(difference)) for difference in differences]
    intervals = [interval(difference, seed) for difference in differences]
    return {
        system: Comparison(difference=mean, interval=bounds, t_test=t_test, randomisation=randomisation, holm=p)
        for system, mean, bounds, (t_test, randomisation), p in zip(
            others, means, intervals, tests, corrected, strict=True
        )
    }


def holm(p_values: Sequence[float]) -> list[float]:
    """The p-values after Holm's correction (Holm 1979), in the same order.

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
    """The 95 % confidence interval of the mean of `values`: its lower and its upper bound."""
    if np.ptp(values) == 0:
        return float(values[0]), float(values[0])
    bounds = stats.bootstrap(
        (values,),
        np.mean,
        n_resamples=RESAMPLES,
        batch=500,
        confidence_level=CONFIDENCE,
        method="percentile",
        rng=np.random.default_rng(seed),
    ).confidence_interval
    return float(bounds.low), float(bounds.high)


def _tests(differences: Values, seed: int) -> tuple[float, float]:
    """The p-values of the t-test and of the randomisation test for a mean difference of 0."""
    if not differences.any():
        return 1.0, 1.0
    if np.ptp(differences) == 0:  # no spread for a t-test; two of 2^n flips are as extreme
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
