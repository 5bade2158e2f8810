"""What files ask for, by kind, each entry with the place where it stands."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from bondstone.base.errors import Problem
from bondstone.documents.yaml_places import PlacedDocument
from bondstone.model.campaign.manifest import Strategy
from bondstone.model.identity import AccessDocument
from bondstone.model.manifest import ServiceManifest
from bondstone.model.platform_manifests import (
    FreezeManifest,
    PolicySetManifest,
    PromiseReference,
    ScheduleManifest,
)

PROMISE_FILE: Final = "promise.yaml"
STANDARD_INPUT: Final = "standard input"
"""How messages name it: a file that lies in no folder."""


@dataclass(frozen=True, slots=True)
class ServiceEntry:
    """One service that a file asks for."""

    document: PlacedDocument
    manifest: ServiceManifest


@dataclass(frozen=True, slots=True)
class RequestEntry:
    """One object of a kind of others that a file asks for: a request, if a promise takes such."""

    document: PlacedDocument
    api_version: str
    kind: str
    id: str
    """`TEAM/NAME` of its service: namespace and name."""

    @property
    def kind_words(self) -> str:
        """As `kubectl` names it."""
        return f"{self.api_version} {self.kind}"

    @property
    def annotations(self) -> Mapping[Any, Any]:
        """Its annotations; none when they are no mapping."""
        annotations = self.document.data["metadata"].get("annotations")
        return annotations if isinstance(annotations, Mapping) else {}

    def annotation(self, name: str) -> str:
        """One of them; empty when it has none of that name."""
        return str(self.annotations.get(name) or "")


@dataclass(frozen=True, slots=True)
class CampaignEntry:
    """One campaign that a file asks for."""

    document: PlacedDocument
    name: str
    data: bytes
    """The document alone, its lines where they are in the file."""


@dataclass(frozen=True, slots=True)
class PromiseEntry:
    """One promise in a folder of its own."""

    directory: Path
    file: str


@dataclass(frozen=True, slots=True)
class PromiseReferenceEntry:
    """A version of a promise that a file relies on."""

    document: PlacedDocument
    manifest: PromiseReference


@dataclass(frozen=True, slots=True)
class ScheduleManifestEntry:
    """One schedule that a file asks for."""

    document: PlacedDocument
    manifest: ScheduleManifest
    strategy: Strategy
    data: bytes
    """The strategy alone, as it is sent."""
    strategy_file: str
    """Its name, for messages."""


@dataclass(frozen=True, slots=True)
class FreezeEntry:
    """One freeze that a file asks for."""

    document: PlacedDocument
    manifest: FreezeManifest


@dataclass(frozen=True, slots=True)
class PolicySetEntry:
    """The policies that a file asks for."""

    document: PlacedDocument
    manifest: PolicySetManifest
    directory: Path | None
    """None when the manifest holds the policies."""

    @contextmanager
    def folder(self) -> Iterator[Path]:
        """The folder with the policies, for as long as it is used."""
        if self.directory is not None:
            yield self.directory
            return
        with TemporaryDirectory(prefix="bond-policies-") as name:
            for module, text in self.manifest.spec.modules.items():
                file = Path(name, module)
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_text(text, encoding="utf-8")
            yield Path(name)


@dataclass(frozen=True, slots=True)
class AccessEntry:
    """The access document that a file is."""

    document: PlacedDocument
    manifest: AccessDocument
    source: str


@dataclass(frozen=True, slots=True)
class Manifests:
    """What files ask for, in the order of their names."""

    services: tuple[ServiceEntry, ...] = ()
    requests: tuple[RequestEntry, ...] = ()
    campaigns: tuple[CampaignEntry, ...] = ()
    promises: tuple[PromiseEntry, ...] = ()
    references: tuple[PromiseReferenceEntry, ...] = ()
    schedules: tuple[ScheduleManifestEntry, ...] = ()
    freezes: tuple[FreezeEntry, ...] = ()
    policies: tuple[PolicySetEntry, ...] = ()
    access: tuple[AccessEntry, ...] = ()

    def __len__(self) -> int:
        return sum(len(getattr(self, kind.name)) for kind in fields(self))


@dataclass(slots=True)
class Reading:
    """What was read so far, and what is wrong with it."""

    services: list[ServiceEntry] = field(default_factory=list)
    requests: list[RequestEntry] = field(default_factory=list)
    campaigns: list[CampaignEntry] = field(default_factory=list)
    promises: list[PromiseEntry] = field(default_factory=list)
    references: list[PromiseReferenceEntry] = field(default_factory=list)
    schedules: list[ScheduleManifestEntry] = field(default_factory=list)
    freezes: list[FreezeEntry] = field(default_factory=list)
    policies: list[PolicySetEntry] = field(default_factory=list)
    access: list[AccessEntry] = field(default_factory=list)
    strategies: dict[Path, PlacedDocument] = field(default_factory=dict)
    """Files of kind Strategy, which do nothing alone."""
    used_strategies: set[Path] = field(default_factory=set)
    root: Path | None = None
    """The folder that is applied, or that of the file: what the manifest that is read may refer to lies in it.
    None while standard input is read."""
    others: list[PlacedDocument] = field(default_factory=list)
    """Documents of no kind: mistakes, but for the data of policies."""
    problems: list[Problem] = field(default_factory=list)
    names: dict[str, str] = field(default_factory=dict)


def beside(name: str, document: PlacedDocument, reading: Reading, at: tuple[str, ...]) -> Path | None:
    """The file or folder that a manifest names; None, with a problem, where that leads out of what is applied.

    Args:
        name: As the manifest writes it, relative to its file.
        document: The manifest.
        reading: What was read so far.
        at: Where the name stands.
    """
    if reading.root is None:
        words = f"{name} is relative to a file, and this came by {STANDARD_INPUT}"
        reading.problems.append(document.problem(at, words, hint="apply the folder that holds both: -f DIR"))
        return None
    path = Path(document.file).parent / name
    try:
        if path.resolve().is_relative_to(reading.root.resolve()):
            return path
        words = f"{name} leads out of {reading.root}, the folder that is applied"
        hint = "name a folder with -f that holds both, or move it beside this file"
    except (OSError, ValueError, RuntimeError):  # a NUL in its name, links in a circle
        words, hint = f"{name} cannot be read: that is not a valid file name", ""
    reading.problems.append(document.problem(at, words, hint=hint))
    return None


def is_first(
    name: str, document: PlacedDocument, reading: Reading, at: tuple[str, ...] = ("metadata", "name")
) -> bool:
    """Whether no manifest before had this name; a second one is a problem.

    Args:
        name: Kind and name, for the message.
        document: The manifest.
        reading: What was read so far.
        at: Where its name stands.
    """
    place = document.place(at)
    known = reading.names.setdefault(name, f"{document.file}:{place.line}")
    if known == f"{document.file}:{place.line}":
        return True
    reading.problems.append(document.problem(at, f"{name} is in two manifests", hint=f"the first is in {known}"))
    return False
