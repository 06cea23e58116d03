"""YAML as configurations are written in it."""

import re
from typing import Any

import yaml

from dsi.errors import DsiError, first_line


class _Loader(yaml.SafeLoader):
    """Safe YAML whose floats include 1e-3 (YAML 1.1 reads it as a string) and whose repeated keys are errors."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key, _ in node.value:
            if key.value in seen:
                raise yaml.MarkedYAMLError(problem=f"key {key.value!r} is given twice", problem_mark=key.start_mark)
            seen.add(key.value)
        return super().construct_mapping(node, deep=deep)


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"^[-+]?\d+(\.\d*)?[eE][-+]?\d+$"), list("-+0123456789")
)


def parse_yaml(text: str, origin: str) -> Any:
    """The value of a YAML text.

    >>> parse_yaml("{learning_rate: 1e-3, measures: [RR@10]}", "config.yaml")
    {'learning_rate': 0.001, 'measures': ['RR@10']}

    Raises:
        DsiError: the text is not valid YAML; the message names `origin`, its file or option, and the line.
    """
    try:
        return yaml.load(text, _Loader)
    except yaml.MarkedYAMLError as error:
        line = f", line {error.problem_mark.line + 1}" if error.problem_mark else ""
        raise DsiError(f"{origin}{line}: not valid YAML: {error.problem}") from None
    except (yaml.YAMLError, ValueError) as error:  # a control character; an impossible date
        raise DsiError(f"{origin}: not valid YAML: {first_line(error)}") from None
