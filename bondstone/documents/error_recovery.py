"""What is left of a document without its mistakes, so that one mistake does not hide the others."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from bondstone.documents.yaml_places import Path_

_ROUNDS = 8

Model = TypeVar("Model", bound=BaseModel)


def salvage(data: Any, model: type[Model], placeholders: Mapping[str, Any]) -> Model | None:
    """The model without what does not fit it; None when too little is left.

    Args:
        data: The document, as read.
        model: What it should be.
        placeholders: By key, what stands in for something that is needed and is not there, or is wrong.
    """
    for _ in range(_ROUNDS):
        try:
            return model.model_validate(data)
        except ValidationError as error:
            for item in error.errors(include_url=False):
                at = tuple(part for part in item["loc"] if part != "[key]")
                data = _without(data, at, placeholders, missing=item["type"] == "missing")
    return None


def _without(data: Any, path: Path_, placeholders: Mapping[str, Any], *, missing: bool) -> Any:
    """A copy without what is at a path; what is required, and an item of a list, is stood in for."""
    if not path or not isinstance(data, dict | list):
        return data
    head, *rest = path
    if isinstance(data, list):
        if not isinstance(head, int) or head >= len(data):
            return data
        item = _without(data[head], tuple(rest), placeholders, missing=missing) if rest else {}
        return [*data[:head], item, *data[head + 1 :]]
    if rest and isinstance(data.get(head), dict | list):
        return {**data, head: _without(data[head], tuple(rest), placeholders, missing=missing)}
    kept = {key: value for key, value in data.items() if key != head}
    if missing or head in placeholders:
        kept |= {head: placeholders[str(head)]} if head in placeholders else {}
    return kept
