"""A configuration as commented YAML: what `dsi config` prints, and `config.yaml` of a run."""

from __future__ import annotations

from typing import Any

import yaml

from dsi.config.experiment import Config
from dsi.config.section import Section


def describe(section: type[Section] = Config, values: Section | None = None, indent: str = "") -> str:
    """Commented YAML of every key with its default, or with its value in `values`."""
    lines = []
    for name, field in section.model_fields.items():
        value = getattr(values, name) if values is not None else field.get_default(call_default_factory=True)
        for line in (field.description or "").splitlines():
            lines.append(f"{indent}# {line.strip()}")
        if isinstance(value, Section):
            lines += [f"{indent}{name}:", describe(type(value), value, indent + "  ")]
        else:
            text = yaml.safe_dump(value, default_flow_style=True, width=10_000).removesuffix("...\n").strip()
            allowed = _allowed(field.annotation)
            lines.append(f"{indent}{name}: {text}" + (f"  # {allowed}" if allowed else ""))
    return "\n".join(lines)


def _allowed(annotation: Any) -> str:
    values = getattr(annotation, "__args__", ())
    return " | ".join(values) if values and all(isinstance(value, str) for value in values) else ""
