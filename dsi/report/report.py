"""The stage `report`: who wins, by how much, at what cost; for a terminal, in Markdown, as a page and as tables."""

import json
import re
from collections.abc import Mapping, Sequence
from functools import reduce
from pathlib import Path
from typing import Any

import yaml

from dsi.artifacts import read_manifest
from dsi.config import ReportConfig
from dsi.corpus.store import Corpus
from dsi.errors import DsiError
from dsi.report.blocks import Block, draws, write
from dsi.report.breakdowns import breakdowns
from dsi.report.browser import browser
from dsi.report.building import dev_curve, stages, synthetic_queries, versions
from dsi.report.cost import Cost, Manifests, cost_table, costs
from dsi.report.differences import largest_differences
from dsi.report.distilled import labels, shown, teachers
from dsi.report.figures import Figure, without_figures
from dsi.report.per_query import read_per_query
from dsi.report.plots import plots
from dsi.report.published import published
from dsi.report.results import notes, results
from dsi.report.significance import fusions, significance, verdict
from dsi.report.summary import context, cost, headline, measured_on, ratios, simulated, summary
from dsi.report.systems import explained, searched
from dsi.runtime.tsv import read_tsv

DIFFER = "## Where the systems differ most"
"""The heading of the part that shows texts of queries and documents."""


def report(
    out_folder: Path,
    *,
    report: ReportConfig | None = None,
    licence: str | None = None,
    trained_on: str | None = None,
    **stage_folders: Path,
) -> dict[str, Any]:
    """Write `summary.txt`, `report.md`, its tables and figures, and `report.html` of a run, whose stages are each given
    as `STAGE_folder`; page and figures only where their packages are installed, else a line says which are not.

    `licence` and `trained_on` are what the configuration says of a teacher.

    Returns:
        `headline`: who wins, in words; `ratio`: the main system's first measure divided by that of each baseline.

    Raises:
        DsiError: a stage's folder has no manifest.
    """
    folders = {name.removesuffix("_folder"): folder for name, folder in stage_folders.items()}
    manifests: dict[str, dict[str, Any]] = {}
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
    compared = dict.fromkeys((metrics["main"], metrics["baseline"]))
    said = [
        *verdict(metrics, names.__getitem__),
        *cost({names[system]: cost_of[system] for system in compared}),
        measured_on(manifests),
        *simulated(manifests),
    ]
    answer = [headline(metrics, names.__getitem__), context(metrics, manifests)]
    table = results(metrics, names.__getitem__)
    (out_folder / "summary.txt").write_text(summary(answer, table, said), encoding="utf-8")
    queries, corpus = read_per_query(metrics, folders), Corpus(folders["corpus"])
    figures = plots(metrics, queries, cost_of, names, curve) if draws() else {}
    differ = largest_differences(queries, metrics["main"], metrics["baseline"], corpus, names)
    setting = report.published if report else None
    blocks = contents(metrics, manifests, cost_of, names, said, curve, differ, figures, setting)
    write(out_folder, "report", blocks, browser(metrics, queries, corpus, names), _configuration(manifests))
    return {"headline": answer[0], "ratio": ratios(metrics)}


def contents(
    metrics: dict[str, Any],
    manifests: Manifests,
    cost_of: Mapping[str, Cost],
    names: Mapping[str, str],
    said: Sequence[str],
    curve: list[dict[str, str]],
    differ: list[str],
    figures: Mapping[str, Figure],
    setting: str | None = None,
) -> list[Block]:
    """The whole report, with the figures published for `setting` if one is given. `names` has the name of each system
    in tables, `said` are the sentences of the summary, `differ` the lines on the queries that differ most, `figures`
    what is drawn, by name."""

    def drawn(*names: str) -> list[Block]:
        return [figures[name] for name in names if name in figures]

    name_of, named = names.__getitem__, {names[system]: cost for system, cost in cost_of.items()}
    return [
        f"# {headline(metrics, name_of)}",
        context(metrics, manifests) + ".",
        results(metrics, name_of),
        *said,
        *significance(metrics, name_of),
        *fusions(metrics, name_of),
        *drawn("forest", "recall"),
        *teachers(named),
        *notes(metrics, manifests),
        *(["## Published figures", *published(setting)] if setting is not None else []),
        "## Kinds of queries",
        *breakdowns(metrics, name_of, figures),
        *([DIFFER, *drawn("differences"), "\n".join(differ)] if differ else []),
        "## Cost",
        *cost_table(named),
        *explained(manifests),
        *drawn("latency", "training"),
        *(
            block
            for system, counts in manifests["search"]["counts"]["systems"].items()
            for block in searched(names[system], counts)
        ),
        "## Synthetic queries",
        *synthetic_queries(manifests["doc2query"]["counts"]),
        "## Building",
        stages(manifests),
        "Peak memory is that of the process up to the end of the stage, earlier stages it ran included.",
        "## Training",
        *labels(manifests),
        *dev_curve(curve),
        *drawn("dev-curve"),
        "## Versions",
        versions(manifests),
    ]


def without_texts(markdown: str) -> str:
    r"""A `report.md` without the part that shows texts of queries and documents, and without figures, which are files.

    >>> without_texts("# R\n\n![a](figures/a.svg)\n\n## Where the systems differ most\n\nD1\n\n## Cost\n")
    '# R\n\n## Cost\n'
    """
    return without_figures(re.sub(rf"^{DIFFER}$.*?(?=^## )", "", markdown, flags=re.MULTILINE | re.DOTALL))


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
