"""The stage `report`: who wins, by how much, at what cost; for a terminal, in Markdown and as a page."""

import json
from collections.abc import Callable, Mapping
from functools import reduce
from pathlib import Path
from textwrap import fill
from typing import Any

import yaml

from dsi.artifacts import read_manifest
from dsi.config import DEV, ReportConfig, cutoff_of
from dsi.corpus.store import Corpus
from dsi.errors import DsiError
from dsi.evaluation.breakdown import bucket_names
from dsi.report.breakdowns import breakdowns
from dsi.report.browser import browser
from dsi.report.cost import Cost, cost_table, costs
from dsi.report.differences import largest_differences
from dsi.report.distilled import labels, shown, teachers
from dsi.report.figures import FIGURES, Figure
from dsi.report.page import write_page
from dsi.report.per_query import read_per_query
from dsi.report.plots import plots
from dsi.report.published import published
from dsi.report.quantities import count, decimal, duration, large, size
from dsi.report.significance import fusions, significance, verdict
from dsi.report.systems import explained
from dsi.report.tables import markdown_table, text_table
from dsi.runtime.extras import install, lacking
from dsi.runtime.progress import say
from dsi.runtime.tsv import read_tsv
from dsi.search.run_files import DSI

WIDTH = 100
"""The width of sentences in the summary, in characters."""
CURVE_POINTS = 12
"""The number of points shown of the dev curve, at most, beside the best one; the file has all."""

CHOSEN_ON_DEV = "dsi's checkpoint was chosen on dev queries too, which flatters its figures a little."

SIMULATED = (
    "The corpus came without queries: these are known-item queries, words drawn from a document each as those that dsi"
    " learns from, in other draws. They say whether a document is found by its words, not whether people are content."
)

WEIGHED_HERE = "The weights of the prior and of linear were chosen on these queries too, which flatters both a little."

RECIPROCAL_RANK = (
    "RR@10 is 1 when the first document returned is relevant, 1/2 when the second is the first relevant one, and so on"
    " to 1/10; beyond that it is 0. Its mean is known as MRR@10."
)

PAGE = "report"
"""The extra whose packages make the page."""

Manifests = dict[str, dict[str, Any]]
"""The manifest of each stage by name, in the order of the stages."""


def report(
    out_folder: Path,
    *,
    report: ReportConfig | None = None,
    licence: str | None = None,
    trained_on: str | None = None,
    **stage_folders: Path,
) -> dict[str, Any]:
    """Write `summary.txt`, `report.md`, `report.html` and figures of a run, whose stages are each given as
    `STAGE_folder`; the page and the figures only where their packages are installed, else a line says which are not.

    `licence` and `trained_on` are what the configuration says of a teacher.

    Returns:
        `headline`: who wins, in words; `ratio`: the main system's first measure divided by that of each baseline.

    Raises:
        DsiError: a stage's folder has no manifest.
    """
    folders = {name.removesuffix("_folder"): folder for name, folder in stage_folders.items()}
    manifests: Manifests = {}
    for stage, folder in folders.items():
        manifest = read_manifest(folder)
        if manifest is None:
            raise DsiError(f"{folder} has no manifest: the stage is not finished")
        manifests[stage] = manifest
    metrics = json.loads((folders["evaluation"] / "metrics.json").read_text(encoding="utf-8"))
    curve_file = folders["model"] / "dev_curve.tsv"
    curve = list(read_tsv(curve_file)) if curve_file.exists() else []
    cost_of = costs(manifests, list(metrics["systems"]), {"licence": licence, "trained_on": trained_on})
    names = {system: shown(system, cost) for system, cost in cost_of.items()}
    table = text_table(*results(metrics, names.__getitem__, mark="{}*")) + "* best value"
    said = [*verdict(metrics, names.__getitem__), measured_on(manifests), *simulated(manifests)]
    summary = f"\n{headline(metrics)}\n{context(metrics, manifests)}\n\n{table}\n"
    summary += "".join(f"\n{fill(sentence, WIDTH)}\n" for sentence in said)
    (out_folder / "summary.txt").write_text(summary, encoding="utf-8")
    queries, corpus = read_per_query(metrics, folders), Corpus(folders["corpus"])
    figures = {} if lacking(PAGE) else plots(metrics, queries, cost_of, names, curve)
    for figure in figures.values():
        figure.save(out_folder / FIGURES)
    differ = largest_differences(queries, metrics["main"], metrics["baseline"], corpus, names)
    setting = report.published if report else None
    text = markdown(metrics, manifests, cost_of, names, curve, differ, figures, setting)
    (out_folder / "report.md").write_text(text, encoding="utf-8")
    if packages := lacking(PAGE):
        say(f"dsi: report.html and figures are not written; they need {' and '.join(packages)}: {install(PAGE)}")
    else:
        part = browser(metrics, queries, corpus, names)
        write_page(out_folder / "report.html", text, part, _configuration(manifests))
    return {"headline": headline(metrics), "ratio": ratios(metrics)}


def headline(metrics: dict[str, Any]) -> str:
    """Whether the main system or the best baseline wins by the first measure, and by how much, in one sentence."""
    main, (measure, ours, others) = metrics["main"], _first_measure(metrics)
    if not others:
        return f"{main}: {measure} {decimal(ours)}; there is no baseline to compare it with."
    rival, theirs = max(others.items(), key=lambda item: item[1])
    if ours == theirs:
        return f"{main} and {rival} are level: {measure} {decimal(ours)}."
    winner, loser = (main, rival) if ours > theirs else (rival, main)
    values = f"{decimal(max(ours, theirs))} against {decimal(min(ours, theirs))}"
    share = f", {main} at {ours / theirs:.0%} of {rival}" if theirs else ""
    return f"{winner} beats {loser}: {measure} {values}{share}."


def ratios(metrics: dict[str, Any]) -> dict[str, float | None]:
    """The value of the main system on the first measure divided by that of each baseline; None where that is 0."""
    _, ours, others = _first_measure(metrics)
    return {name: round(ours / value, 4) if value else None for name, value in others.items()}


def context(metrics: dict[str, Any], manifests: Manifests) -> str:
    """What was indexed, searched and trained, in one line."""
    source = manifests["corpus"]["inputs"]["corpus"]
    counts = {stage: manifest["counts"] for stage, manifest in manifests.items()}
    uses_queries = manifests["model"]["inputs"]["training"]["tasks"]["d2q"] > 0
    checkpoint = manifests["model"].get("paths", {}).get("model.checkpoint")
    name = source.get("dataset") or source["source"]
    return (
        (f"{name}, " if name != "documents" else "") + f"{count(metrics['documents'])} documents;"
        f" {count(metrics['queries'])} {_asked(metrics, manifests)}; {counts['docids'].get('kind', '-')} docids;"
        + (f" {count(counts['doc2query'].get('queries'))} synthetic queries;" if uses_queries else "")
        + f" {large(counts['model'].get('parameters'))} parameters,"
        f" trained in {duration(counts['model'].get('training_seconds'))}"
        + (f" from {checkpoint}" if checkpoint else "")
        + (f", distilled from {counts['model']['distilled']['teacher']}" if "distilled" in counts["model"] else "")
        + (", which did not better its warm start" if counts["model"].get("best_step") == 0 else "")
    )


def measured_on(manifests: Mapping[str, Any]) -> str:
    """The machine that searched, and the version of dsi, in a sentence."""
    machine, packages = (manifests["search"].get(key, {}) for key in ("machine", "packages"))
    named = [str(machine[key]) for key in ("gpu", "cpu", "instruction_set") if machine.get(key)]
    threads = [f"{count(machine['threads'])} threads"] if machine.get("threads") else []
    version = f" with dsi {packages['dsi-retrieval']}" if "dsi-retrieval" in packages else ""
    return f"Measured{version} on {', '.join([*named, *threads]) or 'a machine that is not recorded'}."


def simulated(manifests: Mapping[str, Any]) -> list[str]:
    """A sentence that says so where the queries are simulated."""
    return [SIMULATED] if "simulated_queries" in manifests["corpus"]["counts"] else []


def shallow(metrics: dict[str, Any], manifests: Manifests) -> list[str]:
    """The measures that look at more results than the rankings hold, in a sentence each."""
    keys = {**manifests["search"]["inputs"].get("search", {}), **manifests["baselines"]["inputs"].get("baselines", {})}
    depth = min((keys[key] for key in ("beam", "depth") if key in keys), default=metrics["documents"])
    return [
        f"{measure} is measured on rankings of no more than {depth} documents."
        for measure in metrics["systems"][DSI]
        if depth < min(cutoff_of(measure) or metrics["documents"], metrics["documents"])
    ]


def without_relevant(metrics: dict[str, Any]) -> str:
    """What the means do with queries that no system can answer."""
    number, queries = metrics["queries_without_relevant"], metrics["queries"]
    return (
        f"{count(number)} of the {count(queries)} queries {'have' if number > 1 else 'has'} no relevant document and"
        " counts 0 in every mean, as with trec_eval; means over the others would be"
        f" {queries / max(queries - number, 1):.3g} times as high."
    )


def identical(manifests: Manifests) -> str:
    """What is left out of rankings because a query is a document; empty if nothing is."""
    number = manifests["search"]["counts"]["systems"][DSI].get("identical_documents_left_out", 0)
    if not number:
        return ""
    return (
        f"{count(number)} queries are documents of the same id, which are left out of their rankings"
        " (corpus.ignore_identical_ids)."
    )


def results(metrics: dict[str, Any], name_of: Callable[[str], str], mark: str) -> tuple[list[str], list[list[str]]]:
    """The header and the rows of the table of results; the best value of a measure is put into `mark`, e.g. `{}*`.
    `name_of` gives a system's name in tables."""
    systems = metrics["systems"]
    measures = list(systems[DSI])
    best = {measure: max(values[measure] for values in systems.values()) for measure in measures}
    rows = []
    for name, values in systems.items():
        cells = [(decimal(values[measure]), values[measure] == best[measure]) for measure in measures]
        rows.append([name_of(name)] + [mark.format(cell) if is_best else cell for cell, is_best in cells])
    return ["system", *measures], rows


def markdown(
    metrics: dict[str, Any],
    manifests: Manifests,
    cost_of: Mapping[str, Cost],
    names: Mapping[str, str],
    curve: list[dict[str, str]],
    differ: list[str],
    figures: Mapping[str, Figure],
    setting: str | None = None,
) -> str:
    """The whole report in Markdown, with the figures published for `setting` if one is given. `names` has the name of
    each system in tables, `differ` the lines on the queries that differ most, `figures` what is drawn, by name."""
    measures = list(metrics["systems"][DSI])
    name_of, named = names.__getitem__, {names[system]: cost for system, cost in cost_of.items()}
    lines = [
        f"# {headline(metrics)}",
        "",
        context(metrics, manifests) + ".",
        "",
        markdown_table(*results(metrics, name_of, mark="**{}**")),
        *significance(metrics, name_of),
        *fusions(metrics, name_of),
        *_images(figures, "forest", "recall"),
        f"Metrics per system are means over {count(metrics['queries'])} {_asked(metrics, manifests)}; a query without"
        " results counts as 0. The best value is in bold.",
        *teachers(named),
        *([RECIPROCAL_RANK] if "RR@10" in measures else []),
        *simulated(manifests),
        *([CHOSEN_ON_DEV] if metrics["split"] == DEV else []),
        *([WEIGHED_HERE] if metrics["split"] in _chosen_on(manifests) else []),
        *shallow(metrics, manifests),
        *([without_relevant(metrics)] if "queries_without_relevant" in metrics else []),
        *([left_out] if (left_out := identical(manifests)) else []),
        "",
        *(
            f"{metrics['main']} / {name} on {measures[0]}: {decimal(ratio, 2)}  "
            for name, ratio in ratios(metrics).items()
        ),
    ]
    if setting is not None:
        lines += ["", "## Published figures", "", published(setting)]
    lines += ["", "## Kinds of queries", "", *breakdowns(metrics, name_of, figures)]
    if differ:
        lines += ["", "## Where the systems differ most", "", *_images(figures, "differences"), *differ]
    lines += ["", "## Cost", "", cost_table(named), *explained(manifests), *_images(figures, "latency", "training")]
    for system, counts in manifests["search"]["counts"]["systems"].items():
        lines += _search(names[system], counts)
    lines += ["", "## Synthetic queries", "", *_synthetic_queries(manifests["doc2query"]["counts"])]
    lines += ["", "## Building", "", _stages(manifests)]
    lines += ["Peak memory is that of the process up to the end of the stage, earlier stages it ran included."]
    lines += ["", "## Training", "", *labels(manifests), _curve(curve)]
    lines += _images(figures, "dev-curve")
    lines += ["", "## Versions", "", _versions(manifests)]
    return "\n".join(lines) + "\n"


def _images(figures: Mapping[str, Figure], *names: str) -> list[str]:
    """The figures with these names that are drawn, as lines of Markdown."""
    return [line for name in names if name in figures for line in ("", figures[name].markdown(), "")]


def _asked(metrics: dict[str, Any], manifests: Manifests) -> str:
    """What the queries are called."""
    return f"{'simulated ' if simulated(manifests) else ''}{metrics['split']} queries"


def _first_measure(metrics: dict[str, Any]) -> tuple[str, float, dict[str, float]]:
    """The name of the first measure, its value for the main system, and its value for each baseline."""
    measure, ours = next(iter(metrics["systems"][metrics["main"]].items()))
    return measure, ours, {name: metrics["systems"][name][measure] for name in metrics["baselines"]}


def _chosen_on(manifests: Manifests) -> set[str]:
    """The splits on whose queries weights of the prior were chosen."""
    return {*manifests.get("prior", {"counts": {}})["counts"].get("chosen", {}).values()}


def _configuration(manifests: Manifests) -> str:
    """The sections of the configuration that these stages read, as YAML."""
    sections: dict[str, Any] = {}
    for manifest in manifests.values():
        sections |= {
            key: value for key, value in manifest["inputs"].items() if isinstance(value, dict) and "." not in key
        }
        for key, path in manifest.get("paths", {}).items():
            *above, last = key.split(".")
            holder = reduce(lambda values, part: values.get(part, {}), above, sections)
            if last in holder:
                holder[last] = path
    return yaml.safe_dump(sections, sort_keys=False, allow_unicode=True)


def _search(name: str, counts: dict[str, Any]) -> list[str]:
    """What the search of the system with this name says about itself: docids that do not exist, certificates, search
    errors."""
    wanted = "of the largest totals" if "prior" in counts else "that the model finds most probable"
    lines = []
    if "invalid_docids" in counts:
        lines += [
            f"The beam was not constrained: {counts['invalid_docids']:.1%} of its results, and"
            f" {counts['invalid_first']:.1%} of the first ones, are docids that do not exist."
        ]
    if "certified_ten" in counts:
        lines += [
            f"For {counts['certified_ten']:.1%} of the queries the first ten documents of {name} are certified to be"
            f" the ten {wanted}."
        ]
    errors = counts.get("search_errors")
    if errors is not None:
        rows = [[beam, *(f"{share:.1%}" for share in list(row.values())[1:])] for beam, row in errors["beams"].items()]
        header = ["beam", "first document missed", "of the first ten missed", "first ten certified by itself"]
        lines += [
            "",
            f"Search errors of {name}: what a beam misses of the documents {wanted}, over"
            f" {errors['certified']:.1%} of {count(errors['queries'])} queries, for which exact search certifies them.",
            "",
            markdown_table(header, rows),
        ]
    return ["", *lines] if lines else []


def _synthetic_queries(counts: dict[str, Any]) -> list[str]:
    """The quality of the synthetic queries, in words."""
    sheet = counts.get("quality")
    if sheet is None:
        return ["There is no quality sheet."]
    lines = [
        f"Of {count(sheet['sampled_queries'])} queries in a sample of documents, {sheet['unique']:.0%} are unique among"
        f" their document's; they have {decimal(sheet['words'], 1)} words on average, {sheet['copied']:.0%} of which"
        " occur in the document."
    ]
    if "max_jaccard" in sheet:
        buckets = sheet["max_jaccard"]["buckets"]
        lines += [
            "",
            "Similarity (Jaccard, of sets of words) of a real dev query to the closest synthetic query of its document:"
            f" {decimal(sheet['max_jaccard']['mean'], 2)} on average.",
            "",
            markdown_table(["similarity", *bucket_names()], [["dev queries", *map(count, buckets)]]),
        ]
    predictions = counts.get("predictions")
    if predictions:
        lines += [f"{count(predictions['documents_without'])} documents have no released prediction."]
    return lines


def _stages(manifests: Manifests) -> str:
    rows = [
        [stage, duration(manifest["seconds"]), size(manifest["peak_memory_bytes"])]
        for stage, manifest in manifests.items()
    ]
    return markdown_table(["stage", "time", "peak memory"], rows)


def _curve(curve: list[dict[str, str]]) -> str:
    """Some points of the dev curve, the last and the best among them, as a table."""
    if not curve:
        return "There is no dev curve."
    step = max(1, -(-(len(curve) - 1) // (CURVE_POINTS - 1)))
    shown = set(range(len(curve) - 1, -1, -step))  # counted from the end, which is always shown
    has_dev = "RR@10" in curve[0]
    if has_dev:
        shown.add(max(range(len(curve)), key=lambda number: float(curve[number]["RR@10"])))
    table = markdown_table(list(curve[0]), [list(curve[number].values()) for number in sorted(shown)])
    if not has_dev:
        return f"{table}\nThere are no dev queries, so the last point is the model that was kept."
    kept = f"{table}\nThe point with the best RR@10 on dev queries is the model that was kept."
    if float(curve[0]["step"]):
        return kept
    return (
        f"{kept} Step 0 is the warm start; a step's second point is the best model of the round with document states"
        " added to its rows."
    )


def _versions(manifests: Manifests) -> str:
    """The versions of the packages; stages made at different times may differ."""
    versions: dict[str, list[str]] = {}
    for manifest in manifests.values():
        for package, version in manifest["packages"].items():
            if version not in versions.setdefault(package, []):
                versions[package].append(version)
    return ", ".join(f"{package} {' and '.join(several)}" for package, several in versions.items())
