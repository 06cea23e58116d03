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


def systems_of(metrics: Mapping[str, Any], names: Mapping[str, str]) -> Systems:
    """The systems of `metrics.json`; `names` has the name of each in tables."""
    measure = next(iter(metrics["systems"][metrics["main"]]))
    return Systems(names, styles(list(names), metrics["baselines"]), metrics["main"], metrics["baseline"], measure)


def styles(systems: Sequence[str], baselines: Sequence[str] = ()) -> dict[str, Style]:
    """The style of each system; those of a system and of a baseline depend on its place among its like only."""
    ours = [system for system in systems if system not in baselines]
    known = {system: _style(place, COLOURS, *OURS) for place, system in enumerate(ours)}
    return known | {system: _style(place, COLOURS[::-1], *BASELINES) for place, system in enumerate(baselines)}


def _style(place: int, colours: Sequence[str], markers: str, line: str) -> Style:
    colour = colours[place % len(colours)]
    fill = colour if line == OURS[1] else "none"
    return {"color": colour, "marker": markers[place % len(markers)], "linestyle": line, "markerfacecolor": fill}
