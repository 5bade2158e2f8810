"""Kinds of objects whose manifests request services of a promise: those that Kratix steps stand for. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from bondstone.base.names import KRATIX_EXECUTOR

if TYPE_CHECKING:
    from bondstone.model.promise import Step

_INPUT: Final = re.compile(r"\$\{\s*inputs\.([A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*)\s*\}")
"""A template that is one input and nothing else: what a field of a request becomes."""
_REQUESTS: Final = "resource"
"""The workflow of a Kratix step whose object is a request; the other one's is the promise itself."""


@dataclass(frozen=True, slots=True)
class RequestKind:
    """A kind of object that requests a service."""

    api_version: str
    """As in `marketplace.kratix.io/v1alpha1`."""
    kind: str
    fields: Mapping[str, str]
    """Field of the object, as in `spec.job-name`, to the input that it gives."""


def request_kinds(steps: Iterable[Step]) -> Iterator[RequestKind]:
    """The kinds that the steps of a promise stand for.

    Args:
        steps: Those of the promise, sections as written.
    """
    known: set[tuple[str, str]] = set()
    for step in steps:
        section = step.section
        if step.executor != KRATIX_EXECUTOR or not isinstance(section, Mapping):
            continue
        api, shown = section.get("api"), section.get("object")
        if section.get("workflow", _REQUESTS) != _REQUESTS or not isinstance(api, Mapping):
            continue
        version, kind = f"{api.get('group')}/{api.get('version')}", str(api.get("kind"))
        if (version, kind) not in known:  # each pipeline may be a step
            known.add((version, kind))
            spec = shown.get("spec") if isinstance(shown, Mapping) else None
            yield RequestKind(api_version=version, kind=kind, fields=dict(_fields(spec, "spec")))


def _fields(template: Any, path: str) -> Iterator[tuple[str, str]]:
    if isinstance(template, Mapping):
        for name, inner in template.items():
            yield from _fields(inner, f"{path}.{name}")
    elif isinstance(template, str) and (match := _INPUT.fullmatch(template.strip())):
        yield path, match[1]
