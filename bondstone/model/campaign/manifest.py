"""The manifests of campaigns: kind `Campaign`, one operation over a fleet, and `Strategy`, its reusable half."""

from __future__ import annotations

import re
from collections.abc import Callable
from fractions import Fraction
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, BeforeValidator, Field, PlainValidator
from pydantic_core import PydanticCustomError
from semver import Version

from bondstone.base.errors import InvalidInput
from bondstone.base.models import Manifest
from bondstone.base.names import LABEL_KEY_PATTERN, parse_service
from bondstone.model.promise import Duration, Name, VersionRange

Operation = Literal["patch", "upgrade", "update", "reconcile", "rollback", "decommission"]

LATEST_PATCH: Final = "latest-patch"
LATEST: Final = "latest"
LABEL_ORDER: Final = "label:"
MAX_WAVES: Final = 100
MAX_NAMED: Final = 10_000
"""Most services that `include` or `exclude` may name."""
MAX_WINDOWS: Final = 20
MAX_CONCURRENT: Final = 10_000
MAX_TARGETS: Final = 100_000
"""Most targets of one campaign."""

_SHARE = re.compile(r"(\d{1,3}(?:\.\d{1,2})?)%")
_RATE = re.compile(r"(\d{1,6})/([smh])")
_RATE_SECONDS: Final = {"s": 1, "m": 60, "h": 3600}
_WHOLE: Final = 100


def share_of(amount: int | str, targets: int) -> int:
    """A number of targets, or a share of them rounded down: 2% of 149 is 2."""
    if isinstance(amount, int):
        return amount
    return int(Fraction(amount.rstrip("%")) * targets / _WHOLE)


def start_rate_of(text: str) -> tuple[int, int]:
    """Starts and the seconds they are for: `60/m` is (60, 60)."""
    count, unit = text.split("/")
    return int(count), _RATE_SECONDS[unit]


def _amount(value: Any) -> int | str:
    if type(value) is int:
        if value < 0:
            raise PydanticCustomError("amount", "{value} is negative", {"value": value})
        return value
    match = _SHARE.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise PydanticCustomError(
            "amount", "{value} is neither a number of targets nor a share; write 3, or 2%", {"value": repr(value)}
        )
    if Fraction(match[1]) >= _WHOLE:
        raise PydanticCustomError(
            "amount",
            "{value} of the targets is never exceeded; to continue always, write on_failure: continue",
            {"value": value},
        )
    return str(value)


def _matching(words: str, fits: Callable[[str], Any]) -> AfterValidator:
    """A text that fits, or the words for one that does not."""

    def check(text: str) -> str:
        try:
            good = fits(text)
        except (ValueError, InvalidInput):
            good = None
        if not good:
            raise PydanticCustomError("form", "{value} {words}", {"value": repr(text), "words": words})
        return text

    return AfterValidator(check)


def _text(value: Any) -> Any:
    """What YAML took for a number, as it was meant."""
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else value


def _is_label(key: str) -> bool:
    return re.fullmatch(LABEL_KEY_PATTERN, key) is not None


def _is_order(text: str) -> bool:
    return text in {"spread", "name"} or (text.startswith(LABEL_ORDER) and _is_label(text[len(LABEL_ORDER) :]))


def _is_goal(text: str) -> bool:
    return text in {LATEST_PATCH, LATEST} or Version.is_valid(text)


def _is_rate(text: str) -> bool:
    match = _RATE.fullmatch(text)
    return match is not None and int(match[1]) > 0


Amount = Annotated[int | str, PlainValidator(_amount)]
Concurrency = Annotated[int, Field(strict=True, ge=1, le=MAX_CONCURRENT)]
Number = Annotated[int, Field(strict=True, ge=1, le=MAX_TARGETS)]
Flag = Annotated[bool, Field(strict=True)]
Reason = Annotated[str, Field(max_length=1000), _matching("does not say why", str.strip)]
Goal = Annotated[
    str, BeforeValidator(_text), _matching(f"is not a version; write 1.4.2, {LATEST_PATCH} or {LATEST}", _is_goal)
]
Label = Annotated[str, _matching("is not the key of a label; write it as in region", _is_label)]
Order = Annotated[str, _matching("is not an order; write spread, name or label:KEY", _is_order)]
Rate = Annotated[str, _matching("is not a rate; write it as in 60/m (s, m or h)", _is_rate)]
ServiceName = Annotated[str, _matching("is not a service; write TEAM/NAME", parse_service)]


class CampaignMetadata(Manifest):
    """Which campaign this is, whose, and why."""

    name: Name
    """Names the campaign: its workflow is `campaign/<name>`."""
    owner: str = Field(default="", max_length=200)
    """The team that answers for it."""
    reason: Reason
    """Why it is done: what an auditor reads first."""
    change: str = Field(default="", max_length=200)
    """The number of the change, where changes have one; freezes may exempt its class."""


class StrategyMetadata(Manifest):
    """Which strategy this is, and whose."""

    name: Name
    """Names the strategy."""
    owner: str = Field(default="", max_length=200)
    """The team that answers for it."""
    reason: str = Field(default="", max_length=1000)
    """Why the campaigns that a schedule starts from it are done; needed for a schedule."""
    change: str = Field(default="", max_length=200)
    """The number of the standing change, where changes have one."""


class GateApproval(Manifest):
    """The approvals that open a gate."""

    roles: tuple[str, ...] = Field(min_length=1, max_length=20)
    """Roles whose members may approve: one of them is enough."""
    count: Annotated[int, Field(strict=True, ge=1, le=20)] = 1
    """How many people of these roles."""
    expires: Duration | None = None
    """How long it waits for them; then the campaign ends as if the gate was rejected."""


class Gate(Manifest):
    """What a wave waits for before it starts; looked at after the soak of the wave before it."""

    approval: GateApproval
    """The approval of the campaign's selected targets."""


class Wave(Manifest):
    """Some of the targets; exactly one of `count`, `percent`, `where` and `rest` says which."""

    name: Name
    """Names the wave in reports and verbs."""
    count: Number | None = None
    """So many of the targets that are left, in the campaign's order."""
    percent: Annotated[int, Field(strict=True, ge=1, le=100)] | None = None
    """So many percent of *all* targets, rounded up, of those that are left: at least 1 when any are."""
    where: str | None = None
    """Those left for which the expression is true."""
    rest: Flag = False
    """All that are left; only the last wave."""
    max_failures: Amount | None = None
    """A budget of its own, beside `budget`: a number, or a share of its targets rounded down; 0 is strict."""
    max_concurrent: Concurrency | None = None
    """Targets at once in this wave; can only lower the campaign's."""
    soak: Duration | None = None
    """How long to wait after the wave's last success; then its targets' health is probed once more."""
    gate: Gate | None = None
    """What it waits for before it starts."""


class Select(Manifest):
    """Which services are targets: of those of `promise` and `from`, these."""

    where: str = ""
    """An expression that is true of a target; one that cannot be evaluated (a label is not there) is not true."""
    include: tuple[ServiceName, ...] = Field(default=(), max_length=MAX_NAMED)
    """Services by name, whatever `where` says of them; without `where`, only these."""
    exclude: tuple[ServiceName, ...] = Field(default=(), max_length=MAX_NAMED)
    """Services that are no targets, whatever else says so."""
    max: Number | None = None
    """At most so many targets: the first in the campaign's order."""
    everything: Flag = False
    """Every service of the platform, of every promise; a reconcile, rollback or decommission of all says so."""


class Per(Manifest):
    """A limit for each value of a label; targets without the label share one."""

    label: Label
    """The label's key, as `region`."""
    max_concurrent: Concurrency
    """Targets at once for each value."""


class Budget(Manifest):
    """How much may fail: outcomes failed, timed-out and (unless skipped) unreachable; broken when *exceeded*."""

    max_failures: Amount = 0
    """A number, or a share of the scope's targets rounded down. The first failure breaks a budget of 0."""
    scope: Literal["campaign", "wave"] = "campaign"
    """Whose targets and failures are counted: of the whole campaign, or of each wave for itself."""
    overshoot: Literal["allow", "strict"] = "allow"
    """`strict` starts a target only while failed + running is at most `max_failures`."""
    consecutive: Number | None = None
    """So many failures with no success between them break the budget too."""


class TargetRules(Manifest):
    """What one target may take."""

    timeout: Duration = "2h"
    """Longest time from start to reply, a wait for people's approval included; then it is `timed-out`."""
    retries: Annotated[int, Field(strict=True, ge=0, le=10)] = 0
    """So many more attempts before it counts as failed."""
    backoff: Duration = "30s"
    """How long to wait before the first of these; twice as long before each next one, at most 1h."""
    busy: Literal["wait", "skip", "fail"] = "wait"
    """What to do about a service that is in the middle of another operation."""
    unreachable: Literal["fail", "skip"] = "fail"
    """What a service that does not answer, or whose pool has no worker, counts as."""


class Window(Manifest):
    """A time that comes again and again."""

    cron: str = Field(max_length=200)
    """When it begins, in local time: five fields, as in `0 22 * * MON-FRI`."""
    duration: Duration
    """How long it is, in elapsed time; at most 31d."""
    time_zone: str = Field(max_length=100)
    """An IANA zone, as `Europe/London`."""


class WindowsSpec(Manifest):
    """When targets may start."""

    allow: tuple[Window, ...] = Field(default=(), max_length=MAX_WINDOWS)
    """Targets start only inside one of these; any time when there is none."""
    deny: tuple[Window, ...] = Field(default=(), max_length=MAX_WINDOWS)
    """Targets never start inside one of these."""
    cutoff: Duration | None = None
    """No target starts in this time before the end of an open period."""
    end: Literal["finish", "cancel"] = "finish"
    """What becomes of targets that still run when an open period ends."""


class StrategySpec(Manifest):
    """How a fleet is worked through; and, for a schedule, what is done and to which services."""

    operation: Operation | None = None
    """What is done to each target."""
    promise: Name | None = None
    """The promise whose services are targets; needed for patch, upgrade and update."""
    to: Goal | None = None
    """For patch and upgrade: a version, `latest-patch` (of a patch) or `latest` (of an upgrade)."""
    source: VersionRange | None = Field(default=None, alias="from")
    """Versions that targets stand on; every one when it is not given."""
    inputs: dict[str, Any] = {}
    """For update: what to change of the inputs, with null to go back to the default."""
    repair: Flag = False
    """For reconcile: undo the drift that is found."""
    select: Select = Select()
    """Which services are targets."""
    unit: Literal["service", "tree"] = "service"
    """What one target is: a service, parts like all others; or a service with the parts that were made for it."""
    waves: tuple[Wave, ...] = Field(min_length=1, max_length=MAX_WAVES)
    """The targets in groups, one group after the other. A target is in the first wave that takes it."""
    unmatched: Literal["error", "skip"] = "error"
    """What targets that no wave takes are: an error before anything starts, or skipped."""
    order: Order = "spread"
    """`spread` (a shuffle that the campaign's name decides), `name`, or `label:KEY`."""
    max_concurrent: Concurrency = 10
    """Targets at once in the whole campaign."""
    per: Per | None = None
    """Targets at once for each value of a label."""
    start_rate: Rate | None = None
    """Most starts in a time, as `60/m`."""
    budget: Budget = Budget()
    """How much may fail."""
    on_failure: Literal["pause", "continue", "abort", "rollback_target", "rollback_wave"] = "pause"
    """What a broken budget does. Nothing new starts and running ones finish, but with `continue`."""
    target: TargetRules = TargetRules()
    """What one target may take."""
    windows: WindowsSpec = WindowsSpec()
    """When targets may start."""


class CampaignSpec(StrategySpec):
    """What is done, to which services, and how."""

    operation: Operation
    """What is done to each target."""


class Strategy(Manifest):
    """The reusable half of a campaign, as its author wrote it."""

    api_version: Literal["bondstone.dev/v1"] = Field(alias="apiVersion")
    """Always this."""
    kind: Literal["Strategy"]
    """Always this."""
    metadata: StrategyMetadata
    """Which strategy this is, and whose."""
    spec: StrategySpec
    """How a fleet is worked through."""


class Campaign(Manifest):
    """One operation over a selected fleet, as its author wrote it."""

    api_version: Literal["bondstone.dev/v1"] = Field(alias="apiVersion")
    """Always this."""
    kind: Literal["Campaign"]
    """Always this."""
    metadata: CampaignMetadata
    """Which campaign this is, whose, and why."""
    spec: CampaignSpec
    """What is done, to which services, and how."""
