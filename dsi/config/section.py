"""What the sections of a configuration have in common, and the types of their values."""

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


def _rate_or_auto(value: Any) -> Any:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if value != "auto" and not (is_number and value > 0):
        raise misread(f"expected auto or a number above 0, found {value!r}")
    return value


def _up_to(largest: float) -> Any:
    """The check of a value that is auto or a number from 0 to `largest`."""

    def check(value: Any) -> Any:
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if value != "auto" and not (is_number and 0 <= value <= largest):
            raise misread(f"expected auto or a number from 0 to {largest:g}, found {value!r}")
        return value

    return BeforeValidator(check)


LARGEST_WEIGHT = 1e6
"""The largest weight of a score, so that their product is no rounding of infinity."""
WeightOrAuto = Annotated[float | Literal["auto"], _up_to(LARGEST_WEIGHT)]
ShareOrAuto = Annotated[float | Literal["auto"], _up_to(1)]
RateOrAuto = Annotated[float | Literal["auto"], BeforeValidator(_rate_or_auto)]


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
