"""YAML as configurations are written in it. What a scalar means is left to the type of its key (`dsi.config.scalars`):
YAML 1.1 would read `no` as a boolean, `0100` as 64 and `1:30` as 90."""

from pathlib import Path
from typing import Any

import yaml

from dsi.config.scalars import Origin, Scalar
from dsi.errors import DsiError, first_line

LARGEST = 100_000
"""The most values in a text; aliases of aliases make more of a few lines than a memory holds."""
TAGS = {f"tag:yaml.org,2002:{kind}" for kind in ("map", "seq", "str")}
STRUCTURED = ("'", '"', "[", "{")
"""How the value of an option begins that is more than a plain scalar."""


class _Reader:
    """Makes values of the nodes of a text: scalars, lists, and mappings whose keys are text."""

    def __init__(self, origin: Origin) -> None:
        self.origin, self.values = origin, 0

    def value(self, node: yaml.Node) -> Any:
        self.values += 1
        if self.values > LARGEST:
            raise _fault(f"there are more than {LARGEST} values", node)
        if node.tag not in TAGS:
            raise _fault(f"tags such as {node.tag!r:.80} have no meaning here", node)
        if isinstance(node, yaml.ScalarNode):
            return Scalar(node.value, self.origin, is_plain=node.style is None)
        return self.mapping(node) if isinstance(node, yaml.MappingNode) else list(map(self.value, node.value))

    def mapping(self, node: yaml.MappingNode) -> dict[str, Any]:
        values, merged, is_merged = dict[str, Any](), dict[str, Any](), False
        for key_node, value_node in node.value:
            key = self.value(key_node)
            if not isinstance(key, Scalar) or not key:
                found = "a list" if isinstance(key, list) else "a mapping" if isinstance(key, dict) else "nothing"
                raise _fault(f"a key is a word, found {found}; put text with brackets in quotes", key_node)
            if key in values or (key == "<<" and is_merged):
                raise _fault(f"key {str(key)!r:.80} is given twice", key_node)
            value = self.value(value_node)
            if key == "<<" and key.is_plain:
                is_merged = True
                for other in reversed(value if isinstance(value, list) else [value]):
                    if not isinstance(other, dict):
                        raise _fault("<< takes over a mapping or a list of them", key_node)
                    merged |= other
            else:
                values[str(key)] = value
        return {**merged, **values}


def _fault(problem: str, node: yaml.Node) -> yaml.MarkedYAMLError:
    return yaml.MarkedYAMLError(problem=problem, problem_mark=node.start_mark)


def parse_yaml(text: str | bytes, origin: Origin) -> Any:
    """The value of a YAML text: a `Scalar`, a list, a mapping, or None if there is nothing.

    >>> parse_yaml("{learning_rate: 1e-3, measures: [RR@10]}", Origin("config.yaml", Path()))
    {'learning_rate': '1e-3', 'measures': ['RR@10']}

    Raises:
        DsiError: the text is not valid YAML; the message names its file or option and the line.
    """
    try:
        node = yaml.compose(text, yaml.BaseLoader)
        return None if node is None else _Reader(origin).value(node)
    except yaml.MarkedYAMLError as error:
        line = f", line {error.problem_mark.line + 1}" if error.problem_mark else ""
        problem = ", ".join(filter(None, (error.context, error.problem)))
        raise DsiError(f"{origin.name}{line}: not valid YAML: {problem}") from None
    except RecursionError:
        raise DsiError(f"{origin.name}: not valid YAML here: it is nested too deeply") from None
    except (yaml.YAMLError, ValueError, OverflowError) as error:  # a control character; an impossible escape
        raise DsiError(f"{origin.name}: not valid YAML: {first_line(error)}") from None


def parse_option(override: str) -> tuple[str, Any]:
    """The dotted key and the value of an option `section.key=value`.

    The value is YAML if it begins with a quote or a bracket, else a plain scalar, with `#` and blanks in it.

    >>> parse_option("evaluation.measures=[RR@10, AP]"), parse_option("doc2query.t5.prefix=a: b #2")
    (('evaluation.measures', ['RR@10', 'AP']), ('doc2query.t5.prefix', 'a: b #2'))

    Raises:
        DsiError: there is no key, or the value is not valid YAML.
    """
    key, equals, text = override.partition("=")
    if not equals or not all(key.split(".")) or key.strip() != key or not key.isprintable():
        raise DsiError(f"--set {override!r:.100}: expected section.key=value")
    if text.lstrip().startswith(STRUCTURED):
        # within brackets a comment, which is none in an option, lacks the closing one
        values = parse_yaml(f"[{text}]", Origin(f"--set {override}", Path(), is_option=True))
        if len(values) != 1:
            raise DsiError(f"--set {override}: expected one value, found {len(values)}")
        return key, values[0]
    return key, Scalar(text, Origin(f"--set {key}", Path(), is_option=True))
