"""The manifest of a promise: `promise.yaml`, as `design/promise` describes it."""

from __future__ import annotations

import re
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, Field, model_validator
from pydantic_core import PydanticCustomError
from semver import Version

from bondstone.base.models import Manifest
from bondstone.base.names import DEFAULT_POOL, LABEL_KEY_PATTERN, NAME_PATTERN

API_VERSION: Final = "bondstone.dev/v1"

_DURATION = re.compile(r"(?:(\d{1,6})d)?(?:(\d{1,6})h)?(?:(\d{1,6})m)?(?:(\d{1,6})s)?")
_RANGE_PART = re.compile(r"(>=|<=|>|<|==|=|!=|\^|~)?\s*\d+(\.\d+){0,2}(-[0-9A-Za-z.-]+)?")
MAX_SECONDS: Final = 366 * 86400


def seconds(text: str) -> int:
    """Seconds of a duration as people write it: `90s`, `30m`, `1h30m`, `7d`; raises `ValueError` in words."""
    match = _DURATION.fullmatch(text)
    if not text or match is None:
        raise ValueError(f"{text!r} is not a duration; write it as in 90s, 30m, 1h30m or 7d")
    total = sum(int(part or 0) * unit for part, unit in zip(match.groups(), (86400, 3600, 60, 1), strict=True))
    if not 0 < total <= MAX_SECONDS:
        raise ValueError(f"{text!r} must be more than 0 and at most a year")
    return total


def _duration(text: str) -> str:
    try:
        seconds(text)
    except ValueError as error:
        raise PydanticCustomError("duration", "{words}", {"words": str(error)}) from error
    return text


def _version(text: str) -> str:
    try:
        Version.parse(text)
    except ValueError as error:
        raise PydanticCustomError(
            "version", "{text} is not a version; write MAJOR.MINOR.PATCH, as in 1.4.0", {"text": repr(text)}
        ) from error
    return text


def _version_range(text: str) -> str:
    parts = re.split(r"[\s,]+", re.sub(r"(>=|<=|>|<|==|=|!=|\^|~)\s+", r"\1", text.strip()))
    if not all(_RANGE_PART.fullmatch(part) for part in parts):
        raise PydanticCustomError(
            "version_range", "{text} is not a range of versions; write it as in >=1.0 <2", {"text": repr(text)}
        )
    return text


Name = Annotated[str, Field(pattern=NAME_PATTERN)]
Duration = Annotated[str, AfterValidator(_duration)]
SemVer = Annotated[str, AfterValidator(_version)]
VersionRange = Annotated[str, AfterValidator(_version_range)]
LabelKey = Annotated[str, Field(pattern=LABEL_KEY_PATTERN)]


class Metadata(Manifest):
    """Which revision of which promise this is, and whose."""

    name: Name
    """What people request: `postgres`."""
    version: SemVer
    """Semantic version; published once, never changed."""
    title: str = Field(default="", max_length=200)
    """What people read instead of the name."""
    owner: str = Field(default="", max_length=200)
    """The team that answers for the promise."""
    labels: dict[LabelKey, str] = {}
    """Of the promise, for catalogues; a service has its own."""


class OutputSpec(Manifest):
    """One thing a service of the promise gives."""

    type: Literal["string", "number", "integer", "boolean", "array", "object", "any"] = "string"
    """As JSON Schema has it; what the value must fit. `any` fits every value."""
    value: Any
    """A template."""
    secret: bool = False
    """Kept in the secret store; listings hold a reference."""
    description: str = ""
    """For whoever reads the output."""


class Requirement(Manifest):
    """A part: a service of another promise that a service of this one is made of, or shares."""

    promise: Name
    """Its name."""
    version: VersionRange = ">=0"
    """Versions that will do."""
    alias: Name | None = Field(default=None, alias="as")
    """What expressions call it: `requires.<as>.outputs.<name>`. Default: the promise's name."""
    inputs: dict[str, Any] = {}
    """Inputs of the part that is made; strings may hold `${…}`."""
    bind: str = Field(default="", max_length=200)
    """`TEAM/NAME` of a service that exists, to share it; a template. Without it a part is made."""
    service: str = Field(default="", max_length=200)
    """`TEAM/NAME` of the part that is made; a template. Default: `<team>/<name>-<as>` of the service."""
    adopted: Literal["release", "decommission"] = "release"
    """What becomes of a part at its parent's end when it existed before and was given to the parent."""
    timeout: Duration = "24h"
    """Longest time for one attempt to wait for the part's operation."""


STEP_KEYS: Final = ("id", "needs", "when", "pool", "timeout", "description")
"""Keys of a step beside its one executor section."""


class Step(Manifest):
    """One unit of work, carried out by one executor.

    In YAML the executor is the key of the section (`terraform: {…}`); here it is `executor` and `section`.
    """

    id: Name
    """Names the step in expressions, records and state logs."""
    needs: tuple[Name, ...] = ()
    """Steps that run before it, and whose outputs its section may use."""
    when: str | bool = True
    """An expression that gives true or false; it sees inputs, `service.team` and `service.name` only."""
    pool: str = DEFAULT_POOL
    """A template that names the workers to use; it sees inputs, `service.team` and `service.name` only."""
    timeout: Duration = "1h"
    """Longest time for one attempt of one activity."""
    description: str = ""
    """For people."""
    executor: str
    section: Any
    """As written; the executor's own model validates it."""

    @model_validator(mode="before")
    @classmethod
    def _find_section(cls, data: Any) -> Any:
        if not isinstance(data, dict) or "executor" in data:
            return data
        kinds = [key for key in data if key not in STEP_KEYS]
        if len(kinds) != 1:
            raise PydanticCustomError(
                "step_section", "a step has exactly one executor section, as in terraform: {{…}}"
            )
        rest = {key: value for key, value in data.items() if key in STEP_KEYS}
        return {**rest, "executor": kinds[0], "section": data[kinds[0]]}

    @property
    def timeout_seconds(self) -> int:
        """`timeout` in seconds."""
        return seconds(self.timeout)


class ApprovalRule(Manifest):
    """When people must be asked before a plan is applied."""

    when: str | bool = True
    """An expression over `plan.changes` (maps with action, address, type) beside inputs, service and context."""
    roles: tuple[str, ...] = Field(min_length=1)
    """Roles whose members may approve: one of them is enough."""
    count: int = Field(default=1, ge=1, le=20)
    """How many people of these roles."""
    allow_requester: bool = False
    """Whether who asked for the operation may be one of them."""
    expires: Duration | None = None
    """An approval that is not given within this time is a rejection; without it the operation waits for ever."""


class Probe(Manifest):
    """One look at whether a service works: exactly one of `http`, `tcp` and `expression`."""

    http: str | None = None
    """A template that gives a URL."""
    tcp: str | None = None
    """A template that gives `host:port`."""
    expression: str | None = None
    """An expression that gives true or false."""
    expect: int | None = Field(default=None, ge=100, le=599)
    """HTTP status that counts as healthy; default any 2xx."""
    within: Duration = "2m"
    """Longest time until it passes."""
    every: Duration = "5s"
    """Time between two looks."""

    @model_validator(mode="after")
    def _exactly_one(self) -> Probe:
        kinds = [kind for kind in ("http", "tcp", "expression") if getattr(self, kind) is not None]
        if len(kinds) != 1:
            raise PydanticCustomError("probe", "a health entry has exactly one of http, tcp and expression")
        if self.expect is not None and kinds != ["http"]:
            raise PydanticCustomError("probe", "expect goes with http only")
        return self


class PatchSpec(Manifest):
    """How a patch differs from a provision, where it does."""

    before: tuple[Name, ...] = ()
    """Steps to run first, as a backup; they run at no other time."""
    after: tuple[Name, ...] = ()
    """Steps to run last, when all else succeeded; they run at no other time."""
    health: tuple[Probe, ...] = ()
    """What this operation looks at in place of `spec.health`; going back looks at the old `spec.health`."""
    on_failure: Literal["rollback", "hold"] = "rollback"
    """Go back to the revision and inputs from before, or leave everything for a person."""


class UpgradeSpec(PatchSpec):
    """From where and how a service comes to this revision across a minor or major version."""

    source: VersionRange | None = Field(default=None, alias="from")
    """Versions that this one can be reached from; every one when it is not given."""
    inputs: dict[str, Any] = {}
    """Templates over the old inputs that give new ones."""
    approval: bool = True
    """A major upgrade asks people first."""


class DecommissionSpec(Manifest):
    """What happens before and after everything is taken down."""

    retain: Duration | None = None
    """How long a decommission waits before it destroys anything; until then it can be cancelled."""
    final: tuple[Name, ...] = ()
    """Steps to run before everything is destroyed, as a last backup; they run at no other time."""
    state: Literal["archive", "erase"] = "archive"
    """What becomes of the last Terraform state of each step; one that still holds something is always archived."""
    secrets: Literal["erase", "archive"] = "erase"
    """What becomes of the service's secrets, and of the saved plans, which hold them too."""


class ReconcileSpec(Manifest):
    """How often drift is looked for, and whether it is repaired."""

    every: Duration = "24h"
    """How often a service looks for drift by itself."""
    repair: bool = False
    """Undo the drift that was found."""


class PromiseSpec(Manifest):
    """What the promise offers and how it is kept."""

    description: str = ""
    """What a service of it is, for whoever asks for one."""
    inputs: dict[str, Any] = {"type": "object", "additionalProperties": False}
    """JSON Schema 2020-12."""
    outputs: dict[str, OutputSpec] = {}
    """What a service gives, by name."""
    requires: tuple[Requirement, ...] = Field(default=(), max_length=100)
    """Its parts: services of other promises that it is made of, or shares."""
    steps: tuple[Step, ...] = Field(min_length=1, max_length=200)
    """What fulfils it, in the order of `needs`. Behind those that are written comes one for each part."""
    policies: tuple[str, ...] = ()
    """Rego files, or folders of them; the organisation's own always apply besides."""
    approval: tuple[ApprovalRule, ...] = ()
    """When people are asked before a plan is applied."""
    health: tuple[Probe, ...] = ()
    """How to tell that a service works."""
    patch: PatchSpec | None = None
    """How a patch differs from a provision."""
    upgrade: UpgradeSpec | None = None
    """How a service comes to this revision from another minor or major version."""
    decommission: DecommissionSpec | None = None
    """How a service ends."""
    reconcile: ReconcileSpec | None = None
    """How and when drift is checked; without it only on request."""


class Promise(Manifest):
    """One revision of a promise as its author wrote it."""

    api_version: Literal["bondstone.dev/v1"] = Field(alias="apiVersion")
    """Always this."""
    kind: Literal["Promise"]
    """Always this."""
    metadata: Metadata
    """Which revision of which promise this is."""
    spec: PromiseSpec
    """What it offers and how it is kept."""

    @property
    def name(self) -> str:
        """Its name: `postgres`."""
        return self.metadata.name

    @property
    def version(self) -> str:
        """Its version: `1.4.0`."""
        return self.metadata.version

    def step(self, step: str) -> Step:
        """The step of an id; raises `KeyError`."""
        for candidate in self.spec.steps:
            if candidate.id == step:
                return candidate
        raise KeyError(step)
