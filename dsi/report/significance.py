"""The part of the report on the differences between systems, with their p-values."""

from collections.abc import Callable
from typing import Any

from dsi.report.blocks import Block
from dsi.report.quantities import UNKNOWN, Quantity, bounds, decimal, difference, p_value
from dsi.report.tables import Table

TESTS = {"holm": "Holm", "t_test": "t-test", "randomisation": "randomisation"}
"""The p-values of a comparison as they are called in tables; what counts, after correction, is the first."""


def significance(
    metrics: dict[str, Any], name_of: Callable[[str], str] = str, table: str = "significance"
) -> list[Block]:
    """The mean of every system on the first measure compared, its interval, and its difference from the baseline, as a
    table with this name and its explanation; nothing without a comparison. `name_of` gives a system's name in tables.
    """
    if not metrics.get("comparisons"):
        return []
    measure, comparisons = next(iter(metrics["comparisons"].items()))
    rows = []
    for name, values in metrics["systems"].items():
        compared = comparisons.get(name)
        cells = [_difference(compared), *(p_value(compared[test]) for test in TESTS)] if compared else [UNKNOWN] * 4
        rows.append([name_of(name), decimal(values[measure]), bounds(*metrics["intervals"][name][measure]), *cells])
    against = f"against {name_of(metrics['baseline'])}"
    header = ["system", measure, "95% interval", against, *TESTS.values()]
    return [
        Table(table, f"Differences on {measure}.", header, rows),
        "Intervals, those of differences in brackets, are bootstraps over queries; p-values are of paired two-sided"
        " tests, Holm's after correction of the randomisation test for the number of systems.",
    ]


def verdict(metrics: dict[str, Any], name_of: Callable[[str], str] = str) -> list[str]:
    """What the main system has more than the baseline on the first measure, in a sentence; none without a baseline."""
    measure, comparisons = next(iter(metrics["comparisons"].items()))
    main, baseline = metrics["main"], metrics["baseline"]
    if main not in comparisons or not metrics["baselines"]:
        return []
    compared = comparisons[main]
    return [
        f"{name_of(main)} less {name_of(baseline)} on {measure}: {_difference(compared)}, p {_sign(compared['holm'])}"
        " (95% interval; paired randomisation test, Holm)."
    ]


def fusions(metrics: dict[str, Any], name_of: Callable[[str], str] = str) -> list[str]:
    """What planning adds to each cheap fusion on the first measure, in a sentence a fusion; none without a prior."""
    return [
        f"{name_of(metrics['main'])} less {name_of(system)}: {-compared['difference']:+.3f} (randomisation test, Holm:"
        f" {p_value(compared['holm'])})."
        for system, compared in metrics.get("fusions", {}).items()
    ]


def _difference(compared: dict[str, Any]) -> Quantity:
    return difference(compared["difference"], *compared["interval"])


def _sign(p: float) -> str:
    return f"= {p_value(p)}" if p >= 0.0001 else "< 0.0001"
