"""What is wrong with a configuration, in words: the file or the option, the key, and what is allowed."""

import difflib
import reprlib
from typing import Any

from pydantic_core import ErrorDetails

from dsi.config.experiment import Config
from dsi.config.scalars import MISREAD, Origin, Scalar
from dsi.config.section import Section

RENAMED = {
    "docids.embeddings": "embeddings.kind",
    "docids.embedding_model": "embeddings.model",
    "docids.embedding_file": "embeddings.file",
    "model.ranking": "search.ranking (training.dev_ranking for the dev queries)",
    "search.budget": "search.max_beam",
    "search.loss_queries": "search.error_queries",
    "model.head=tree": "hierarchical_softmax",
    "docids.alphabet=pieces": "tokens",
}
"""The present names of keys, and of values of keys, that had other names once."""
_SHOWN = reprlib.Repr()
_SHOWN.maxstring = _SHOWN.maxother = 100


def explain(error: ErrorDetails, path: str | None, values: Any, root: type[Section] = Config) -> str:
    """The message for an error that pydantic found in a section of type `root` made of `values`.

    It names the file or the option in which the value is written; `path` if that is not known.
    """
    key = ".".join(str(part) if str(part).isprintable() else ascii(part) for part in error["loc"])
    file = f"{path}: " if path is not None else ""
    written = _origin(values, error["loc"])
    origin = written.of(key) if written else f"{file}{key}" if key else str(path)
    if error["type"] == "extra_forbidden" and key in RENAMED:
        return f"{origin}: this key is called {RENAMED[key]} now"
    if isinstance(error["input"], str) and (value := f"{key}={error['input']}") in RENAMED:
        return f"{origin}: {error['input']} is called {RENAMED[value]} now"
    if error["type"] == "extra_forbidden":
        siblings = _keys(error["loc"][:-1], root)
        close = difflib.get_close_matches(str(error["loc"][-1]), siblings, n=1)
        hint = f"did you mean {close[0]}? " if close else ""
        return f"{origin}: unknown key; {hint}allowed here: {', '.join(siblings)}"
    message = error["msg"].removeprefix("Value error, ")
    if error["type"] == "value_error":
        return "\n".join(f"{file}{fault}" for fault in message.splitlines())
    if error["type"] == MISREAD:
        return f"{origin}: {message}"
    found = str(error["input"]) if isinstance(error["input"], str) else error["input"]
    return f"{origin}: {message[0].lower()}{message[1:]}, found {_SHOWN.repr(found)}"


def _origin(values: Any, location: tuple[int | str, ...]) -> Origin | None:
    """Where what is at this place of the values is written, if it comes from a text."""
    for part in location:
        try:
            values = values[part]
        except (LookupError, TypeError):  # a key that is missing, or a kind of value in pydantic's words
            continue
    while isinstance(values, (dict, list)) and values:
        values = next(iter(values.values() if isinstance(values, dict) else values))
    return values.origin if isinstance(values, Scalar) else None


def _keys(location: tuple[int | str, ...], root: type[Section]) -> list[str]:
    """The keys that a section of type `root` allows at a place below it."""
    section: Any = root
    for part in location:
        if not hasattr(section, "model_fields"):  # below a key of the user's own
            return []
        section = section.model_fields[str(part)].annotation
    return list(getattr(section, "model_fields", []))
