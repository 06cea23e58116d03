"""What a Markdown text names: files, headings, make targets, commands, configurations, keys and names of Python.

Commands are looked for in code, but for blocks of another language than the shell's: output is ```text.
"""

import ast
import json
import re
import shlex
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from functools import cache
from io import StringIO
from itertools import groupby
from pathlib import Path
from pkgutil import resolve_name
from typing import Any

from markdown_text import Piece, anchors, blocks, line_of, links, spans
from stored_results import ROOT

from dsi.cli import main as run_command
from dsi.config import json_schema
from dsi.config.shipped import shipped
from dsi.pipeline import STAGES

Fault = tuple[int, str]
"""A line and what is wrong there."""
SHELL = {"", "sh", "bash", "shell", "console"}
OF_EXPERIMENTS = {"run", "check", "sweep", "grow", "reproduce"}
"""The commands whose first argument is a configuration."""
OURS = re.compile(r"(?<![\w./-])(?:configs|docs|dsi|scripts|tests)/[\w./*-]*\.\w+")
GIVEN_KEY = re.compile(r"(?<![\w./-])([a-z]\w*(?:\.\w+)+)(?==|\": )")
KEY = re.compile(r"[a-z]\w*(?!\.(?:html|jsonl?|md|run|tsv)$)(?:\.[a-z]\w*)+")
"""A name with dots, but for the name of a file."""


def faults(text: str, folder: Path) -> Iterator[Fault]:
    """Yield the line and the fault of every name that does not exist; relative links start from `folder`."""
    yield from _of_links(text, folder)
    for code in [*blocks(text), *spans(text)]:
        yield from _of_paths_and_keys(code)
        if code.language in SHELL:
            yield from _of_commands(code)
        if code.language == "python":
            yield from _of_python(code)
    for span in spans(text):
        section = span.text.partition(".")[0]
        if section in _schema()["properties"] and KEY.fullmatch(span.text):
            yield from _of_key(span.line, span.text)


def _of_links(text: str, folder: Path) -> Iterator[Fault]:
    for line, target, _ in links(text):
        if re.match(r"[a-z]+:", target):
            continue
        name, _, anchor = target.partition("#")
        path = folder / name
        if name and not path.exists():
            yield line, f"the link {target} leads nowhere: there is no file {name}"
        elif anchor and anchor not in anchors(path.read_text(encoding="utf-8") if name else text):
            yield line, f"the link {target} leads nowhere: there is no heading of that name"


def _of_paths_and_keys(code: Piece) -> Iterator[Fault]:
    for line, text in enumerate(code.text.splitlines(), start=code.line):
        for path in OURS.findall(text):
            if not any(ROOT.glob(path)):
                yield line, f"there is no file {path}"
        for key in GIVEN_KEY.findall(text):
            yield from _of_key(line, key)


def _of_key(line: int, key: str) -> Iterator[Fault]:
    schema = _schema()
    node = schema
    for part in key.split("."):
        node = schema["$defs"][node["$ref"].rpartition("/")[2]] if "$ref" in node else node
        if part not in node.get("properties", {}):
            if not node.get("additionalProperties"):  # else the user names the keys
                yield line, f"no configuration has the key {key}: see dsi config"
            return
        node = node["properties"][part]


@cache
def _schema() -> dict[str, Any]:
    return json.loads(json_schema())


def _of_commands(code: Piece) -> Iterator[Fault]:
    for match in re.finditer(r"(?:.*\\\n)*.+", code.text):
        line = code.line + line_of(code.text, match.start()) - 1
        for words in _commands(match[0].replace("\\\n", " ")):
            name, arguments = words[0].rpartition("/")[2], words[1:]
            if name == "make":
                for target in arguments:
                    if re.fullmatch(r"[a-z][\w-]*", target) and target not in _targets():
                        yield line, f"the Makefile has no target {target}"
            elif name == "dsi" and arguments and re.match(r"-|[a-z]", arguments[0]):
                yield from ((line, fault) for fault in _of_command(arguments))


def _commands(text: str) -> Iterator[list[str]]:
    """Yield the words of each command of a line of a shell, without prompt and variables before it."""
    lexer = shlex.shlex(text, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    try:
        words = list(lexer)
    except ValueError:  # no line of a shell
        return
    for is_operator, command in groupby(words, key=lambda word: set(word) <= set("();<>|&")):
        named = [*command]
        while named and (named[0] == "$" or re.match(r"\w+=", named[0])):
            named = named[1:]
        if named and not is_operator:
            yield named


def _of_command(arguments: list[str]) -> Iterator[str]:
    """Yield what is wrong with the arguments of `dsi`."""
    command = [] if arguments[0].startswith("-") else arguments[:1]
    if (known := _options(*command)) is None:
        yield f"dsi has no command {arguments[0]}"
        return
    for option in (word.partition("=")[0] for word in arguments if re.match(r"--?[a-z]", word)):
        if option not in known:
            yield f"dsi {' '.join(command)} has no option {option}"
    given = [word for word in arguments[1:] if not word.startswith("-")]
    is_name = arguments[0] in OF_EXPERIMENTS and given and re.fullmatch(r"[a-z][\w/-]*", given[0])
    if is_name and given[0] not in shipped():
        yield f"no configuration that comes with dsi is called {given[0]}"


@cache
def _options(*command: str) -> set[str] | None:
    """The options of a command of `dsi`, or without one of `dsi` itself; None if there is no such command."""
    shown = StringIO()
    try:
        with redirect_stdout(shown), redirect_stderr(shown):
            run_command([*command, "--help"])
    except SystemExit as exit:
        return None if exit.code else set(re.findall(r"(?<!\w)--?[a-z][\w-]*", shown.getvalue()))
    return None


@cache
def _targets() -> set[str]:
    """The targets of the Makefile."""
    return {*STAGES, *re.findall(r"^([a-z][\w-]*):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.M)}


def _of_python(code: Piece) -> Iterator[Fault]:
    try:
        tree = ast.parse(code.text)
    except SyntaxError as error:
        yield code.line + (error.lineno or 1) - 1, f"this is no Python: {error.msg}"
        return
    for node in ast.walk(tree):
        match node:
            case ast.Import(names=names):
                wanted = [name.name for name in names]
            case ast.ImportFrom(module=str(module), names=names):
                wanted = [f"{module}.{name.name}" for name in names]
            case ast.Attribute(value=ast.Name(id="dsi"), attr=attribute):
                wanted = [f"dsi.{attribute}"]
            case ast.Call(func=ast.Attribute(value=ast.Name(id="index" | "hit" as variable), attr=method)):
                wanted = [f"dsi.{variable.title()}.{method}"]
            case _:
                continue
        for name in wanted:
            if name.split(".")[0] == "dsi" and not _exists(name):
                yield code.line + node.lineno - 1, f"there is no {name}"


def _exists(name: str) -> bool:
    """Whether there is such a module, or such a name in one."""
    try:
        resolve_name(name)
    except (ImportError, AttributeError):
        return False
    return True
