"""The bases every model stands on, the one way to change a frozen model, and times as people write them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Final, Self, TypeVar, cast

from pydantic import AwareDatetime, BaseModel, BeforeValidator, ConfigDict, TypeAdapter
from pydantic_core import PydanticCustomError

M = TypeVar("M", bound=BaseModel)


class Model(BaseModel):
    """Base of every model: it is changed by `changed` alone."""

    if TYPE_CHECKING:
        model_copy: ClassVar[None]  # type: ignore[assignment] # taken away: it would let any name and any value through

    def changed(self, **fields: Any) -> Self:
        """A copy with other values in some fields; see `changed_copy`."""
        return changed_copy(self, fields)


class Wire(Model):
    """What crosses a process: frozen, additive, and deaf to fields it does not know.

    A new field always has a default, so that histories recorded before it still replay. No default may be
    random or read the clock: workflows build these models.
    """

    model_config = ConfigDict(frozen=True, extra="ignore", populate_by_name=True)


class Manifest(Model):
    """What people write: frozen, and an unknown key is a mistake worth telling them about."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)


class Document(Model):
    """What programs read (`-o json`): frozen, each field described for its schema."""

    model_config = ConfigDict(
        frozen=True, use_attribute_docstrings=True, json_schema_serialization_defaults_required=True
    )


_DATE_AND_TIME: Final = re.compile(r"\d{4}-\d{2}-\d{2}[Tt ]\d{2}:\d{2}")


def _written_out(value: object) -> object:
    if value is None or (isinstance(value, str) and _DATE_AND_TIME.match(value)):
        return value
    raise PydanticCustomError("datetime", "write date and time, as in 2026-11-30T22:00:00Z")


WRITTEN_OUT: Final = BeforeValidator(_written_out)
"""Of a time: a number, which would count as seconds since 1970, and a date alone are none."""
Moment = Annotated[AwareDatetime, WRITTEN_OUT]
"""A time with its offset."""


def changed_copy(model: M, fields: Mapping[str, Any]) -> M:
    """A copy of a model with other values in some fields; all others are shared with the original.

    Args:
        model: The original.
        fields: New values by field name. Each is checked as its field declares; validators of the whole model do
            not run.

    Returns:
        The copy.

    Raises:
        TypeError: the model has no field of that name.
        pydantic.ValidationError: a value does not fit its field.
    """
    adapters = _adapters(type(model))
    values = {}
    for name, value in fields.items():
        adapter = adapters.get(name)
        if adapter is None:
            raise TypeError(f"{type(model).__name__} has no field {name!r}")
        values[name] = adapter.validator.validate_python(value)
    return BaseModel.model_copy(model, update=values)


@cache
def _adapters(model: type[BaseModel]) -> Mapping[str, TypeAdapter[Any]]:
    """What checks the value of each field; made once for each model."""
    model.model_rebuild()  # one that names later classes is whole only from its first validation on
    return {
        name: TypeAdapter[Any](
            cast("Any", Annotated[(field.annotation, *field.metadata)] if field.metadata else field.annotation)
        )
        for name, field in model.model_fields.items()
    }
