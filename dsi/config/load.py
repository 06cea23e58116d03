"""Read a configuration: a YAML file, the files that it extends, and overrides."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from dsi.config.experiment import Config
from dsi.config.messages import explain
from dsi.config.scalars import Origin, is_null
from dsi.config.section import Section
from dsi.config.shipped import stand_in
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
    are relative to it, those in an override `section.key=value` to the working directory. A configuration that comes
    with dsi may mean what is not beside it but beside the folder `configs` of the working directory: a run made there.

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


def overlaps(keys: Iterable[str], others: Iterable[str]) -> list[str]:
    """Those of the dotted keys that are one of the others, lie in it or hold it.

    >>> overlaps(["docids", "search.beam", "training.seed"], ["docids.kind", "training.seed"])
    ['docids', 'training.seed']
    """
    others = [f"{other}." for other in others]
    return [key for key in keys if any(f"{key}.".startswith(other) or other.startswith(f"{key}.") for other in others)]


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
    values: Any = _read(path).get(name)
    values = {} if is_null(values) else values
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
        explained = [explain(wrong, path, written, root) for wrong in faults]
        raise DsiError(*(line for fault in explained for line in fault.splitlines())) from None
    except RecursionError:
        raise DsiError(f"{path}: nested too deeply") from None


def _parsed(path: Path) -> Any:
    """The value of a YAML file."""
    try:
        return parse_yaml(path.read_bytes(), Origin(str(path), path.parent, stand_in(path.parent)))
    except OSError as error:
        raise DsiError(f"cannot read the configuration {path}: {error.strerror}") from None


def _read(path: Path, extended_by: tuple[Path, ...] = ()) -> dict[str, Any]:
    """The values in a file and in those that it extends, of which `extended_by` are open."""
    values = _parsed(path)
    if is_null(values):
        values = {}
    if not isinstance(values, dict):
        raise DsiError(f"{path}: a configuration is a mapping of sections, found {str(values)!r:.60}")
    base = values.pop("extends", None)
    if is_null(base):
        return values
    if not isinstance(base, str) or not base:
        raise DsiError(f"{path}: extends: expected the path of a file")
    if path.resolve() in extended_by:
        raise DsiError(f"{path}: extends itself, by way of {base}")
    return _merged(_read(path.parent / Path(base).expanduser(), (*extended_by, path.resolve())), values)


def _merged(base: dict[str, Any], values: dict[str, Any]) -> dict[str, Any]:
    """The values, and those of `base` for keys that they lack: all of a section that is left empty."""
    both = dict(base)
    for key, value in values.items():
        is_section = isinstance(base.get(key), dict)
        if is_section and isinstance(value, dict):
            both[key] = _merged(base[key], value)
        elif not (is_section and value == ""):
            both[key] = value
    return both


def _assign(values: dict[str, Any], key: str, value: Any) -> None:
    """Give a dotted key a value; a mapping for a section changes the keys in it only."""
    *sections, last = key.split(".")
    for section in sections:
        if not isinstance(values.get(section), dict):  # left empty, or at fault
            values[section] = {}
        values = values[section]
    if isinstance(value, dict) and isinstance(values.get(last), dict) and _is_section(key):
        value = _merged(values[last], value)
    values[last] = value


def _is_section(key: str) -> bool:
    try:
        return isinstance(Config()[key], Section)
    except AttributeError:
        return False
