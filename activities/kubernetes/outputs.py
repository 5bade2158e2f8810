"""Outputs: fields of what stands once a step is applied. Secrets come decoded, and as secrets."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping, Sequence
from typing import Any

from activities.clusters.jsonpath import JsonPath
from activities.clusters.manifests import Ref
from activities.kubernetes.manifests import object_named
from activities.kubernetes.section import KubernetesOutput
from activities.kubernetes.session import Api, Session
from bondstone.errors import InvalidInput, ToolFailed
from bondstone.executor import Output


async def outputs(session: Session, api: Api, known: Sequence[Ref]) -> dict[str, Output]:
    """The outputs of the section as the cluster holds them.

    Raises:
        ToolFailed: when an object or a field is not there, and the output has no default.
    """
    found: dict[str, Output] = {}
    for name, output in session.section.outputs.items():
        where = f"{session.where}, output {name}"
        try:
            ref = object_named(output.source, known, session.namespace)
            value = value_at(output, await api.get(ref))
        except ValueError as error:
            raise InvalidInput(str(error), where=where) from None
        if value is None:
            raise ToolFailed(
                f"there is no {output.path} in {ref.address}",
                where=where,
                hint="correct `from` and `path`, wait for it, or give it a default; what was made is kept",
            )
        found[name] = Output(value, sensitive=is_sensitive(output))
    return found


def is_sensitive(output: KubernetesOutput) -> bool:
    """Whether what it gives is a secret."""
    return output.secret or "Secret" in output.source.split("/")[:-1]


def value_at(output: KubernetesOutput, item: Mapping[str, Any] | None) -> Any:
    """What an output gives of a live object; its default when the field is not there.

    Raises:
        ValueError: when its path is none that is understood, or it is of a Secret and no text.
    """
    path = JsonPath(output.path)
    if item is None:
        return output.default
    try:
        value = path.find(item)
    except KeyError:
        return output.default
    if item.get("kind") == "Secret" and path.first == "data":
        return _decoded(value)
    return value


def _decoded(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _decoded(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_decoded(item) for item in value]
    try:
        return base64.b64decode(str(value), validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        raise ValueError("what the Secret holds there is no text, and cannot be an output") from None
