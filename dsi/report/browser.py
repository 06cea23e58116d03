"""The part of the page in which one looks at the answers to single queries."""

import html
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dsi.corpus.store import Corpus
from dsi.report.per_query import PerQuery
from dsi.report.template import filled

TEMPLATE = Path(__file__).with_name("browser.html")
MOST_QUERIES = 1_000
"""The number of queries whose answers the page holds."""
DEPTH = 10
"""The number of documents shown per query and system."""
SNIPPET = 240
"""The number of characters shown of a document."""


def browser(metrics: Mapping[str, Any], queries: PerQuery, corpus: Corpus, names: Mapping[str, str]) -> str:
    """The part as HTML. `names` has the name of each system as it is shown."""
    answers, documents = browsable(metrics, queries, corpus, names)
    main, baseline = names[metrics["main"]], names[metrics["baseline"]]
    what = f"{queries.measure} of {main}" + (f" less that of {baseline}" if baseline != main else "")
    data = json.dumps({"queries": answers, "documents": documents}, ensure_ascii=False, separators=(",", ":"))
    return filled(
        TEMPLATE,
        shown=f"{len(answers):,}",
        queries=f"{metrics['queries']:,}",
        what=html.escape(what),
        data=data.replace("<", "\\u003c"),  # so that no text ends the script
    )


def browsable(
    metrics: Mapping[str, Any], queries: PerQuery, corpus: Corpus, names: Mapping[str, str]
) -> tuple[list[dict[str, Any]], dict[str, str]]:
    """The queries on which the main system and the baseline differ most, with every system's answers, and the
    beginning of each document that they need, by doc_id. Where the two are one, its measure is the difference."""
    main, baseline = metrics["main"], metrics["baseline"]
    difference = queries.difference(main, baseline) if main != baseline else queries.values[main]
    answers: list[dict[str, Any]] = []
    needed: set[str] = set()
    for query_id in sorted(difference, key=lambda query_id: -abs(difference[query_id]))[:MOST_QUERIES]:
        found = {names[system]: of_query.get(query_id, [])[:DEPTH] for system, of_query in queries.found.items()}
        relevant = queries.relevant.get(query_id, [])[:DEPTH]
        needed.update(relevant, *found.values())
        answers.append(
            {
                "text": queries.texts[query_id],
                "relevant": relevant,
                "difference": round(difference[query_id], 4),
                "values": {names[system]: round(values[query_id], 4) for system, values in queries.values.items()},
                "found": found,
            }
        )
    numbers = corpus.doc_indexes(needed)
    return answers, {doc_id: corpus[number].content()[:SNIPPET] for doc_id, number in numbers.items()}
