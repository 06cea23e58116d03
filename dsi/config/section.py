"""What the sections of a configuration have in common, and the types of their values."""

from collections.abc import Callable
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationInfo, field_validator, model_validator

from dsi.config.scalars import check_given, is_null, misread, path_mark, typed

Count = Annotated[int, Field(ge=1)]
CountOrZero = Annotated[int, Field(ge=0)]
Rate = Annotated[float, Field(gt=0)]
Weight = Annotated[float, Field(ge=0)]
Share = Annotated[float, Field(ge=0, le=1)]
InnerShare = Annotated[float, Field(gt=0, lt=1)]
Seed = Annotated[int, Field(ge=0, lt=2**32)]


def _auto_or(expected: str, is_valid: Callable[[float], bool]) -> BeforeValidator:
    """The check of a value that is auto or a valid number, which is described as `expected`."""

    def check(value: Any) -> Any:
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if value != "auto" and not (is_number and is_valid(value)):
            raise misread(f"expected auto or {expected}, found {value!r}")
        return value

    return BeforeValidator(check)


LARGEST_WEIGHT = 1e6
"""The largest weight of a score, far below what makes a score infinite."""
RateOrAuto = Annotated[Rate | Literal["auto"], _auto_or("a number above 0", lambda value: value > 0)]
WeightOrAuto = Annotated[
    Annotated[float, Field(ge=0, le=LARGEST_WEIGHT)] | Literal["auto"],
    _auto_or(f"a number from 0 to {LARGEST_WEIGHT:g}", lambda value: 0 <= value <= LARGEST_WEIGHT),
]
ShareOrAuto = Annotated[Share | Literal["auto"], _auto_or("a number from 0 to 1", lambda value: 0 <= value <= 1)]


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

    @property
    def unused(self) -> set[str]:
        """The keys that change nothing that is made, as the other keys are."""
        return set()

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
