"""How systems look in figures: a colour that stands out from a light and from a dark page, a marker, a kind of line."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

INK = "#010203"
"""The colour of text and axes, black to the eye; in SVG it is the colour of the text around the figure."""
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#8a7a00", "#6f6fd0", INK)
"""Colours that the colour-blind tell apart (Okabe and Ito 2008, but for two), each at least 3:1 on white and on black;
systems take them from the front, baselines from the back."""
OURS, BASELINES = ("oDsPX", "-"), ("^vd<>", "--")
"""The markers and the line of systems, filled, and of baselines, hollow."""
Style = dict[str, Any]
"""The arguments of matplotlib for the points and the line of a system."""


@dataclass(frozen=True)
class Systems:
    """The systems of a run, in the order in which they are shown."""

    names: Mapping[str, str]
    """The name of each in tables."""
    styles: Mapping[str, Style]
    main: str
    baseline: str
    """The system that others are compared with; the main one where there is no other."""
    measure: str
    """The first measure, which is drawn."""

    def name(self, system: str) -> str:
        """The name of a system in tables."""
        return self.names[system]


def systems_of(
    metrics: Mapping[str, Any], names: Mapping[str, str], runs: Mapping[str, tuple[str, str]] | None = None
) -> Systems:
    """The systems of `metrics.json`; `names` has the name of each in tables, `runs` is as in `styles`."""
    measure = next(iter(metrics["systems"][metrics["main"]]))
    looks = styles(list(names), metrics["baselines"], runs)
    return Systems(names, looks, metrics["main"], metrics["baseline"], measure)


def styles(
    systems: Sequence[str], baselines: Sequence[str] = (), runs: Mapping[str, tuple[str, str]] | None = None
) -> dict[str, Style]:
    """The style of each system; those of a system and of a baseline depend on its place among its like only.

    Where several runs are compared, `runs` has what each system is called in its run, which decides its colour, and the
    run, which decides its marker.
    """
    ours = [system for system in systems if system not in baselines]
    return _styles(ours, runs or {}, COLOURS, *OURS) | _styles(baselines, runs or {}, COLOURS[::-1], *BASELINES)


def _styles(
    systems: Sequence[str], runs: Mapping[str, tuple[str, str]], colours: Sequence[str], markers: str, line: str
) -> dict[str, Style]:
    parts = {system: runs.get(system, (system, system)) for system in systems}
    own_names, own_runs = (list(dict.fromkeys(part[place] for part in parts.values())) for place in (0, 1))
    known = {}
    for system, (own_name, run) in parts.items():
        colour, marker = colours[own_names.index(own_name) % len(colours)], markers[own_runs.index(run) % len(markers)]
        fill = colour if line == OURS[1] else "none"
        known[system] = {"color": colour, "marker": marker, "linestyle": line, "markerfacecolor": fill}
    return known
