"""Known-item retrieval on the documentation of Python and of installed packages: real text with nothing to download.

A docstring is split in two. Its summary is a query; the rest, under the name and signature of the object, is the one
document relevant to that query. No document contains a query, so a system must match what the rest of the text says.
Source files are parsed, not imported; only compiled modules of the standard library are imported.
"""

import ast
import importlib
import importlib.util
import inspect
import platform
import re
import sys
import sysconfig
import types
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

from dsi.corpus.store import Document
from dsi.corpus.words import words_of
from dsi.errors import DsiError

MIN_QUERY_WORDS, MAX_QUERY_WORDS, MIN_BODY_WORDS = 3, 25, 20
_PASSAGE = re.compile(r"(?:\s*\S+){0,80}")  # of a body; a passage of MS MARCO has 56 words on average
SKIPPED_FOLDERS = {"ensurepip", "externals", "idlelib", "lib2to3", "site-packages", "test", "tests", "turtledemo"}
SKIPPED_COMPILED = re.compile(r"_?(xx|test)|_ctypes_test|readline")  # importing readline may print control characters

_Function = ast.FunctionDef | ast.AsyncFunctionDef
_Exports = dict[tuple[str, str], str]
"""(module, name in it or below it) -> public name; (module, "*") -> the package that offers all its names."""


class _Entry(NamedTuple):
    name: str
    signature: str
    docstring: str


def records(packages: list[str]) -> Iterator[tuple[Document, str]]:
    """Documents with their queries, sorted by `doc_id`, the qualified name. The title is that name in words.

    `packages` are distributions to read besides the standard library, named as in `pip list`; DsiError if one is not
    installed.
    """
    pairs: dict[str, tuple[Document, str]] = {}
    bodies: set[str] = set()
    # If an object has several names, the shortest is kept.
    for entry in sorted(_entries(packages), key=lambda entry: (entry.name.count("."), len(entry.name), entry)):
        calls, summary, body = _split(entry.docstring, entry.name.rpartition(".")[2])
        if entry.name in pairs or not _is_fair(summary, body) or _normalised(body) in bodies:
            continue
        bodies.add(_normalised(body))
        title = _WORD_BREAK.sub(" ", entry.name)  # most analysers take a dotted name for one word, which no query has
        text = "\n".join(filter(None, [entry.signature or calls, *_PASSAGE.findall(body)[:1]]))
        pairs[entry.name] = Document(entry.name, title, text), summary
    # A summary of several documents cannot be a query for one of them, and a summary quoted in a document is too easy.
    # Removing the quotation would damage the text, so the few such pairs are dropped.
    queries = Counter(_normalised(summary) for _, summary in pairs.values())
    unfair = {query for query, count in queries.items() if count > 1}
    unfair |= _quoted(queries, (document.content() for document, _ in pairs.values()))
    for _, (document, summary) in sorted(pairs.items()):
        if _normalised(summary) not in unfair:
            yield document, summary


def versions(packages: list[str]) -> list[list[str]]:
    """The name and version of Python and of each package, which decide `records`; DsiError if one is not installed."""
    return [["python", platform.python_version()], *([name, _distribution(name).version] for name in packages)]


def _distribution(name: str) -> metadata.Distribution:
    try:
        return metadata.distribution(name)
    except (metadata.PackageNotFoundError, ValueError):
        raise DsiError(f"corpus.packages: {name!r} is not installed; name packages as `pip list` does") from None


def _entries(packages: list[str]) -> Iterator[_Entry]:
    for package in packages:
        for location in _locations(_distribution(package)):
            yield from _from_files(location, location.parent)
    library = Path(sysconfig.get_path("stdlib"))
    yield from _from_files(library, library)
    yield from _from_compiled(library / "lib-dynload")


def _locations(distribution: metadata.Distribution) -> list[Path]:
    """The folders of the packages and the files of the single modules that a distribution installs."""
    tops = {file.parts[0].removesuffix(".py") for file in distribution.files or [] if file.suffix == ".py"}
    tops = {top for top in tops if top.isidentifier() and _is_public(top)}
    tops = tops or {distribution.name.replace("-", "_")}  # an editable install lists none of its files
    specs = filter(None, map(importlib.util.find_spec, sorted(tops)))
    return [Path(path) for spec in specs for path in spec.submodule_search_locations or [spec.origin or ""] if path]


def _from_files(location: Path, root: Path) -> Iterator[_Entry]:
    """The docstrings of the Python files in `location`, a file or folder; module names are relative to `root`."""
    modules: dict[Path, str] = {}
    for path in [location] if location.is_file() else location.rglob("*.py"):
        parts = path.relative_to(root).with_suffix("").parts
        if SKIPPED_FOLDERS.isdisjoint(parts) and all(part.isidentifier() for part in parts):
            modules[path] = ".".join(parts).removesuffix(".__init__")
    exports: _Exports = {}
    # Outer packages come first, since users prefer the shortest name.
    for path, module in sorted(modules.items(), key=lambda item: (item[1].count("."), item[1])):
        if path.name == "__init__.py" and _is_public(module):
            _add_exports(exports, module, _parse(path))
    for path, module in modules.items():
        tree = _parse(path)
        if _is_public(module) and (docstring := ast.get_docstring(tree)):
            yield _Entry(module, "", docstring)
        for node in _definitions(tree.body):
            if name := _public_name(module, node.name, exports):
                yield from _from_definition(name, node)


def _is_public(name: str) -> bool:
    return not any(part.startswith("_") for part in name.split("."))


def _parse(path: Path) -> ast.Module:
    try:
        with warnings.catch_warnings(action="ignore"):
            return ast.parse(path.read_bytes())
    except (SyntaxError, ValueError):  # templates, sources for other versions of Python
        return ast.Module([], [])


def _add_exports(exports: _Exports, package: str, tree: ast.Module) -> None:
    for node in ast.walk(tree):
        if not isinstance(node, ast.ImportFrom) or node.module is None:
            continue
        base = package.split(".")[: 1 - node.level or None] if node.level else []
        source = ".".join([*base, node.module])
        # What other packages and distributions offer under a public name keeps that name.
        is_private = not _is_public(source) and source.split(".")[0] == package.split(".")[0]
        if is_private or source.startswith(f"{package}."):
            for alias in node.names:
                public = package if alias.name == "*" else f"{package}.{alias.asname or alias.name}"
                if _is_public(public):
                    exports.setdefault((source, alias.name), public)


def _public_name(module: str, name: str, exports: _Exports) -> str | None:
    """How users import `name`: as a package exports it, else from `module` if that is public, else not at all."""
    parts = module.split(".")
    for source in (".".join(parts[:end]) for end in range(len(parts), 0, -1)):
        if public := exports.get((source, name)):
            return public
        if package := exports.get((source, "*")):
            return f"{package}.{name}"
    return f"{module}.{name}" if _is_public(module) else None


def _definitions(body: Iterable[ast.stmt]) -> Iterator[_Function | ast.ClassDef]:
    for node in body:
        if isinstance(node, ast.If | ast.Try):
            handled = [statement for handler in getattr(node, "handlers", []) for statement in handler.body]
            yield from _definitions([*node.body, *handled, *node.orelse])
        elif isinstance(node, _Function | ast.ClassDef) and _is_public(node.name):
            yield node


def _from_definition(name: str, node: _Function | ast.ClassDef, in_class: bool = False) -> Iterator[_Entry]:
    if docstring := ast.get_docstring(node):
        yield _Entry(name, _signature(node, in_class), docstring)
    for child in _definitions(node.body if isinstance(node, ast.ClassDef) else []):
        yield from _from_definition(f"{name}.{child.name}", child, in_class=True)


def _signature(node: _Function | ast.ClassDef, in_class: bool) -> str:
    """The call signature without annotations: that of the constructor for a class, empty for a property."""
    if isinstance(node, ast.ClassDef):
        inits = [child for child in node.body if isinstance(child, _Function) and child.name == "__init__"]
        return _signature(inits[-1], in_class=True).replace("__init__", node.name, 1) if inits else ""
    decorators = [ast.unparse(decorator) for decorator in node.decorator_list]
    if any("property" in decorator for decorator in decorators):
        return ""
    for argument in ast.walk(node.args):
        if isinstance(argument, ast.arg):
            argument.annotation = None
    positional = node.args.posonlyargs or node.args.args
    if in_class and positional and "staticmethod" not in decorators:
        del positional[0]
    return f"{node.name}({ast.unparse(node.args)})"


def _from_compiled(folder: Path) -> Iterator[_Entry]:
    """The docstrings of built-in modules and of those in `folder`. A private `_io` is named as the public `io`."""
    for name in sorted({path.name.split(".")[0] for path in folder.glob("*.so")}.union(sys.builtin_module_names)):
        public = "os" if name in ("posix", "nt") else name.removeprefix("_")
        if public not in sys.stdlib_module_names or SKIPPED_COMPILED.match(name):
            continue
        try:
            with warnings.catch_warnings(action="ignore"):
                module = importlib.import_module(name)
        except ImportError:  # a system library is missing
            continue
        yield _Entry(public, "", inspect.getdoc(module) or "")
        yield from _from_members(module, "" if name == "builtins" else f"{public}.")


def _from_members(parent: Any, prefix: str) -> Iterator[_Entry]:
    for name in filter(_is_public, sorted(vars(parent))):
        value = getattr(parent, name)
        is_type = inspect.isclass(value)
        is_alias = getattr(value, "__name__", name) != name  # such as socket.error
        if is_alias or not (is_type or inspect.isroutine(value) or inspect.isdatadescriptor(value)):
            continue
        # Only the text of the signature: inspect.signature evaluates defaults, which may need other modules.
        arguments = re.sub(r"^\(\$\w+(, /)?(, )?", "(", getattr(value, "__text_signature__", None) or "")
        if isinstance(value.__doc__, str):
            yield _Entry(prefix + name, arguments and name + arguments, inspect.cleandoc(value.__doc__))
        if is_type and isinstance(parent, types.ModuleType):
            yield from _from_members(value, f"{prefix}{name}.")


# `D.pop(k[,d]) -> v, remove ...`, `name -- summary` or `name.py: summary`
_CALL = re.compile(
    r"(?:\w+\.)*?(\w+)(?:\.py)?"
    r"(?:\s*(?::|--?)\s|(\((?:[^()]|\((?:[^()]|\([^()]*\))*\))*\))"
    r"(?:\s*-+>\s*(?:\([^)\n]*\)|\[[^]\n]*\]|[^\n,([]*?)(?=\n|$|,\s|\.\s|\.$|\s--?\s))?)"
)
# In reStructuredText, NumPy's, Google's and older conventions; ^ is the start of a line
_REWRITES = {
    # Sections of code, of bibliography or of other objects' summaries
    r"^(?:See Also|References?|Examples?) *\n[-=~]{3,} *\n(?:.*\n)*?(?=\w[\w ]*\n[-=~]{3,} *\n|\Z)": "\n",
    # Interactive sessions, with the line that announces an example; fenced code; pointers to a manual
    r"^(?: *(?:\w+ ){0,3}(?:[Ee]xamples?|[Uu]sage)\b[^.\n]*:+ *\n(?: *\n)*)? *>>>(?: .*)?\n(?:.*\S.*\n)*": "\n",
    r"^ *```.*\n(?:.*\n)*? *```.*\n|^Read more in .*\n": "\n",
    # Directives with their content, but for notes and the like
    r"^( *)\.\. *(?:version\w+|deprecated|code|code-block|plot|index|seealso|rubric|_[^:\n]*|\[\w+\]).*\n"
    r"(?:(?:\1 +.*)?\n)*": "\n",
    r"^ *\.\. *(\w+)::": r"\1:",
    r"^(\S.*\n)[-=~*]{3,} *\n": r"\n\1\n",  # underlined headings
    r":[a-zA-Z:]+:`~?\.?([^`<]*?)(?:\s*<[^`]*>)?`": r"\1",  # roles
    r"^( *):(?:param|arg|type|returns?|rtype|raises?)? *(\w[\w ]*)?:": r"\1\2:",  # fields
    r"\s*\[[\w#*]+\]_|(?<!\S)[-=+~]{3,}(?!\S)": "",  # citations, lines of tables
    r"`([\w.]+)'": r"'\1'",
    r"`([^`\n]*)`_*": r"\1",
    r"`|:(?=:)": "",
    r"(?<![\w*])(\*{1,2})(\w[^*\n]*?)(?<=\w)\1(?![\w*])": r"\2",  # emphasis
}
_BLOCK_END = re.compile(r"\n\s*\n|\n(?=\s*(?:[-*+]|\d+[.)])\s)")
_SENTENCE_END = re.compile(r"(?<!\be\.g)(?<!\bi\.e)(?<!\bie)(?<!\betc)(?<!\bvs)(?<!\bcf)(?<!\bal)[.!?](?=\s|$)")
# A summary that is a call, a list item or the head of a list
_NO_SENTENCE = re.compile(r"^[^\w'\"]|^(async )?\w+\(|^\w+ ?(\([^)]*\))?:|(?<!\w)\[|=|->|:$")
_WORD_BREAK = re.compile(r"[._]+|(?<=[a-z\d])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")


def _split(docstring: str, name: str) -> tuple[str, str, str]:
    """The signatures at the head of a docstring of `name`, its summary, and the rest as lines without markup.

    >>> _split("f(x) -> y\\n\\nJoin the `parts`. They stick.\\n\\n>>> f(1)\\n2", "f")
    ('f(x) -> y', 'Join the parts', 'They stick.')
    """
    calls = []
    while (call := _CALL.match(docstring)) and call[1] == name:
        if call[2]:
            calls.append(" ".join(call[0].split()))
        docstring = docstring[call.end() :].lstrip(" \n,.:;=-")
    prose = docstring + "\n"
    for pattern, replacement in _REWRITES.items():
        prose = re.sub(pattern, replacement, prose, flags=re.M)
    first, *others = [line for block in _BLOCK_END.split(prose) if (line := " ".join(block.split()))] or [""]
    summary, *rest = _SENTENCE_END.split(first.lstrip("+-*#>| "), maxsplit=1)
    return "\n".join(calls), summary, "\n".join(filter(None, [*map(str.strip, rest), *others]))


def _is_fair(summary: str, body: str) -> bool:
    """Whether the summary reads like a query and the body is long enough to be found by it."""
    words = sum(bool(words_of(part)) for part in summary.split())  # `a.b` is one, `-` none
    has_length = MIN_QUERY_WORDS <= words <= MAX_QUERY_WORDS and len(body.split()) >= MIN_BODY_WORDS
    return has_length and not _NO_SENTENCE.search(summary)


def _normalised(text: str) -> str:
    """A text reduced to its words, to compare texts by."""
    return " ".join(words_of(text))


def _quoted(queries: Iterable[str], texts: Iterable[str]) -> set[str]:
    """The `queries` that occur in one of the texts; they are `_normalised` and have at least three words."""
    starts: dict[tuple[str, ...], list[list[str]]] = {}
    for query in map(str.split, queries):
        starts.setdefault(tuple(query[:3]), []).append(query)
    quoted: set[str] = set()
    for words in map(str.split, map(_normalised, texts)):
        for position, start in enumerate(zip(words, words[1:], words[2:], strict=False)):
            for query in starts.get(start, ()):
                if query == words[position : position + len(query)]:
                    quoted.add(" ".join(query))
    return quoted
