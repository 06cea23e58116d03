"""What is taken for a document where people hand over their own: a text, an id with a text, or a mapping.

In: strings, pairs, mappings (records of JSON, rows of tables or of a `datasets.Dataset`). Out: documents with their
places. All have ids of their own, or none has, and the id is the number of the document, from 0.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from reprlib import repr as short
from typing import Any
from urllib.parse import quote

from dsi.corpus.source import Where
from dsi.corpus.store import Document
from dsi.errors import DsiError

IDS, TITLES, TEXTS = ("doc_id", "_id", "id"), ("title",), ("text", "contents")
"""The keys of a mapping that hold the id, the title and the text of a document, the first that is there."""
KEYS = {*IDS, *TITLES, *TEXTS}
"""All keys of a mapping that are read."""
SEPARATOR = "#"
"""What stands between the id of a document and the number of a paragraph."""
_BLANK_LINES = re.compile(r"\n[^\S\n]*\n\s*")
_HEADING = re.compile(r"#{1,6}\s+(.+?)\s*#*\s*$")


def documents_of(
    records: Iterable[tuple[Where, Any]], paragraphs: bool = False, need_ids: bool = False
) -> Iterator[tuple[Where, Document]]:
    """The documents that records stand for, or with `paragraphs` a document for each paragraph of their texts.

    >>> place = Where("texts", 1, "document")
    >>> [document for _, document in documents_of([(place, "Fish swim."), (place, {"text": "Birds fly."})])]
    [Document(doc_id='0', title='', text='Fish swim.'), Document(doc_id='1', title='', text='Birds fly.')]

    Raises:
        DsiError: a record is none of these, has no text, or has an id where others have none, or none with `need_ids`.
    """
    has_ids = None
    for number, (where, record) in enumerate(records):
        doc_id, title, text = _parts(where, record)
        if need_ids and doc_id is None:
            raise DsiError(
                f"{where}: this document has no id, by which it is told from those that are there; give it one"
            )
        if has_ids is None:
            has_ids = doc_id is not None
        if has_ids != (doc_id is not None):
            here, others = ("an id", "those before have none") if doc_id is not None else ("no id", "those before have")
            raise DsiError(f"{where}: this document has {here}, and {others}; give all of them ids, or none")
        document = Document(str(number) if doc_id is None else doc_id, title, text)
        yield from ((where, each) for each in (split(document) if paragraphs else [document]))


def split(document: Document) -> Iterator[Document]:
    """A document for each paragraph, what stands between blank lines; a heading belongs to the paragraph below it. They
    keep the title, and their ids have the number of the paragraph behind them, from 1. Without a text it stays one.

    >>> [(part.doc_id, part.text) for part in split(Document("a", "Fish", "They swim." + chr(10) * 2 + "They eat."))]
    [('a#1', 'They swim.'), ('a#2', 'They eat.')]
    """
    if not document.text.strip():
        yield document
        return
    number, above = 0, ""
    for block in _BLANK_LINES.split(document.text.strip()):
        if is_heading(block):
            above += block + "\n"
        elif block:
            number += 1
            yield Document(f"{document.doc_id}{SEPARATOR}{number}", document.title, above + block)
            above = ""
    if above:
        yield Document(f"{document.doc_id}{SEPARATOR}{number + 1}", document.title, above.strip())


def is_heading(block: str) -> bool:
    """Whether a paragraph is a heading of Markdown and nothing else."""
    return "\n" not in block and bool(_HEADING.match(block))


def file_document(name: str, text: str) -> dict[str, str]:
    """The record of a text file: its name, in which white space is written as in an address, is the id; its first
    heading the title, or the name without its ending.

    >>> file_document("my notes.md", "# Fish")["_id"], file_document("my notes.md", "# Fish")["title"]
    ('my%20notes.md', 'Fish')
    """
    first = text.lstrip().partition("\n")[0]
    heading = _HEADING.match(first) if name.endswith(".md") else None
    title = heading[1] if heading else name.rpartition("/")[2].rpartition(".")[0]
    return {"_id": re.sub(r"\s", lambda blank: quote(blank[0]), name), "title": title, "text": text}


def _parts(where: Where, record: Any) -> tuple[str | None, str, str]:
    """The id, None if there is none, the title and the text of a record."""
    if isinstance(record, str):
        return None, "", record
    if isinstance(record, Mapping):
        text = _first(record, TEXTS)
        if text is None and _first(record, TITLES) is None:
            raise DsiError(
                f"{where}: this document has no text; expected is one under {' or '.join(TEXTS)}, found are the keys"
                f" {', '.join(map(str, record)) or '(none)':.200}"
            )
        title = _string(where, "title", _first(record, TITLES) or "")
        return _id(where, _first(record, IDS)), title, _string(where, "text", "" if text is None else text)
    if isinstance(record, list | tuple) and len(record) == 2:
        if record[0] is None:
            raise DsiError(f"{where}: the id of this pair is None; give it one, or give texts alone")
        return _id(where, record[0]), "", _string(where, "text", record[1])
    raise DsiError(
        f"{where}: a document is a text, a pair of an id and a text, or a mapping with text; found"
        f" {type(record).__name__} {short(record)}"
    )


def _first(record: Mapping[Any, Any], keys: Iterable[str]) -> Any:
    return next((record[key] for key in keys if record.get(key) is not None), None)


def _id(where: Where, value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        raise DsiError(f"{where}: an id is a string or a whole number, found {type(value).__name__} {short(value)}")
    return str(value.__index__())


def _string(where: Where, name: str, value: Any) -> str:
    if not isinstance(value, str):
        raise DsiError(f"{where}: the {name} must be a string, found {type(value).__name__} {short(value)}")
    return value
