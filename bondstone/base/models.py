"""The three bases every model stands on."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Wire(BaseModel):
    """What crosses a process: frozen, additive, and deaf to fields it does not know.

    A new field always has a default, so that histories recorded before it still replay. No default may be
    random or read the clock: workflows build these models.
    """

    model_config = ConfigDict(frozen=True, extra="ignore", populate_by_name=True)


class Manifest(BaseModel):
    """What people write: frozen, and an unknown key is a mistake worth telling them about."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)


class Document(BaseModel):
    """What programs read (`-o json`): frozen, each field described for its schema."""

    model_config = ConfigDict(
        frozen=True, use_attribute_docstrings=True, json_schema_serialization_defaults_required=True
    )
