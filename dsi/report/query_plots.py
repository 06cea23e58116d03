"""The figures of a run's queries: recall at every cutoff, and who wins which."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from dsi.report.figures import Figure
from dsi.report.per_query import DEEPEST, PerQuery
from dsi.report.quantities import decimal
from dsi.report.styles import Systems

if TYPE_CHECKING:
    from matplotlib.axes import Axes

CUTOFFS = (1, 10, 100)
"""The ranks at which recall is told in words."""


def recall(queries: PerQuery, systems: Systems) -> list[Figure]:
    """Recall at every cutoff; the line of a system ends where its rankings do."""
    curves = {system: curve for system in systems.names if len(curve := recall_at(queries, system))}
    if not curves:
        return []

    def draw(axes: Axes) -> None:
        axes.set_xscale("log")
        for system, curve in curves.items():
            ranks = np.arange(1, len(curve) + 1)
            marked = [rank - 1 for rank in (1, 2, 3, 5, 10, 20, 30, 50, 100) if rank <= len(curve)]
            axes.plot(
                ranks, curve, label=systems.name(system), markevery=marked, markersize=5, **systems.styles[system]
            )
        axes.set_xticks([1, 2, 5, 10, 20, 50, 100], ["1", "2", "5", "10", "20", "50", "100"])
        axes.minorticks_off()
        axes.set_ylim(top=1)
        axes.set_xlabel("documents of the ranking, k")
        axes.set_ylabel("recall at k")

    values = "; ".join(
        f"{systems.name(system)} " + ", ".join(decimal(curve[cutoff - 1]) for cutoff in CUTOFFS if cutoff <= len(curve))
        for system, curve in curves.items()
    )
    return [
        Figure(
            "recall",
            f"Recall in the first k documents, k up to {DEEPEST}",
            f"Recall at k rises with k for every system. At k = {', '.join(map(str, CUTOFFS))}: {values}.",
            ["system", "k", "recall"],
            [[systems.name(name), k, value] for name, curve in curves.items() for k, value in enumerate(curve, 1)],
            draw,
        )
    ]


def recall_at(queries: PerQuery, system: str) -> NDArray[np.float64]:
    """The mean over the judged queries of the share of relevant documents among the first k, for k from 1 to the
    length of the longest ranking, (k,); a query without a relevant document counts as 0."""
    found = queries.found[system]
    gains = np.zeros(max(map(len, found.values()), default=0))
    for query_id, relevant in queries.relevant.items():
        wanted = set(relevant)
        for place, doc_id in enumerate(found.get(query_id, [])):
            if doc_id in wanted:
                gains[place] += 1 / len(wanted)
    return gains.cumsum() / max(len(queries.values[system]), 1)


def differences(queries: PerQuery, systems: Systems) -> list[Figure]:
    """The difference of the main system from the baseline for every query, the largest first."""
    main, baseline = systems.name(systems.main), systems.name(systems.baseline)
    if main == baseline:
        return []
    of_query = queries.difference(systems.main, systems.baseline)
    ordered = sorted(of_query.items(), key=lambda item: -item[1])
    heights, numbers = np.unique(list(of_query.values()), return_counts=True)
    shares: dict[int, float] = {sign: numbers[np.sign(heights) == sign].sum() / len(of_query) for sign in (1, 0, -1)}
    colours = {1: systems.styles[systems.main]["color"], -1: systems.styles[systems.baseline]["color"]}

    def draw(axes: Axes) -> None:
        edges = np.concatenate([[0], numbers[::-1].cumsum()]) / len(of_query) * 100
        for sign, name in ((1, main), (-1, baseline)):
            kept = np.where(np.sign(heights[::-1]) == sign, heights[::-1], 0)
            label = f"{name} better: {shares[sign]:.0%} of the queries"
            axes.stairs(kept, edges, fill=True, color=colours[sign], alpha=0.8, label=label)
        axes.set_xlim(0, 100)
        axes.set_xlabel("queries in %, the largest difference first")
        axes.set_ylabel(f"{systems.measure}, {main} less {baseline}", fontsize="small")

    return [
        Figure(
            "differences",
            f"{systems.measure} of {main} less that of {baseline}, query by query",
            f"Differences on {systems.measure} in order of size: {main} is better for {shares[1]:.1%} of the queries,"
            f" level for {shares[0]:.1%}, worse for {shares[-1]:.1%}.",
            ["query_id", "difference"],
            ordered,
            draw,
        )
    ]
