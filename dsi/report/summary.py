"""The answer to a run in a few sentences: who wins, by how much, at what cost, when and on which machine."""

from collections.abc import Callable, Mapping
from textwrap import fill
from typing import Any

from dsi.report.cost import Cost, Manifests, started_from
from dsi.report.quantities import UNKNOWN, count, decimal, duration, large, milliseconds, size
from dsi.report.tables import Table

WIDTH = 100
"""The width of sentences in the summary, in characters."""

LEVEL = 0.05
"""The corrected p-value below which one system beats another."""
VERSIONS = {"dsi-retrieval": "dsi", "python": "Python", "torch": "torch", "transformers": "transformers"}
"""What the packages are called whose versions are told."""

SIMULATED = (
    "The corpus came without queries: these are known-item queries, words drawn from a document each as those that dsi"
    " learns from, in other draws. They say whether a document is found by its words, not whether people are content."
)


def summary(answer: list[str], results: Table, sentences: list[str]) -> str:
    """The text of `summary.txt`: the lines of the answer, the table of results, and sentences about both."""
    table = f"{results.text()}* best value\n"
    return "\n".join(["", *answer, "", table, *(f"{fill(sentence, WIDTH)}\n" for sentence in sentences)])


def headline(metrics: dict[str, Any], name_of: Callable[[str], str] = str) -> str:
    """Whether the main system or the best baseline wins by the first measure, and by how much, in one sentence. One
    beats the other if the test says so, and is ahead where that pair was not tested. `name_of` gives a system's name in
    tables."""
    main, (measure, ours, others) = name_of(metrics["main"]), _first_measure(metrics)
    if not others:
        return f"{main}: {measure} {decimal(ours)}; there is no baseline to compare it with."
    best, theirs = max(others.items(), key=lambda item: item[1])
    rival = name_of(best)
    if ours == theirs:
        return f"{main} and {rival} are level: {measure} {decimal(ours)}."
    winner, loser = (main, rival) if ours > theirs else (rival, main)
    values = f"{decimal(max(ours, theirs))} against {decimal(min(ours, theirs))}"
    share = f", {main} at {ours / theirs:.0%} of {rival}" if theirs else ""
    p = metrics["comparisons"][measure].get(metrics["main"], {}).get("holm") if best == metrics["baseline"] else None
    if p is not None and p >= LEVEL:
        return f"{main} and {rival} are not told apart: {measure} {decimal(ours)} and {decimal(theirs)} (p = {p:.2g})."
    return f"{winner} {'is ahead of' if p is None else 'beats'} {loser}: {measure} {values}{share}."


def ratios(metrics: dict[str, Any]) -> dict[str, float | None]:
    """The value of the main system on the first measure divided by that of each baseline; None where that is 0."""
    _, ours, others = _first_measure(metrics)
    return {name: round(ours / value, 4) if value else None for name, value in others.items()}


def context(metrics: dict[str, Any], manifests: Manifests) -> str:
    """What was indexed, searched and trained, in one line."""
    source = manifests["corpus"]["inputs"]["corpus"]
    counts = {stage: manifest["counts"] for stage, manifest in manifests.items()}
    uses_queries = manifests["model"]["inputs"]["training"]["tasks"]["d2q"] > 0
    checkpoint = started_from(manifests)
    name = source.get("dataset") or source["source"]
    return (
        (f"{name}, " if name != "documents" else "") + f"{count(metrics['documents'])} documents;"
        f" {count(metrics['queries'])} {asked(metrics, manifests)}; {counts['docids'].get('kind', '-')} docids;"
        + (f" {count(counts['doc2query'].get('queries'))} synthetic queries;" if uses_queries else "")
        + f" {large(counts['model'].get('parameters'))} parameters"
        + (f" from {checkpoint}" if checkpoint else "")
        + (f", distilled from {counts['model']['distilled']['teacher']}" if "distilled" in counts["model"] else "")
        + (", whose training did not better the warm start" if counts["model"].get("best_step") == 0 else "")
    )


def cost(cost_of: Mapping[str, Cost]) -> list[str]:
    """What these systems cost, by their names in tables, in a sentence; none if nothing is known."""
    said = [f"{name} {', '.join(facts)}" for name, cost in cost_of.items() if (facts := _known(cost))]
    return [f"Cost: {'; '.join(said)}."] if said else []


def _known(cost: Cost) -> list[str]:
    """What is known of the cost of a system, in words."""
    start = f", after its checkpoint {cost['checkpoint']}" if "checkpoint" in cost else ""
    facts = {
        f"trained in {{}}{start}": duration(cost.get("training_seconds")),
        "its teacher's labels made in {}": duration(cost.get("teacher_seconds")),
        "index of {}": size(cost.get("index_bytes")),
        "{} ms a query (p50)": milliseconds(cost.get("latency_ms", {}).get("p50")),
    }
    return [words.format(quantity) for words, quantity in facts.items() if quantity is not UNKNOWN]


def measured_on(manifests: Manifests) -> str:
    """When, with which versions and on which machine the index was searched, in a sentence."""
    search = manifests["search"]
    machine, packages = search.get("machine", {}), search.get("packages", {})
    named = [str(machine[key]) for key in ("gpu", "cpu", "instruction_set") if machine.get(key)]
    number = machine.get("threads")
    threads = [f"{count(number)} thread{'s' if number > 1 else ''}"] if number else []
    versions = [f"{called} {packages[package]}" for package, called in VERSIONS.items() if package in packages]
    return (
        "Measured"
        + (f" on {search['date']}" if "date" in search else "")
        + (f" with {', '.join(versions)}," if versions else "")
        + f" on {', '.join([*named, *threads]) or 'a machine that is not recorded'}."
    )


def simulated(manifests: Manifests) -> list[str]:
    """A sentence that says so where the queries are simulated."""
    return [SIMULATED] if "simulated_queries" in manifests["corpus"]["counts"] else []


def asked(metrics: dict[str, Any], manifests: Manifests) -> str:
    """What the queries are called."""
    return f"{'simulated ' if simulated(manifests) else ''}{metrics['split']} queries"


def _first_measure(metrics: dict[str, Any]) -> tuple[str, float, dict[str, float]]:
    """The name of the first measure, its value for the main system, and its value for each baseline."""
    measure, ours = next(iter(metrics["systems"][metrics["main"]].items()))
    return measure, ours, {name: metrics["systems"][name][measure] for name in metrics["baselines"]}
