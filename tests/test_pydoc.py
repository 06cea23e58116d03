"""Documents and queries made from docstrings: those of the standard library, and of a package written for each rule."""

import platform
import re
import textwrap
from pathlib import Path

import pytest

from dsi.corpus import pydoc
from dsi.corpus.store import Document
from dsi.errors import DsiError

Records = dict[str, tuple[Document, str]]


def normalised(text: str) -> str:
    return " " + " ".join(re.findall(r"\w+", text.casefold())) + " "


def docstring(summary: str, topic: str) -> str:
    """A docstring whose body is long enough and, by its topic, unlike any other."""
    return f'"""{summary}\n\n{" ".join(f"{topic}{number}" for number in range(25))}.\n"""'


def function(name: str, summary: str, topic: str | None = None) -> str:
    return f"def {name}(a, b=1):\n{textwrap.indent(docstring(summary, topic or name), '    ')}\n"


@pytest.fixture(scope="module")
def library() -> Records:
    return {document.doc_id: (document, query) for document, query in pydoc.records([])}


@pytest.fixture
def read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):  # type: ignore[no-untyped-def]
    """Install a distribution `fake-docs` of the given files beside an empty library and read it."""
    site, library = tmp_path / "site", tmp_path / "library"
    library.mkdir()
    monkeypatch.setattr(pydoc.sysconfig, "get_path", lambda name: str(library))
    monkeypatch.setattr(pydoc.sys, "builtin_module_names", ())
    monkeypatch.syspath_prepend(site)

    def read_files(files: dict[str, str]) -> Records:
        for name, source in files.items():
            path = site / "fake_docs" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(source, encoding="utf-8")
        info = site / "fake_docs-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: fake-docs\nVersion: 1.0\n")
        (info / "RECORD").write_text("".join(f"fake_docs/{name},,\n" for name in files))
        first, second = (list(pydoc.records(["fake-docs"])) for _ in range(2))
        assert first == second
        return {document.doc_id: (document, query) for document, query in first}

    return read_files


def test_library_ids_are_sorted_names(library: Records) -> None:
    assert len(library) > 1_000
    assert list(library) == sorted(library)
    assert all(re.fullmatch(r"\w+(\.\w+)*", doc_id) for doc_id in library)


def test_library_queries_are_unique_and_in_no_document(library: Records) -> None:
    queries = {normalised(query) for _, query in library.values()}
    assert len(queries) == len(library)
    everything = "\n".join(normalised(document.content()) for document, _ in library.values())
    assert not [query for query in queries if query in everything]


def test_library_has_bodies_and_sentences(library: Records) -> None:
    for document, query in library.values():
        assert 3 <= len(query.split()) <= 27
        assert len(document.text.split()) >= 20
        assert "->" not in query
        assert ">>>" not in document.text


@pytest.mark.parametrize(
    ("doc_id", "query", "start"),
    [
        (
            "shutil.copytree",
            "Recursively copy a directory tree and return the destination directory",
            "copytree(src, dst, symlinks=False, ",
        ),
        (
            "list.sort",
            "Sort the list in ascending order and return None",
            "sort(*, key=None, reverse=False)\nThe sort is",
        ),
        ("math.isclose", "Determine whether two floating", "isclose(a, b, *, rel_tol="),
        ("asyncio.Condition.wait_for", "Wait until a predicate becomes true", "wait_for(predicate)\n"),
        (
            "max",
            "With a single iterable argument, return its biggest item",
            "max(iterable, *[, default=obj, key=func]) ->",
        ),
    ],
)
def test_library_entries(library: Records, doc_id: str, query: str, start: str) -> None:
    document, found = library[doc_id]
    assert found.startswith(query)
    assert document.text.startswith(start)


def test_versions_are_those_installed() -> None:
    assert pydoc.versions(["numpy"]) == [
        ["python", platform.python_version()],
        ["numpy", pydoc.metadata.version("numpy")],
    ]


@pytest.mark.parametrize("name", ["no-such-package", ""])
def test_missing_package_is_named(name: str) -> None:
    with pytest.raises(DsiError, match=re.escape(f"corpus.packages: {name!r}")):
        pydoc.versions([name])
    with pytest.raises(DsiError, match=re.escape(f"corpus.packages: {name!r}")):
        next(pydoc.records([name]))


def test_names_are_public_ones(read) -> None:  # type: ignore[no-untyped-def]
    private = function("offered", "Open the first door") + function("kept_back", "Open the second door")
    records = read(
        {
            "__init__.py": "from ._private import offered\nfrom .inner import *\nraise RuntimeError('imported')\n",
            "_private.py": private,
            "inner.py": function("shared", "Close the first door") + function("_hidden", "Close the second door"),
            "deep/__init__.py": docstring("All about deep things", "deep"),
            "deep/plain.py": function("own", "Paint the first door"),
            "tests/test_it.py": function("tested", "Test the first door"),
            "broken.py": "def (:\n",
            "not-a-module.py": function("stray", "Lose the first door"),
        }
    )
    assert list(records) == ["fake_docs.deep", "fake_docs.deep.plain.own", "fake_docs.offered", "fake_docs.shared"]
    assert records["fake_docs.deep.plain.own"][0].title == "fake docs deep plain own"


def test_repetitions_make_no_queries(read) -> None:  # type: ignore[no-untyped-def]
    records = read(
        {
            "__init__.py": function("alias_of_it", "Count the sheep", "sheep")
            + function("alias", "Count the sheep", "sheep")
            + function("one", "Initialise the new object.", "one")
            + function("two", "initialise the (new) object", "two")
            + function("own", "Weigh the old goat", "Weighs the goat. To WEIGH the\nold goat, ")
            + function("cited", "Milk the brown cow")
            + function("citing", "Feed the brown cow", "see milk the brown cow ")
            + function("wash_the_dog", "Wash the dog")
        }
    )
    assert list(records) == ["fake_docs.alias", "fake_docs.citing"]


@pytest.mark.parametrize(
    "summary",
    [
        "Two words",
        "a.b.c",
        "word " * 26,
        "other(x) or nothing at all",
        "x (int): the number",
        "x: the number",
        "Any of:",
    ],
)
def test_poor_queries_are_left_out(read, summary: str) -> None:  # type: ignore[no-untyped-def]
    assert read({"__init__.py": function("f", summary)}) == {}


def test_bodies_need_substance(read) -> None:  # type: ignore[no-untyped-def]
    assert read({"__init__.py": 'def f():\n    """Open the door.\n\n    With a key.\n    """\n'}) == {}


def test_signatures(read) -> None:  # type: ignore[no-untyped-def]
    methods = [
        ("", "def move(self, by: int = 1) -> None:"),
        ("@staticmethod", "def make(kind, /, *args, **options):"),
        ("@property", "def size(self):"),
    ]
    source = f"class HTTPThing(dict):\n    {docstring('Represent a thing', 'thing')}\n"
    source += "    def __init__(self, name: str) -> None:\n        '''Initialise the thing at hand.'''\n"
    for decorator, head in methods:
        source += f"    {decorator}\n    {head}\n        {docstring(f'Document of {head[4:8]}', head[4:8])}\n"
    records = read({"__init__.py": source.replace("\n\n", "\n        \n")})
    assert {name: document.text.split("\n")[0].split("thing0")[0] for name, (document, _) in records.items()} == {
        "fake_docs.HTTPThing": "HTTPThing(name)",
        "fake_docs.HTTPThing.make": "make(kind, /, *args, **options)",
        "fake_docs.HTTPThing.move": "move(by=1)",
        "fake_docs.HTTPThing.size": records["fake_docs.HTTPThing.size"][0].text,
    }
    assert records["fake_docs.HTTPThing.size"][0].text.startswith("size0")
    assert records["fake_docs.HTTPThing"][0].title == "fake docs HTTP Thing"


MESSY = '''
def f():
    """f(x, y=(1, 2)) -> number -- Join the *two*
    parts, e.g. by :func:`~other.glue`. The rest of ``it``
    is `here'.

    .. deprecated:: 1.0
       Use another one.

    .. note:: Mind the gap between the parts and what lies beyond it.

    :ref:`The gap <the_gap>` is wide.

    Example::

        >>> f(1)
        2

    Parameters
    ----------
    x : int
        First of the parts [1]_ that are joined and then looked at.

    See Also
    --------
    g : Part the two joints.

    Notes
    -----
    - The gap is minded.
    - Nothing else is.

    References
    ----------
    .. [1] Somebody, "Something".
    """
'''


def test_text_is_tidied(read) -> None:  # type: ignore[no-untyped-def]
    document, query = read({"__init__.py": MESSY})["fake_docs.f"]
    assert query == "Join the two parts, e.g. by other.glue"
    assert document.text.split("\n") == [
        "f()",
        "The rest of it is 'here'.",
        "note: Mind the gap between the parts and what lies beyond it.",
        "The gap is wide.",
        "Parameters",
        "x : int First of the parts that are joined and then looked at.",
        "Notes",
        "- The gap is minded.",
        "- Nothing else is.",
    ]
