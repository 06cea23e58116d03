"""Read a configuration: a YAML file, the files that it extends, and overrides."""

import json
from collections.abc import Set
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from dsi.config.experiment import Config
from dsi.config.messages import explain
from dsi.config.section import Section
from dsi.config.yaml_text import parse_yaml
from dsi.errors import DsiError, first_line

CONFIG = "config.yaml"
"""The file in a run's folder that has the whole configuration."""
AnySection = TypeVar("AnySection", bound=Section)


def load_config(path: str | Path, overrides: list[str] | None = None) -> Config:
    """Read the experiment in the YAML file `path`, then apply `section.key=value` overrides.

    `extends: other.yaml`, relative to the file, takes over what that file says and this one does not.

    Raises:
        DsiError: missing or malformed file, unknown key, wrong type, impossible combination.
    """
    values = _read(Path(path))
    overridden = set()
    for override in overrides or []:
        key, equals, value = override.partition("=")
        if not equals or not key:
            raise DsiError(f"--set {override!r}: expected section.key=value")
        _assign(values, key, parse_yaml(value, f"--set {override}"))
        overridden.add(key)
    return _validated(Config, values, str(path), overridden)


def overrides_of(keys: dict[str, Any]) -> list[str]:
    """The overrides, as `load_config` takes them, that give dotted keys these values.

    >>> overrides_of({"docids.kind": "naive", "model.warm_start": False})
    ['docids.kind="naive"', 'model.warm_start=false']
    """
    return [f"{key}={json.dumps(value)}" for key, value in keys.items()]


def read_section(path: Path, kind: type[AnySection]) -> AnySection:
    """Read a YAML file that is one section of its own.

    Raises:
        DsiError: the file cannot be read, or one of its keys is wrong.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DsiError(f"cannot read {path}: {first_line(error)}") from None
    return _validated(kind, parse_yaml(text, str(path)), str(path))


def read_part(path: Path, name: str, kind: type[AnySection], changes: dict[str, Any] | None = None) -> AnySection:
    """Read section `name` of an experiment's file, or its defaults where the file has none, with `changes` to its keys.

    Raises:
        DsiError: the file cannot be read, or a key of the section is wrong.
    """
    values = _read(path).get(name) or {}
    section = _validated(kind, values, str(path), name=name)
    return _validated(kind, {**values, **changes}, None, name=name) if changes else section


def _validated(
    kind: type[AnySection], values: Any, path: str | None, overridden: Set[str] = frozenset(), name: str | None = None
) -> AnySection:
    """The section with these values, those of the file `path` if any; `name` is its name in an experiment."""
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        root, above = (Config, [name]) if name else (kind, [])
        errors: list[ErrorDetails] = [{**wrong, "loc": (*above, *wrong["loc"])} for wrong in error.errors()]
        raise DsiError("; ".join(explain(wrong, path, overridden, root) for wrong in errors)) from None


def _read(path: Path, extended_by: tuple[Path, ...] = ()) -> dict[str, Any]:
    """The values in a file and in those that it extends, of which `extended_by` are open."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DsiError(f"cannot read the configuration {path}: {error}") from None
    values = parse_yaml(text, str(path))
    if values is None:
        values = {}
    if not isinstance(values, dict):
        raise DsiError(f"{path}: a configuration is a mapping of sections, found {type(values).__name__}")
    base = values.pop("extends", None)
    if base is None:
        return values
    if path.resolve() in extended_by:
        raise DsiError(f"{path}: extends itself, by way of {base}")
    return _merged(_read(path.parent / str(base), (*extended_by, path.resolve())), values)


def _merged(base: dict[str, Any], values: dict[str, Any]) -> dict[str, Any]:
    both = {
        key: _merged(base[key], value) if isinstance(value, dict) and isinstance(base.get(key), dict) else value
        for key, value in values.items()
    }
    return {**base, **both}


def _assign(values: dict[str, Any], key: str, value: Any) -> None:
    *sections, last = key.split(".")
    for section in sections:
        if values.get(section) is None:
            values[section] = {}
        values = values[section]
        if not isinstance(values, dict):
            raise DsiError(f"--set {key}: {section} is a value, not a section")
    values[last] = value
