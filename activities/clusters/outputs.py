"""Outputs of steps on a cluster: fields of objects that stand. What Secrets hold comes decoded, as a secret."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Annotated, Any, Final

from pydantic import Field

from bondstone.activities.clusters.jsonpath import JsonPath
from bondstone.activities.clusters.manifests import Ref
from bondstone.base.canonical import canonical, digest
from bondstone.base.errors import InvalidInput, ToolFailed
from bondstone.base.models import Manifest
from bondstone.executors.protocol import Output

Source = Annotated[str, Field(min_length=3, max_length=512)]
"""An object: `Service/web` of this step or of the core API, or with its apiVersion, `apps/v1/Deployment/web`."""

_CORE: Final = frozenset(
    {"ConfigMap", "Endpoints", "PersistentVolumeClaim", "Pod", "Secret", "Service", "ServiceAccount"}
)
_SHORT, _OF_CORE, _OF_GROUP = 2, 3, 4


class ObjectOutput(Manifest):
    """One output: a field of an object that stands once the step is applied."""

    source: Source = Field(alias="from")
    """Which object, in the section's namespace: `Service/${service.name}`, `apps/v1/Deployment/web`. What a Secret
    holds is decoded, and a secret output."""
    path: str = Field(min_length=1, max_length=512)
    """Which of its fields, as `kubectl -o jsonpath` has it: `{.spec.clusterIP}`, `{.data.password}`."""
    secret: bool = False
    """Treat it as a secret, wherever it is from."""
    default: Any = None
    """The value when the field is not there; without one that is a failure."""

    @property
    def sensitive(self) -> bool:
        """Whether what it gives is a secret."""
        return self.secret or "Secret" in self.source.split("/")[:-1]


async def read_outputs(
    outputs: Mapping[str, ObjectOutput],
    known: Sequence[Ref],
    namespace: str,
    get: Callable[[Ref], Awaitable[Mapping[str, Any] | None]],
    *,
    where: str,
    missing: Any = None,
) -> dict[str, Output]:
    """The outputs of a section.

    Args:
        outputs: As the section has them.
        known: Objects of the step.
        namespace: Of the section.
        get: Finds an object.
        where: The service and step, for errors.
        missing: In place of what is not there and has no default; None: that is an error.

    Raises:
        ToolFailed: when an object or a field is not there, and the output has no default.
        InvalidInput: when an output names nothing that could be there.
    """
    read: dict[str, Output] = {}
    for name, output in outputs.items():
        place = f"{where}, output {name}"
        try:
            ref = object_named(output.source, known, namespace)
            value = value_at(output, await get(ref))
        except ValueError as error:
            raise InvalidInput(str(error), where=place) from None
        if value is None:
            value = missing
        if value is None:
            raise ToolFailed(
                f"there is no {output.path} in {ref.address}",
                where=place,
                hint="correct `from` and `path`, wait for it, or give it a default; what was made is kept",
            )
        read[name] = Output(value, sensitive=output.sensitive)
    return read


def outputs_digest(outputs: Mapping[str, ObjectOutput]) -> str:
    """Changes when what a section says of outputs does: there is something to do then."""
    return digest(canonical({name: output.model_dump(mode="json") for name, output in outputs.items()}))


def value_at(output: ObjectOutput, item: Mapping[str, Any] | None) -> Any:
    """What an output gives of an object; its default when the field is not there.

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


def object_named(source: str, known: Iterable[Ref], namespace: str) -> Ref:
    """The object that a wait or an output names.

    Args:
        source: `Kind/name` or `apiVersion/Kind/name`.
        known: Objects of the step, among which is looked first.
        namespace: Of the section: others than those of the step are looked for there and nowhere else.

    Raises:
        ValueError: when it names none.
    """
    version, kind, name = named_parts(source)
    for ref in known:
        if (ref.kind, ref.name) == (kind, name) and version in {"", ref.api_version}:
            return ref
    if not version and kind not in _CORE:
        raise ValueError(f"the step has no {kind} {name!r}; name others with their apiVersion: apps/v1/{source}")
    return Ref(version or "v1", kind, namespace, name)


def named_parts(source: str) -> tuple[str, str, str]:
    """The apiVersion (maybe empty), kind and name in what a wait or an output names.

    Raises:
        ValueError: when it is not written so.
    """
    parts = source.split("/")
    if len(parts) not in {_SHORT, _OF_CORE, _OF_GROUP} or not all(parts):
        raise ValueError(f"{source!r} names no object: write it as Kind/name or apiVersion/Kind/name")
    return "/".join(parts[:-2]), parts[-2], parts[-1]


def _decoded(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _decoded(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_decoded(item) for item in value]
    try:
        return base64.b64decode(str(value), validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        raise ValueError("the value in the Secret is not text, so it cannot be an output") from None
