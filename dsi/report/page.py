"""The report as one HTML file that needs no network: the Markdown report, the dev curve, and every query's answers."""

from __future__ import annotations

import html
import io
import json
from pathlib import Path
from typing import Any

from markdown_it import MarkdownIt
from matplotlib.figure import Figure

from dsi.corpus.store import Corpus
from dsi.evaluation.evaluate import DSI
from dsi.runtime.tsv import read_tsv
from dsi.search.run_files import read_run

TEMPLATE = Path(__file__).with_name("page.html")
MOST_QUERIES = 1_000
"""Queries whose answers the page holds."""
DEPTH = 10
SNIPPET = 240
"""Characters of a document."""


def write_page(
    path: Path,
    markdown: str,
    curve: list[dict[str, str]],
    metrics: dict[str, Any],
    per_query: Path,
    corpus_folder: Path,
    runs: dict[str, Path],
    config: str,
) -> None:
    """Write the page: `markdown` is the report, `runs` the run file of every system."""
    queries, documents = browsable(metrics, per_query, corpus_folder, runs)
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
        "data": data.replace("<", "\\u003c"),  # no text can end the script
    }
    page = TEMPLATE.read_text(encoding="utf-8")
    first, *parts = page.split("{{ ")
    for part in parts:
        name, _, rest = part.partition(" }}")
        first += values[name] + rest
    path.write_text(first, encoding="utf-8")


def browsable(
    metrics: dict[str, Any], per_query: Path, corpus_folder: Path, runs: dict[str, Path]
) -> tuple[list[dict[str, Any]], dict[str, str]]:
    """The queries on which dsi and the baseline differ most, and the beginning of each document that they need."""
    measure = next(iter(metrics["systems"][DSI]))
    values: dict[str, dict[str, float]] = {}
    for row in read_tsv(per_query):
        values.setdefault(row["query_id"], {})[row["system"]] = float(row[measure])
    baseline = metrics["baseline"]
    difference = {query: found[DSI] - found[baseline] for query, found in values.items()}
    chosen = sorted(values, key=lambda query: -abs(difference[query]))[:MOST_QUERIES]
    documents, split = Corpus(corpus_folder), metrics["split"]
    texts = {query.query_id: query.text for query in documents.queries(split)}
    relevant: dict[str, list[str]] = {}
    for qrel in documents.qrels(split):
        if qrel.relevance > 0:
            relevant.setdefault(qrel.query_id, []).append(qrel.doc_id)
    found = {system: read_run(path) for system, path in runs.items()}
    queries: list[dict[str, Any]] = []
    needed: set[str] = set()
    for query in chosen:
        answers = {system: list(run.get(query, {}))[:DEPTH] for system, run in found.items()}
        needed.update(relevant.get(query, [])[:DEPTH], *answers.values())
        queries.append(
            {
                "text": texts[query],
                "relevant": relevant.get(query, [])[:DEPTH],
                "difference": round(difference[query], 4),
                "values": {system: round(value, 4) for system, value in values[query].items()},
                "found": answers,
            }
        )
    numbers = documents.doc_indexes(needed)
    snippets = {doc_id: documents[number].content()[:SNIPPET] for doc_id, number in numbers.items()}
    return queries, snippets


def plot_curve(curve: list[dict[str, str]]) -> str:
    """The dev measure, or the loss, by minutes of training, as SVG."""
    name = next((column for column in curve[0] if "@" in column), "loss")
    minutes = [float(point["seconds"]) / 60 for point in curve]
    figure = Figure(figsize=(7, 3), layout="constrained")
    axes = figure.add_subplot()
    axes.plot(minutes, [float(point[name]) for point in curve], marker="o")
    axes.set_xlabel("minutes of training")
    axes.set_ylabel(f"{name} on dev queries" if "@" in name else name)
    axes.grid(alpha=0.3)
    text = io.StringIO()
    figure.savefig(text, format="svg")
    return text.getvalue().partition("<svg")[1] + text.getvalue().partition("<svg")[2]
