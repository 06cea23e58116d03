"""What the sections of a configuration have in common, and the types of their values."""

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, model_validator

from dsi.config.scalars import NULL, Scalar, path_mark, typed

Count = Annotated[int, Field(ge=1)]
CountOrZero = Annotated[int, Field(ge=0)]
Rate = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Weight = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Seed = Annotated[int, Field(ge=0, lt=2**32)]


class Section(BaseModel):
    """A section of a configuration. Unknown keys are errors. The docstrings of the class and below each key are their
    meanings, which `dsi config` prints."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, use_attribute_docstrings=True)

    @model_validator(mode="before")
    @classmethod
    def _typed(cls, values: Any) -> Any:
        """What the scalars of a YAML text mean; a section that is left empty has its defaults."""
        if values is None or (isinstance(values, Scalar) and values.is_plain and values in NULL):
            return {}
        if not isinstance(values, dict):
            return values
        fields = cls.model_fields
        types = {key: Annotated[field.annotation, *field.metadata, None] for key, field in fields.items()}
        return {key: typed(value, types[key]) if key in types else value for key, value in values.items()}

    @classmethod
    def paths(cls) -> list[str]:
        """The dotted keys of the section that hold paths, or names of the hub."""
        found = []
        for key, field in cls.model_fields.items():
            if isinstance(field.annotation, type) and issubclass(field.annotation, Section):
                found += [f"{key}.{below}" for below in field.annotation.paths()]
            elif path_mark(Annotated[field.annotation, *field.metadata, None]):
                found.append(key)
        return found
