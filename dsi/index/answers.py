"""The answers of `dsi query`: queries from an argument, a file or standard input; hits for people, as JSON or as a run.

A line is a query. In a file, and where answers have ids, as JSON or in a run, it may be `query_id <tab> text`, as in MS
MARCO's queries.tsv; the id of a line without a tab is its number, from 1. The lines of a file are answered in batches,
those of standard input one by one, so that whoever writes them need not wait.
"""

import io
import json
import sys
from collections.abc import Iterator
from itertools import islice, starmap
from pathlib import Path

from dsi.corpus.checks import check_text
from dsi.corpus.files import TextFile
from dsi.corpus.source import Where
from dsi.corpus.store import Query
from dsi.errors import DsiError
from dsi.index.hits import Hits
from dsi.index.index import Index, load
from dsi.runtime.printable import printable

OF_HIT = ("rank", "doc_id", "score", "title", "text")
"""What JSON has of a hit."""


def answer(folder: Path, text: str | None, file: Path | None, k: int, form: str) -> None:
    """Print the best documents for one text, or for the lines of a file, or for those of standard input.

    Args:
        folder: the folder of the index, or its name on the hub.
        text: the query, if it is one.
        file: the file of queries, one a line, if they are in one.
        k: the number of documents for a query.
        form: plain, json (an object a query and line) or trec (the lines of a run file).

    Raises:
        DsiError: the index or the file cannot be read, or the id of a query is empty, has white space or is repeated.
    """
    index = load(folder)
    if index.config.prior != "none":
        print(f"dsi: documents are ranked by {index.total}", file=sys.stderr)
    if text is not None:
        text = text.encode(errors="surrogateescape").decode(errors="replace")  # bytes that are not UTF-8
    queries = (
        iter([Query("1", text)])
        if text is not None
        else _queries(_lines(file), has_ids=form != "plain" or file is not None)
    )
    answers = _answers(index, queries, k, batch_size=1 if file is None else index.config.batch_size)
    if form != "plain" and isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(encoding="utf-8")
    printed: Iterator[str]
    if form == "json":
        printed = starmap(_json, answers)
    elif form == "trec":
        from dsi.search.run_files import DSI, run_lines  # not for the others: it loads ir-measures

        results = ((query.query_id, [(hit.doc_id, hit.score) for hit in hits]) for query, hits in answers)
        printed = run_lines(DSI, results)
    else:
        printed = (
            _plain(query.text.strip() or query.query_id if text is None else "", hits) for query, hits in answers
        )
    for lines in printed:
        sys.stdout.write(lines)
        sys.stdout.flush()


def _lines(file: Path | None) -> Iterator[tuple[Where, str]]:
    """The lines of a file, or of standard input, with their places and without their ends."""
    if file is not None:
        yield from TextFile(file).lines()
        return
    if isinstance(sys.stdin, io.TextIOWrapper):
        sys.stdin.reconfigure(errors="replace")
    for number, line in enumerate(sys.stdin, start=1):
        yield Where("standard input", number), line.rstrip("\n")


def _queries(lines: Iterator[tuple[Where, str]], has_ids: bool) -> Iterator[Query]:
    """The queries of lines that are not blank; `has_ids` says whether what stands before a tab is the id of one."""
    first: dict[str, Where] = {}
    for where, line in lines:
        if not line.strip():
            continue
        query_id, tab, text = line.partition("\t")
        query = Query(query_id, text) if tab and has_ids else Query(str(where.number), line)
        check_text(where, "query", *query)
        if query.query_id in first:
            raise DsiError(
                f"{where}: query id {query.query_id!r} is used already: {first[query.query_id]}; give one another id"
                " or remove it"
            )
        first[query.query_id] = where
        yield query


def _answers(index: Index, queries: Iterator[Query], k: int, batch_size: int) -> Iterator[tuple[Query, Hits]]:
    """Each query with its hits; stderr says which are ranked without the prior."""
    while batch := list(islice(queries, batch_size)):
        texts = [query.text.strip() for query in batch]
        for query, text, hits in zip(batch, texts, index.search(texts, k=k), strict=True):
            if index.lacks_prior(text):
                print(
                    f"dsi: query {printable(query.query_id)}: no term of the query occurs in the documents (stop words"
                    " are none); ranked without the prior",
                    file=sys.stderr,
                )
            yield query, hits


def _json(query: Query, hits: Hits) -> str:
    found = [{key: getattr(hit, key) for key in OF_HIT} for hit in hits]
    return json.dumps({"query_id": query.query_id, "query": query.text, "hits": found}, ensure_ascii=False) + "\n"


def _plain(heading: str, hits: Hits) -> str:
    """The hits as people read them, below a heading unless that is empty."""
    return "".join(f"{text}\n" for text in (heading and f"== {printable(heading)}", str(hits)) if text)
