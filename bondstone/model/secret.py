"""References to secrets: what histories, listings and records hold in place of the value.

On the wire a reference is the JSON object `{"$secret": "<key in the secret store>"}`; anywhere in a tree of
JSON values. Nothing else with a `$secret` key is valid there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final

from pydantic import Field

from bondstone.base.models import Wire

REF_KEY: Final = "$secret"


class SecretRef(Wire):
    """A reference to one value in the secret store."""

    key: str = Field(alias=REF_KEY)

    def as_json(self) -> dict[str, str]:
        """The reference as it stands in a JSON tree."""
        return {REF_KEY: self.key}


def as_ref(value: object) -> SecretRef | None:
    """The reference that a JSON value is, or None when it is an ordinary value."""
    if isinstance(value, dict) and set(value) == {REF_KEY} and isinstance(value[REF_KEY], str):
        return SecretRef(key=value[REF_KEY])
    return None


def has_reference(value: object) -> bool:
    """Whether a tree of JSON values holds a reference, or what could be taken for one."""
    if isinstance(value, dict):
        return REF_KEY in value or any(has_reference(item) for item in value.values())
    return isinstance(value, list | tuple) and any(has_reference(item) for item in value)


def refs_in(value: object) -> Iterator[SecretRef]:
    """Every reference in a tree of JSON values, in order of appearance."""
    ref = as_ref(value)
    if ref is not None:
        yield ref
    elif isinstance(value, dict):
        for item in value.values():
            yield from refs_in(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from refs_in(item)


def replace_refs(value: Any, reveal: Callable[[SecretRef], Any]) -> Any:
    """A copy of a JSON tree with every reference replaced by what `reveal` returns for it."""
    ref = as_ref(value)
    if ref is not None:
        return reveal(ref)
    if isinstance(value, dict):
        return {key: replace_refs(item, reveal) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [replace_refs(item, reveal) for item in value]
    return value
