"""Manifests of what belongs to the platform: schedules, freezes, policy sets, references to promises."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from bondstone.base.models import Manifest, Moment
from bondstone.model.campaign.manifest import StrategySpec
from bondstone.model.campaign.schedule import Overlap
from bondstone.model.promise import Duration, LabelKey, Name, SemVer

Labels = Annotated[dict[LabelKey, Annotated[str, Field(max_length=128)]], Field(max_length=32)]


class PlatformMetadata(Manifest):
    """What this is called, how it is labelled, and why it is."""

    name: Name
    """Its name."""
    labels: Labels = {}
    """Labels of the manifest, for `--prune --selector`."""
    reason: str = Field(default="", max_length=1000)
    """Why, for the record."""


class ScheduleMetadata(PlatformMetadata):
    """Which schedule this is, and whose."""

    owner: str = Field(default="", max_length=200)
    """The team that answers for it."""
    change: str = Field(default="", max_length=200)
    """The number of the standing change, where changes have one."""


class ScheduleManifestSpec(Manifest):
    """When campaigns start, and what they do."""

    cron: str = Field(min_length=1, max_length=200)
    """Five fields, in local time."""
    time_zone: str = Field(default="UTC", max_length=64)
    """IANA zone of the cron line."""
    overlap: Overlap = "skip"
    """What happens to a run that is due while the one before is not over."""
    jitter: Duration | None = None
    """Each run is late by a random part of this."""
    catch_up: Duration = "1h"
    """A run that was due while the platform was away starts at most this late."""
    strategy: StrategySpec | None = None
    """What each run does, as `spec` of a strategy; or name a file with `strategy_file`."""
    strategy_file: str = Field(default="", max_length=300)
    """A file of kind Strategy, relative to this one."""


class ScheduleManifest(Manifest):
    """One schedule of campaigns."""

    api_version: Literal["bondstone.dev/v1"] = Field(alias="apiVersion")
    """Always this."""
    kind: Literal["Schedule"]
    """Always this."""
    metadata: ScheduleMetadata
    """Which schedule this is."""
    spec: ScheduleManifestSpec
    """When it is due, and what it does."""


class FreezeManifestSpec(Manifest):
    """When campaigns start nothing, and where."""

    team: Name | None = None
    """Whose services; the whole platform without it. It never changes."""
    exempt: tuple[Annotated[str, Field(min_length=1, max_length=40)], ...] = Field(default=(), max_length=20)
    """Classes of changes that continue: `EMG` exempts a campaign whose change is `EMG-17`."""
    begins: Moment | None = Field(default=None, alias="from")
    """When it begins, with its offset; when it is applied first, without it."""
    until: Moment | None = None
    """When it ends, with its offset; without it, when it is deleted."""


class FreezeManifest(Manifest):
    """One freeze."""

    api_version: Literal["bondstone.dev/v1"] = Field(alias="apiVersion")
    """Always this."""
    kind: Literal["Freeze"]
    """Always this."""
    metadata: PlatformMetadata
    """Which freeze this is; names are never used twice."""
    spec: FreezeManifestSpec
    """When, and where."""


ModuleName = Annotated[str, Field(pattern=r"^\w[\w.-]*(/\w[\w.-]*)*$", max_length=200)]


class PolicySetManifestSpec(Manifest):
    """The policies: in a folder, or written here."""

    directory: str = Field(default="", max_length=300)
    """The folder with `*.rego` files, relative to this file."""
    modules: dict[ModuleName, str] = Field(default={}, max_length=200)
    """File name to content, as `bond export --policies` writes them; or name a folder with `directory`."""


class PolicySetManifest(Manifest):
    """The organisation's policies. The platform has one set in force, so there is one such manifest."""

    api_version: Literal["bondstone.dev/v1"] = Field(alias="apiVersion")
    """Always this."""
    kind: Literal["PolicySet"]
    """Always this."""
    metadata: PlatformMetadata
    """What the set is called."""
    spec: PolicySetManifestSpec
    """Where its files are."""


class PromiseReferenceMetadata(Manifest):
    """Which promise."""

    name: Name
    """Its name."""
    version: SemVer
    """Its version, exact."""


class PromiseReferenceSpec(Manifest):
    """Where the promise is."""

    directory: str = Field(default="", max_length=300)
    """Its folder, relative to this file. Without it the version must be published already."""


class PromiseReference(Manifest):
    """A version of a promise that must be in the catalogue."""

    api_version: Literal["bondstone.dev/v1"] = Field(alias="apiVersion")
    """Always this."""
    kind: Literal["PromiseReference"]
    """Always this."""
    metadata: PromiseReferenceMetadata
    """Which one."""
    spec: PromiseReferenceSpec = PromiseReferenceSpec()
    """Where it is."""
