"""Scalars as they are written, with the place they come from; the type of a key says what one means."""

import os
import re
import types
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, PydanticCustomError

INTEGER = re.compile(r"[-+]?[0-9]+(_[0-9]+)*")
FLOAT = re.compile(r"[-+]?([0-9]+(_[0-9]+)*\.?[0-9]*|\.[0-9]+)([eE][-+]?[0-9]+)?")
NULL = ("", "null", "Null", "NULL", "~")
BOOLEANS = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
HUB_NAME = re.compile(r"[A-Za-z0-9_][\w.-]*(/[\w.-]+)?", re.ASCII)
MISREAD = "misread"
"""The type of the errors that this module raises within pydantic."""


@dataclass(frozen=True)
class Origin:
    """The file or the option in which something is written."""

    name: str
    folder: Path
    """What relative paths are relative to."""
    other_folder: Path | None = None
    """What a path is relative to that does not exist in `folder`, if that is not the same."""
    is_option: bool = False

    def of(self, key: str) -> str:
        """Where a key is, in words."""
        return f"--set {key}" if self.is_option else f"{self.name}: {key}"


class Scalar(str):
    """A scalar as it is written, but for its quotes."""

    origin: Origin
    is_plain: bool
    """Whether it is written without quotes, so that it may be a number, a boolean or null."""

    def __new__(cls, text: str, origin: Origin, is_plain: bool = True) -> "Scalar":
        """A scalar of this text."""
        scalar = super().__new__(cls, text)
        scalar.origin, scalar.is_plain = origin, is_plain
        return scalar


@dataclass(frozen=True)
class PathMark:
    """Marks the type of keys that hold a path, or, if `or_name`, a path or a name on the Hugging Face hub."""

    or_name: bool = False

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: object) -> JsonSchemaValue:
        """The JSON Schema of such a key, which unlike other text may not be left empty."""
        return {"type": ["string", "number", "boolean"], "minLength": 1}

    def resolve(self, scalar: Scalar) -> str:
        """The path, or the name: `name` or `owner/name` where nothing of that name exists beside its file.

        Where there may be names, a path is from the root, so that it cannot be taken for one.

        Raises:
            PydanticCustomError: it is no path, or is there beside the shell but not beside its file.
        """
        text = os.path.expanduser(scalar)
        if not text or "\0" in text:
            raise misread(f"expected a path, found {str(scalar)!r:.100}")
        path = os.path.join(scalar.origin.folder, text)
        if scalar.origin.other_folder is not None and not os.path.exists(path):
            path = os.path.join(scalar.origin.other_folder, text)
        if os.path.realpath(tidy := os.path.normpath(path)) == os.path.realpath(path):  # no `..` leaves a linked folder
            path = tidy
        if not os.path.exists(path) and os.path.exists(text):
            instead = os.path.relpath(os.path.realpath(text), os.path.realpath(scalar.origin.folder))
            raise misread(
                f"paths are relative to their file, and there is no {path}; to mean ./{text}, write {instead}"
            )
        if self.or_name and (os.path.exists(path) or not HUB_NAME.fullmatch(text)):
            return os.path.abspath(path) if path == tidy else os.path.realpath(path)
        return str(scalar) if self.or_name else path


def is_null(value: Any) -> bool:
    """Whether a value is null where null is allowed."""
    return value is None or (isinstance(value, Scalar) and value.is_plain and value.strip() in NULL)


def check_given(value: Any) -> None:
    """See that an option has a value; it has none, say, where a variable of the shell is not set.

    Raises:
        PydanticCustomError: it has none.
    """
    if isinstance(value, Scalar) and value.origin.is_option and value.is_plain and not value.strip():
        raise misread("there is no value; write null to mean none")


def misread(fault: str) -> PydanticCustomError:
    """The error of a value that does not mean what its key wants."""
    return PydanticCustomError(MISREAD, "{fault}", {"fault": fault})


FilePath = Annotated[str, PathMark()]
PathOrName = Annotated[str, PathMark(or_name=True)]


def path_mark(annotation: Any) -> PathMark | None:
    """The mark in a type such as `FilePath | None` or `list[FilePath]`; None for a type without one."""
    if get_origin(annotation) is Annotated:
        marks = [mark for mark in annotation.__metadata__ if isinstance(mark, PathMark)]
        return marks[0] if marks else path_mark(get_args(annotation)[0])
    return next(filter(None, map(path_mark, get_args(annotation))), None)


def typed(value: Any, annotation: Any) -> Any:
    """The value that the scalars in `value` mean where this type is wanted. What cannot mean it is left as text, which
    pydantic then refuses.

    >>> text = Scalar("0100", Origin("a.yaml", Path()))
    >>> typed(text, int), typed(text, str), typed(text, float | None), typed([text], list[int])
    (100, '0100', 100.0, [100])

    Raises:
        PydanticCustomError: an option has no value, or a path is none.
    """
    while get_origin(annotation) is Annotated and not isinstance(value, Scalar):
        annotation = get_args(annotation)[0]
    kinds = [kind for kind in _members(annotation) if not isinstance(value, Scalar)]
    if isinstance(value, list):
        of_list = next((get_args(kind) for kind in kinds if get_origin(kind) is list), None)
        return [typed(each, of_list[0]) for each in value] if of_list else value
    if isinstance(value, dict):
        of_dict = next((get_args(kind) for kind in kinds if get_origin(kind) is dict), None)
        return {key: typed(each, of_dict[1]) for key, each in value.items()} if of_dict else value
    return _scalar(value, annotation) if isinstance(value, Scalar) else value


def _scalar(value: Scalar, annotation: Any) -> Any:
    mark, kinds = path_mark(annotation), _members(annotation)
    names = {each for kind in kinds if get_origin(kind) is Literal for each in get_args(kind)}
    if value in names or Any in kinds:
        return value if Any in kinds else str(value)
    if value.is_plain:
        if types.NoneType in kinds and is_null(value) and not (mark and value == "~"):
            check_given(value)
            return None
        text = value.strip()  # an option keeps its blanks
        if bool in kinds and text in BOOLEANS:
            return BOOLEANS[text]
        if int in kinds and INTEGER.fullmatch(text) and len(text) < 400:
            return int(text)
        if float in kinds and FLOAT.fullmatch(text) and len(text) < 400:
            return float(text)
    if str in kinds:
        return mark.resolve(value) if mark else str(value)
    return value


def _members(annotation: Any) -> list[Any]:
    """The types of which a value may be one, without annotations."""
    if get_origin(annotation) is Annotated:
        return _members(get_args(annotation)[0])
    if get_origin(annotation) in (Union, types.UnionType):
        return [kind for each in get_args(annotation) for kind in _members(each)]
    return [annotation]
