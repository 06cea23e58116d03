"""The JSON Schema of a configuration, by which editors complete and check YAML: what `dsi config --schema` prints.

A schema speaks of the values that an editor's own parser has made of YAML, and the type of a key decides here what a
scalar means (`dsi.config.scalars`). So numbers may be text, where parsers disagree on `1e-3` and `1_000`, text may be a
number or a boolean, and a section that is left empty is null.
"""

import json
from typing import Any

from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from dsi.config.experiment import Config
from dsi.config.scalars import FLOAT, INTEGER
from dsi.config.section import Section

EXTENDS = "Another configuration, relative to this file: what it says, and this one does not, is taken over."


def json_schema() -> str:
    """The schema of a whole configuration, in draft 2020-12; meanings are the docstrings of the sections and keys."""
    schema = Config.model_json_schema(schema_generator=_AsWritten)
    extends = {"type": ["string", "null"], "minLength": 1, "default": None, "description": EXTENDS}
    schema["properties"] = {"extends": extends, **schema["properties"]}
    return json.dumps({"$schema": _AsWritten.schema_dialect, **schema}, indent=2)


class _AsWritten(GenerateJsonSchema):
    """Makes the schema of what may be written, and leaves out titles, which repeat the names of the keys."""

    def int_schema(self, schema: core_schema.IntSchema) -> JsonSchemaValue:
        return _or_text(super().int_schema(schema), f"^(?=.*_)({INTEGER.pattern})$")

    def float_schema(self, schema: core_schema.FloatSchema) -> JsonSchemaValue:
        return _or_text(super().float_schema(schema), f"^(?=.*[_eE])({FLOAT.pattern})$")

    def str_schema(self, schema: core_schema.StringSchema) -> JsonSchemaValue:
        return {**super().str_schema(schema), "type": ["string", "number", "boolean", "null"]}

    def model_schema(self, schema: core_schema.ModelSchema) -> JsonSchemaValue:
        section = super().model_schema(schema)
        section.pop("title")
        return {**section, "type": ["object", "null"]}

    def default_schema(self, schema: core_schema.WithDefaultSchema) -> JsonSchemaValue:
        if isinstance(schema.get("default"), Section):  # the keys of a section have defaults of their own
            return self.generate_inner(schema["schema"])
        return super().default_schema(schema)

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False


def _or_text(number: JsonSchemaValue, pattern: str) -> JsonSchemaValue:
    """The schema of a number, or of the text that some parsers take it for."""
    return {"anyOf": [number, {"type": "string", "pattern": pattern}]}
