"""The report as one HTML file that needs no network: the Markdown report, the dev curve, and the answers to queries."""

import html
import io
import json
import re
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dsi.corpus.store import Corpus
from dsi.runtime.tsv import read_tsv
from dsi.search.run_files import DSI, read_run

TEMPLATE = Path(__file__).with_name("page.html")
MOST_QUERIES = 1_000
"""The number of queries whose answers the page holds."""
DEPTH = 10
"""The number of documents shown per query and system."""
SNIPPET = 240
"""The number of characters shown of a document."""


def write_page(
    path: Path,
    markdown: str,
    curve: list[dict[str, str]],
    metrics: dict[str, Any],
    folders: Mapping[str, Path],
    config: str,
    names: Mapping[str, str],
) -> None:
    """Write the page of a run: its report in `markdown`, the plot of its dev `curve`, the answers to its queries, its
    configuration as YAML. `metrics` are those of `metrics.json`, `folders` the folder of each stage by name,
    `names` the name of each system as it is shown.
    """
    from markdown_it import MarkdownIt

    queries, documents = browsable(metrics, folders, names)
    body = MarkdownIt("commonmark").enable("table").render(markdown)
    if len(curve) > 1:
        body = body.replace("<h2>Training</h2>", f"<h2>Training</h2>\n{plot_curve(curve)}", 1)
    data = json.dumps({"queries": queries, "documents": documents}, ensure_ascii=False, separators=(",", ":"))
    values = {
        "title": html.escape(markdown.partition("\n")[0].lstrip("# ")),
        "body": body,
        "shown": f"{len(queries):,}",
        "queries": f"{metrics['queries']:,}",
        "measure": html.escape(next(iter(metrics["systems"][DSI]))),
        "config": html.escape(config),
        "data": data.replace("<", "\\u003c"),  # so that no text ends the script
    }
    template = TEMPLATE.read_text(encoding="utf-8")
    path.write_text(re.sub(r"{{ (\w+) }}", lambda field: values[field[1]], template), encoding="utf-8")


def browsable(
    metrics: dict[str, Any], folders: Mapping[str, Path], names: Mapping[str, str]
) -> tuple[list[dict[str, Any]], dict[str, str]]:
    """The queries on which the main system and the baseline differ most, with every system's answers, and the
    beginning of each document that they need, by doc_id."""
    measure, main, baseline = next(iter(metrics["systems"][DSI])), metrics["main"], metrics["baseline"]
    values: dict[str, dict[str, float]] = defaultdict(dict)
    for row in read_tsv(folders["evaluation"] / "per_query.tsv"):
        values[row["query_id"]][row["system"]] = float(row[measure])
    difference = {query_id: of_query[main] - of_query[baseline] for query_id, of_query in values.items()}
    corpus, split = Corpus(folders["corpus"]), metrics["split"]
    texts = {query.query_id: query.text for query in corpus.queries(split)}
    relevant: dict[str, list[str]] = defaultdict(list)
    for qrel in corpus.qrels(split):
        if qrel.relevance > 0:
            relevant[qrel.query_id].append(qrel.doc_id)
    runs = {
        system: read_run(folders["baselines" if system in metrics["baselines"] else "search"] / f"{system}.run")
        for system in metrics["systems"]
    }
    queries: list[dict[str, Any]] = []
    needed: set[str] = set()
    for query_id in sorted(values, key=lambda query_id: -abs(difference[query_id]))[:MOST_QUERIES]:
        answers = {names[system]: list(run.get(query_id, {}))[:DEPTH] for system, run in runs.items()}
        needed.update(relevant[query_id][:DEPTH], *answers.values())
        queries.append(
            {
                "text": texts[query_id],
                "relevant": relevant[query_id][:DEPTH],
                "difference": round(difference[query_id], 4),
                "values": {names[system]: round(value, 4) for system, value in values[query_id].items()},
                "found": answers,
            }
        )
    numbers = corpus.doc_indexes(needed)
    return queries, {doc_id: corpus[number].content()[:SNIPPET] for doc_id, number in numbers.items()}


def plot_curve(curve: list[dict[str, str]]) -> str:
    """A plot of the dev measure, or of the loss without one, by minutes of training, as SVG."""
    from matplotlib.figure import Figure

    name = next((column for column in curve[0] if "@" in column), "loss")
    minutes = [float(point["seconds"]) / 60 for point in curve]
    figure = Figure(figsize=(7, 3), layout="constrained")
    axes = figure.add_subplot()
    axes.plot(minutes, [float(point[name]) for point in curve], marker="o")
    axes.set_xlabel("minutes of training")
    axes.set_ylabel(f"{name} on dev queries" if "@" in name else name)
    axes.grid(alpha=0.3)
    svg = io.StringIO()
    figure.savefig(svg, format="svg")
    return svg.getvalue()[svg.getvalue().index("<svg") :]
