"""The plan artefact: all that is needed to apply exactly one plan, anywhere. Pure.

One line that says what it is, and the chart's archive behind it. It is kept sealed: it holds values and manifests.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, Literal

from pydantic import ValidationError

from bondstone.base.canonical import canonical
from bondstone.base.errors import ObjectCorrupt
from bondstone.base.models import Wire

_MAGIC: Final = b"bondstone-helm-plan 1 "


class Location(Wire):
    """Where a step's release is."""

    cluster: str
    namespace: str
    release: str

    def __str__(self) -> str:
        return f"release {self.release} in namespace {self.namespace} of cluster {self.cluster}"


class Standing(Wire):
    """An object that an uninstall takes away."""

    api_version: str
    kind: str
    namespace: str = ""
    name: str


class ReleaseRecord(Wire):
    """What is kept in a step's state log: where its release is, whatever the promise says of it later."""

    location: Location
    revision: int = 0
    """Of the release, as it was last applied."""
    outputs: str = ""
    """Digest of what the section said of outputs then."""
    leaving: tuple[Standing, ...] = ()
    """What an uninstall has yet to see gone."""
    manifest: str = ""
    """Of a trial only, which has no cluster."""


class Header(Wire):
    """What is to be done."""

    action: Literal["upgrade", "uninstall", "nothing"]
    location: Location
    revision: int
    """Of the release when the plan was made; 0 when there was none."""
    values: dict[str, Any] = {}
    manifest: str = ""
    """As rendered: exactly this is applied, even where the chart would render otherwise the next time."""
    hooks: tuple[str, ...] = ()
    """Manifests of its hooks, as rendered. Helm 4 runs exactly these; Helm 3 renders hooks anew."""
    tried: bool = False
    """Whether the API server has said that it would take each object: Helm need not check them then."""
    secrets: tuple[str, ...] = ()
    """Texts to mask while it is applied."""
    leaving: tuple[Standing, ...] = ()
    """What an uninstall takes away."""
    kept: tuple[str, ...] = ()
    """Addresses of what an uninstall leaves: what the chart says to keep, and hooks."""


@dataclass(frozen=True, slots=True)
class Artefact:
    """A header and the archive of the chart; empty where none is needed."""

    header: Header
    chart: bytes = b""


def pack(artefact: Artefact) -> bytes:
    """Make the bytes."""
    return _MAGIC + canonical(artefact.header.model_dump(mode="json")) + b"\n" + artefact.chart


def unpack(data: bytes) -> Artefact:
    """Take the bytes apart.

    Raises:
        ObjectCorrupt: when they are none of ours.
    """
    line, _, chart = data.partition(b"\n")
    try:
        return Artefact(Header.model_validate_json(line[len(_MAGIC) :] if line.startswith(_MAGIC) else b""), chart)
    except (ValueError, ValidationError):
        raise ObjectCorrupt("the plan artefact is not one of the helm executor", hint="plan again") from None


def read_record(payload: bytes | None) -> ReleaseRecord | None:
    """What the state log holds; None when it holds nothing.

    Raises:
        ObjectCorrupt: when it is not what this executor wrote.
    """
    if payload is None:
        return None
    try:
        return ReleaseRecord.model_validate_json(payload)
    except ValidationError:
        raise ObjectCorrupt(
            "the step's record is not one of the helm executor",
            hint="did another kind of step have this id before? Give the helm step an id of its own",
        ) from None


def release_record(payload: bytes) -> ReleaseRecord | None:
    """What a state log holds, if this executor wrote it."""
    try:
        return ReleaseRecord.model_validate_json(payload)
    except ValidationError:
        return None
