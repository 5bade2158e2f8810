"""The bases every model stands on, and the one way to change a frozen model."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Annotated, Any, Self, cast

from pydantic import BaseModel, ConfigDict, TypeAdapter


class Changeable:
    """Makes changed copies of a pydantic model. Pydantic's own `model_copy` checks neither names nor values."""

    def changed(self, **fields: Any) -> Self:
        """A copy with other values in some fields; all others are shared with the original.

        Args:
            fields: New values by field name. Each is checked as its field declares; validators of the whole model
                do not run.

        Returns:
            The copy.

        Raises:
            TypeError: the model has no field of that name.
            pydantic.ValidationError: a value does not fit its field.
        """
        model = cast("BaseModel", self)
        adapters = _adapters(type(model))
        values = {}
        for name, value in fields.items():
            adapter = adapters.get(name)
            if adapter is None:
                raise TypeError(f"{type(model).__name__} has no field {name!r}")
            values[name] = adapter.validator.validate_python(value)
        return cast("Self", model.model_copy(update=values))


class Wire(Changeable, BaseModel):
    """What crosses a process: frozen, additive, and deaf to fields it does not know.

    A new field always has a default, so that histories recorded before it still replay. No default may be
    random or read the clock: workflows build these models.
    """

    model_config = ConfigDict(frozen=True, extra="ignore", populate_by_name=True)


class Manifest(Changeable, BaseModel):
    """What people write: frozen, and an unknown key is a mistake worth telling them about."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)


class Document(Changeable, BaseModel):
    """What programs read (`-o json`): frozen, each field described for its schema."""

    model_config = ConfigDict(
        frozen=True, use_attribute_docstrings=True, json_schema_serialization_defaults_required=True
    )


@cache
def _adapters(model: type[BaseModel]) -> Mapping[str, TypeAdapter[Any]]:
    """What checks the value of each field; made once for each model."""
    return {
        name: TypeAdapter[Any](
            cast("Any", Annotated[(field.annotation, *field.metadata)] if field.metadata else field.annotation)
        )
        for name, field in model.model_fields.items()
    }
