"""Templates of HTML: text with fields such as `{{ title }}`."""

import re
from pathlib import Path


def filled(template: Path, **values: str) -> str:
    """The template with the values, which are HTML, in the place of its fields; what a value holds is no field."""
    return re.sub(r"{{ (\w+) }}", lambda field: values[field[1]], template.read_text(encoding="utf-8"))
