"""What the sections of a configuration have in common, and the types of their values."""

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator, model_validator

from dsi.config.scalars import check_given, is_null, path_mark, typed

Count = Annotated[int, Field(ge=1)]
CountOrZero = Annotated[int, Field(ge=0)]
Rate = Annotated[float, Field(gt=0)]
Weight = Annotated[float, Field(ge=0)]
Share = Annotated[float, Field(ge=0, le=1)]
Seed = Annotated[int, Field(ge=0, lt=2**32)]


class Section(BaseModel):
    """A section of a configuration. Unknown keys, infinity and nan are errors. The docstrings of the class and below
    each key are their meanings, which `dsi config` prints."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, allow_inf_nan=False, use_attribute_docstrings=True
    )

    @model_validator(mode="before")
    @classmethod
    def _defaults(cls, values: Any) -> Any:
        """A section that is left empty has its defaults."""
        check_given(values)
        return {} if is_null(values) else values

    @field_validator("*", mode="before")
    @classmethod
    def _typed(cls, value: Any, info: ValidationInfo) -> Any:
        """What the scalars of a YAML text mean."""
        field = cls.model_fields[str(info.field_name)]
        return typed(value, Annotated[field.annotation, *field.metadata, None])

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
