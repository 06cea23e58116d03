"""Read a configuration: a YAML file, the files that it extends, and overrides."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from dsi.config.experiment import Config
from dsi.config.messages import explain
from dsi.config.scalars import NULL, Origin
from dsi.config.section import Section
from dsi.config.yaml_text import parse_option, parse_yaml
from dsi.errors import DsiError

CONFIG = "config.yaml"
"""The file in a run's folder that has the whole configuration."""
Override = str | tuple[str, Any]
"""`section.key=value`, or a dotted key and its value."""
AnySection = TypeVar("AnySection", bound=Section)


def load_config(path: str | Path, overrides: Iterable[Override] = ()) -> Config:
    """Read the experiment in the YAML file `path`, then apply overrides to its keys.

    `extends: other.yaml`, relative to the file, takes over what that file says and this one does not. Paths in a file
    are relative to it, those in an override `section.key=value` to the working directory.

    Raises:
        DsiError: missing or malformed file, unknown keys, wrong types, impossible combinations: all of them.
    """
    values, faults = _read(Path(path)), list[str]()
    for override in overrides:
        try:
            _assign(values, *(parse_option(override) if isinstance(override, str) else override))
        except DsiError as error:
            faults += error.faults
    try:
        config = _validated(Config, values, str(path))
    except DsiError as error:
        faults += error.faults
    if faults:
        raise DsiError(*faults)
    return config


def read_section(path: Path, kind: type[AnySection]) -> AnySection:
    """Read a YAML file that is one section of its own.

    Raises:
        DsiError: the file cannot be read, or some of its keys are wrong.
    """
    return _validated(kind, _parsed(path), str(path))


def read_part(path: Path, name: str, kind: type[AnySection], changes: dict[str, Any] | None = None) -> AnySection:
    """Read section `name` of an experiment's file, or its defaults where the file has none, with `changes` to its keys.

    Raises:
        DsiError: the file cannot be read, or a key of the section is wrong.
    """
    values = _read(path).get(name) or {}
    section = _validated(kind, values, str(path), name=name)
    return _validated(kind, {**values, **changes}, None, name=name) if changes else section


def _validated(kind: type[AnySection], values: Any, path: str | None, name: str | None = None) -> AnySection:
    """The section with these values, those of the file `path` if any; `name` is its name in an experiment."""
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        root, above = (Config, [name]) if name else (kind, [])
        faults: list[ErrorDetails] = [{**wrong, "loc": (*above, *wrong["loc"])} for wrong in error.errors()]
        written = {name: values} if name else values
        raise DsiError(*(explain(wrong, path, written, root) for wrong in faults)) from None
    except RecursionError:
        raise DsiError(f"{path}: nested too deeply") from None


def _parsed(path: Path) -> Any:
    """The value of a YAML file."""
    try:
        return parse_yaml(path.read_bytes(), Origin(str(path), path.parent))
    except OSError as error:
        raise DsiError(f"cannot read the configuration {path}: {error.strerror}") from None


def _read(path: Path, extended_by: tuple[Path, ...] = ()) -> dict[str, Any]:
    """The values in a file and in those that it extends, of which `extended_by` are open."""
    values = _parsed(path)
    if values is None:
        values = {}
    if not isinstance(values, dict):
        raise DsiError(f"{path}: a configuration is a mapping of sections, found {str(values)!r:.60}")
    base = values.pop("extends", None)
    if base is None:
        return values
    if not isinstance(base, str) or not base:
        raise DsiError(f"{path}: extends: expected the path of a file")
    if path.resolve() in extended_by:
        raise DsiError(f"{path}: extends itself, by way of {base}")
    return _merged(_read(path.parent / Path(base).expanduser(), (*extended_by, path.resolve())), values)


def _merged(base: dict[str, Any], values: dict[str, Any]) -> dict[str, Any]:
    both = {
        key: _merged(base[key], value) if isinstance(value, dict) and isinstance(base.get(key), dict) else value
        for key, value in values.items()
    }
    return {**base, **both}


def _assign(values: dict[str, Any], key: str, value: Any) -> None:
    *sections, last = key.split(".")
    for section in sections:
        if values.get(section) is None or values[section] in NULL:  # a section that is left empty
            values[section] = {}
        values = values[section]
        if not isinstance(values, dict):
            raise DsiError(f"--set {key}: {section} is a value, not a section")
    values[last] = value
