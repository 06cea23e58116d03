"""Answers of a small index in the place of `dsi serve`, for tests of its search page."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import dsi

if TYPE_CHECKING:
    from playwright.sync_api import Route

PAGE = Path(dsi.__file__).parent / "serve" / "page"
TYPES = {".css": "text/css", ".js": "text/javascript"}
FILES = {"/": ("index.html", "text/html")} | {
    f"/page/{file.name}": (file.name, TYPES[file.suffix]) for file in PAGE.iterdir() if file.suffix in TYPES
}
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; "
    "base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
ORIGIN = "http://page.test"
LONG = "Reading goes line by line. " * 12

Answer = dict[str, Any]
Parameters = dict[str, str]

TITLES = {"D1": "Read a file", "D2": "Comma-separated values", "D3": "Files of tables"}
TEXTS = {"D1": f"{LONG}A file is read with open.", "D2": "A csv file has a row in each line.", "D3": "Tables in files."}
INDEX: Answer = {
    "name": "small",
    "documents": 1234,
    "docids": "semantic",
    "prior": "bm25",
    "ranking": "path",
    "formula": "log(P + 0.01) + 0.5 * bm25",
    "generation": None,
    "max_k": 50,
    "max_query_length": 200,
    "has_documents": True,
}


def branch(node: int, parent: int, step: float, probability: float, **other: Any) -> Answer:
    """A branch of a walk, kept and without hits if `other` does not say so."""
    return {
        "node": node,
        "parent": parent,
        "token": str(node % 10),
        "step": step,
        "probability": probability,
        "prior": 2.0,
        "of_index": 4 * probability,
        "of_prior": 1.0,
        "kept": True,
        "hits": [],
        "documents": 40,
        "words": [],
        "examples": [],
        "doc_ids": [],
    } | other


def leaf(node: int, parent: int, step: float, probability: float, doc_id: str, **other: Any) -> Answer:
    """A branch at which the docid of a document ends."""
    document = {"documents": 1, "doc_ids": [doc_id], "examples": [TITLES[doc_id]] if doc_id in TITLES else []}
    return branch(node, parent, step, probability, **document, **other)


def tree_walk() -> Answer:
    """A walk through two levels: two branches kept and one dropped; three documents, one at the first level."""
    first = [
        branch(11, 0, 0.75, 0.75, hits=[1, 2], words=["file", "read"], examples=["Read a file", "Paths"]),
        branch(12, 0, 0.2, 0.2, words=["number", "sum"], documents=300),
        leaf(13, 0, 0.0004, 0.0004, "D3", hits=[3]),
        branch(14, 0, 0.001, 0.001, kept=False, words=["mail"], of_prior=0.0),
    ]
    second = [
        leaf(21, 11, 0.8, 0.6, "D1", hits=[1]),
        leaf(22, 11, 0.1, 0.075, "D2", hits=[2]),
        leaf(23, 12, 0.5, 0.1, "D9", kept=False),
    ]
    levels = [{"kept": 3, "dropped": 21, "branches": first}, {"kept": 2, "dropped": 1, "branches": second}]
    return {"kind": "tree", "levels": levels}


def deep_walk() -> Answer:
    """A walk along a docid of eight tokens."""
    branches = [branch(node, node - 1, 0.9, 0.9**node, hits=[1], words=["word"]) for node in range(1, 8)]
    levels = [
        {"kept": 1, "dropped": 0, "branches": [one]} for one in [*branches, leaf(8, 7, 0.9, 0.9**8, "D1", hits=[1])]
    ]
    return {"kind": "tree", "levels": levels}


def atomic_walk() -> Answer:
    """The best documents of an index with atomic docids; the last was not decoded and is not a hit."""
    rows = [("D1", 0.6, 2.4), ("D2", 0.135, 0.54), ("D3", 0.05, 0.2), ("D4", 0.0, 0.0)]
    documents = [
        {
            "rank": rank,
            "doc_id": doc_id,
            "title": TITLES.get(doc_id, ""),
            "probability": probability,
            "prior": 3.0,
            "of_index": of_index,
            "of_prior": 1.5,
        }
        for rank, (doc_id, probability, of_index) in enumerate(rows, start=1)
    ]
    return {"kind": "atomic", "documents": documents}


class Server:
    """What answers the requests of a page, to be changed by a test; it notes the questions that it was asked."""

    def __init__(self) -> None:
        self.index = dict(INDEX)
        self.walk: Callable[[], Answer] = tree_walk
        self.titles, self.texts = dict(TITLES), dict(TEXTS)
        self.token: str | None = None
        self.refusals: dict[str, tuple[int, Any]] = {}
        """The status and detail of a path that is refused."""
        self.gone = False
        self.asked: list[tuple[str, Parameters]] = []
        self.held: dict[str, Route] = {}
        """Searches that wait, by query; those whose query begins with `slow` come here."""

    def __call__(self, route: Route) -> None:
        address = urlsplit(route.request.url)
        if address.path in FILES:
            name, kind = FILES[address.path]
            body = (PAGE / name).read_text(encoding="utf-8")
            return route.fulfill(body=body, content_type=kind, headers={"Content-Security-Policy": POLICY})
        parameters = {name: value for name, [value] in parse_qs(address.query).items()}
        self.asked.append((address.path, parameters))
        kind = address.path.split("/")[1]
        if self.gone:
            return route.abort()
        if self.token and route.request.headers.get("authorization") != f"Bearer {self.token}":
            return route.fulfill(status=401, json={"detail": "a token is needed"})
        if kind in self.refusals:
            status, detail = self.refusals[kind]
            return route.fulfill(status=status, json={"detail": detail})
        if kind == "search" and parameters["query"].startswith("slow"):
            self.held[parameters["query"]] = route
            return None
        return route.fulfill(json=self.answer(kind, address.path, parameters))

    def answer(self, kind: str, path: str, parameters: Parameters) -> Answer:
        if kind == "index":
            return self.index
        if kind == "search":
            return {"query": parameters["query"], "hits": self.hits(), "generation": None, "milliseconds": 7.25}
        if kind == "documents":
            doc_id = path.split("/")[2]
            return {"doc_id": doc_id, "title": self.titles[doc_id], "text": self.texts[doc_id]}
        if kind == "explain":
            return {**parameters, "text": f"document  {parameters['doc_id']}\n   total  -1.000"}
        assert kind == "walk"
        common = {"query": parameters["query"], "prior": self.index["prior"], "formula": self.index["formula"]}
        certificate = {"certified": 3, "certificate": "No other document can be better than these."}
        return {**common, **certificate, "beam": 3, "milliseconds": 8.0, **self.walk()}

    def hits(self) -> list[Answer]:
        return [
            {"rank": rank, "doc_id": doc_id, "score": -rank / 2, "title": title, "text": self.texts[doc_id]}
            for rank, (doc_id, title) in enumerate(self.titles.items(), start=1)
        ]
