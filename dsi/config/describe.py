"""A configuration as commented YAML: what `dsi config` prints, and `config.yaml` of a run."""

import os
from typing import Any

import yaml

from dsi.config.experiment import Config
from dsi.config.scalars import path_mark
from dsi.config.section import Section


def describe(section: type[Section] = Config, values: Section | None = None, indent: str = "") -> str:
    """Every key of a section with its default, or with its value in `values`, as YAML; its meaning is a comment above.

    >>> from dsi.config import TokenizerConfig
    >>> print(describe(TokenizerConfig, TokenizerConfig(vocabulary=6_000)).splitlines()[1])
    vocabulary: 6000
    """
    lines = []
    for name, field in section.model_fields.items():
        value = getattr(values, name) if values is not None else field.get_default(call_default_factory=True)
        meaning = type(value).__doc__ if isinstance(value, Section) else field.description
        lines += [f"{indent}# {line.strip()}" for line in (meaning or "").splitlines()]
        if isinstance(value, Section):
            lines += [f"{indent}{name}:", describe(type(value), value, indent + "  ")]
        else:
            if values is not None and (mark := path_mark(field.annotation)) and not mark.or_name:
                value = _absolute(value)  # a path in a file is relative to that file
            text = yaml.safe_dump(value, default_flow_style=True, width=10_000).removesuffix("...\n").strip()
            allowed = _allowed(field.annotation)
            lines.append(f"{indent}{name}: {text}" + (f"  # {allowed}" if allowed else ""))
    return "\n".join(lines)


def _absolute(value: Any) -> Any:
    """A path, or each of a list of paths, from the root; None stays."""
    if isinstance(value, list):
        return [os.path.abspath(each) for each in value]
    return value and os.path.abspath(value)


def _allowed(annotation: Any) -> str:
    values = getattr(annotation, "__args__", ())
    return " | ".join(values) if values and all(isinstance(value, str) for value in values) else ""
