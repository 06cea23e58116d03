"""What is handed over in Python, written to files as the source `documents` reads them, one record at a time.

documents.jsonl    id, title, text
queries.jsonl      id, text
qrels.tsv          query id, document id, relevance
"""

import json
from array import array
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain
from pathlib import Path
from reprlib import repr as short
from typing import Any

from dsi.corpus.checks import check_text, check_unique, id_hash
from dsi.corpus.handed_over import handed_over
from dsi.corpus.records import documents_of
from dsi.corpus.source import Where
from dsi.errors import DsiError
from dsi.runtime.shards import published


def write_documents(path: Path, documents: Iterable[Any]) -> int:
    """Write documents in any form that `dsi.corpus.records` knows; return how many there are.

    Raises:
        DsiError: one of them is at fault, two have one id, there is none, or the iterator raises something.
    """
    return _write(path, "document", documents)


def write_queries(path: Path, queries: Any) -> int:
    """Write queries: a mapping from ids to texts, or pairs or mappings as documents are."""
    return _write(path, "query", list(queries.items()) if isinstance(queries, Mapping) else queries)


def write_qrels(path: Path, qrels: Any) -> int:
    """Write judgements: a mapping from query ids to ids of relevant documents or to relevances by document id, tuples
    of query id, document id and, if it is not 1, relevance, or those of ir_measures.

    Raises:
        DsiError: one of them is none of these.
    """
    count = 0
    with published(path) as temporary, temporary.open("w", encoding="utf-8", newline="\n") as file:
        for count, (query_id, doc_id, relevance) in enumerate(_judgements(qrels), start=1):
            where = Where("qrels", count, "judgement")
            check_text(where, "query", str(query_id))
            check_text(where, "document", str(doc_id))
            file.write(f"{query_id}\t{doc_id}\t{relevance}\n")
    return count


def _write(path: Path, unit: str, given: Any) -> int:
    """Write records of documents or queries, one of which is called `unit`, as lines of JSON; return their number."""
    hashes, name = array("Q"), path.stem
    with published(path) as temporary:
        with temporary.open("w", encoding="utf-8", newline="\n") as file:
            for where, document in documents_of(handed_over(name, unit, given)):
                check_text(where, unit, *document)
                hashes.append(id_hash(document.doc_id))
                record = {"id": document.doc_id, "title": document.title, "text": document.text}
                file.write(json.dumps(record, ensure_ascii=False) + "\n")
        if not hashes:
            raise DsiError(f"{name}: there are none")
        check_unique(unit, hashes, _ids(temporary, name, unit), seed=0)
    return len(hashes)


def _ids(path: Path, name: str, unit: str) -> Iterator[tuple[Where, str]]:
    with path.open(encoding="utf-8") as file:
        for number, line in enumerate(file, start=1):
            yield Where(name, number, unit), json.loads(line)["id"]


def _judgements(qrels: Any) -> Iterator[tuple[Any, Any, int]]:
    if isinstance(qrels, bytes) or not isinstance(qrels, Iterable):
        raise DsiError(f"qrels: expected a mapping, triples or a path, found {type(qrels).__name__} {short(qrels)}")
    if isinstance(qrels, Mapping):
        for query_id, given in qrels.items():
            if not isinstance(given, str | int | Iterable):
                raise DsiError(f"qrels: of query {query_id!r}: expected ids of documents, found {short(given)}")
        judged = ((query_id, given) for query_id, given in qrels.items())
        qrels = chain.from_iterable(
            ((query_id, *pair) for pair in given.items())
            if isinstance(given, Mapping)
            else ((query_id, doc_id) for doc_id in ([given] if isinstance(given, str | int) else given))
            for query_id, given in judged
        )
    for number, qrel in enumerate(qrels, start=1):
        if hasattr(qrel, "query_id"):
            qrel = qrel.query_id, qrel.doc_id, qrel.relevance
        if not isinstance(qrel, list | tuple) or len(qrel) not in (2, 3):
            raise DsiError(f"qrels, judgement {number}: expected query id, document id, relevance; found {short(qrel)}")
        relevance = qrel[2] if len(qrel) == 3 else 1
        if isinstance(relevance, bool) or not hasattr(relevance, "__index__"):
            raise DsiError(f"qrels, judgement {number}: relevance must be a whole number, found {short(relevance)}")
        yield qrel[0], qrel[1], relevance.__index__()
