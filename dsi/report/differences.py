"""The part of the report on single queries: those on which the main system and the baseline differ most."""

from collections.abc import Mapping, Sequence

from dsi.corpus.store import Corpus
from dsi.report.markdown_text import beginning, escaped
from dsi.report.per_query import PerQuery
from dsi.report.quantities import decimal

SHOWN = 5
"""The number of queries that are shown as won, and as lost."""
LENGTH = 100
"""The number of characters that are shown of a text."""


def largest_differences(
    queries: PerQuery, main: str, baseline: str, corpus: Corpus, names: Mapping[str, str]
) -> list[str]:
    """A table of the queries that the main system wins by most against the baseline, and one of those it loses, as
    lines of Markdown; no lines where the two are one. `names` has the name of each system in tables."""
    difference = queries.difference(main, baseline)
    lines = list[str]()
    for verb, loser, sign in (("wins", baseline, 1), ("loses", main, -1)):
        most = sorted(
            (query for query in difference if sign * difference[query] > 0), key=lambda q: -sign * difference[q]
        )
        if most:
            lines += [
                f"The queries that {escaped(names[main])} {verb} by most, {queries.measure}:",
                "",
                *_table(most[:SHOWN], queries, [main, baseline], loser, corpus, names),
            ]
    return lines


def _table(
    query_ids: Sequence[str],
    queries: PerQuery,
    systems: Sequence[str],
    loser: str,
    corpus: Corpus,
    names: Mapping[str, str],
) -> list[str]:
    """A row for each query: its text, what is relevant, what the loser found first, the measure of these systems."""
    first = {
        query_id: [next(iter(of.get(query_id, [])), None) for of in (queries.relevant, queries.found[loser])]
        for query_id in query_ids
    }
    numbers = corpus.doc_indexes({doc_id for doc_ids in first.values() for doc_id in doc_ids if doc_id is not None})
    texts = {doc_id: beginning(corpus[number].content(), LENGTH) for doc_id, number in numbers.items()}
    named = [escaped(names[system]) for system in systems]
    header = ["query", "relevant", f"first of {escaped(names[loser])}", *named]
    rows = [
        [
            beginning(queries.texts[query_id], LENGTH),
            *("none" if doc_id is None else texts[doc_id] for doc_id in first[query_id]),
            *(decimal(queries.values[system][query_id], 2) for system in systems),
        ]
        for query_id in query_ids
    ]
    rule = [":---"] * 3 + ["---:"] * len(systems)
    return [f"| {' | '.join(row)} |" for row in (header, rule, *rows)] + [""]
