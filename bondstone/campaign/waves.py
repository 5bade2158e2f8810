"""From a campaign and a fleet to its targets by wave, and why each service is or is not one."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from semver import Version

from bondstone.base.errors import BondError
from bondstone.campaign.checks import is_patch
from bondstone.campaign.document import Flaw
from bondstone.campaign.fleet import FleetService, matcher
from bondstone.campaign.trees import Trees, parts_first
from bondstone.model.campaign.manifest import (
    LABEL_ORDER,
    LATEST,
    LATEST_PATCH,
    MAX_TARGETS,
    Campaign,
    Gate,
    StrategySpec,
    Wave,
    share_of,
)
from bondstone.model.promise import seconds
from bondstone.model.service import OperationKind, Phase
from bondstone.promise.versions import in_range
from bondstone.promise.versions import target as newest

EXAMPLES: Final = 5
"""How many services a message names."""

Status = Literal["active", "deprecated", "yanked"]

_LEAVING: Final = {
    Phase.DECOMMISSIONING: "it is being decommissioned",
    Phase.DECOMMISSIONED: "it is decommissioned",
    Phase.ABANDONED: "it is abandoned",
}


@dataclass(frozen=True, slots=True)
class CampaignTarget:
    """One service that the campaign works on."""

    service: str
    """`team/name`."""
    promise: str
    version: str
    """What it stands on."""
    to: str
    """The version it goes to; empty when the operation moves none."""
    wave: int
    group: str
    """Its value of the label of `per`; empty without."""
    pool: str
    why: str
    """Why it was selected."""
    parts: tuple[str, ...] = ()
    """Of a tree: the parts that were made for it, and theirs."""

    @property
    def team(self) -> str:
        """Whose it is."""
        return self.service.partition("/")[0]


@dataclass(frozen=True, slots=True)
class Left:
    """One service of the fleet that is no target, and why."""

    service: str
    kind: Literal["skipped", "not-selected"]
    """`skipped`: it was selected, and there is nothing to do, or no wave takes it."""
    reason: str


@dataclass(frozen=True, slots=True)
class WaveNumbers:
    """One wave, in numbers."""

    name: str
    size: int
    max_failures: int | None
    """Of the wave: its own, or the campaign's where its scope is the wave; the lower where it has both."""
    max_concurrent: int | None
    soak_seconds: int
    gate: Gate | None


@dataclass(frozen=True, slots=True)
class Partition:
    """The targets of a campaign, wave after wave, each wave in the campaign's order."""

    targets: tuple[CampaignTarget, ...]
    waves: tuple[WaveNumbers, ...]
    max_failures: int | None
    """Of the whole campaign; None where the scope is the wave."""
    left: tuple[Left, ...]
    """Every other service of the fleet, by id."""
    flaws: tuple[Flaw, ...]
    """Why the campaign must not start; `Read.refuse` makes an error of them."""


COMPLIANT: Final = "compliant"
UNMATCHED: Final = "no wave takes it"


def partition(
    campaign: Campaign,
    fleet: Iterable[FleetService],
    published: Mapping[str, Status],
    *,
    name: str = "",
    whole: Iterable[FleetService] | None = None,
) -> Partition:
    """Choose the targets of a campaign and put them into its waves.

    Shares and percents are of the targets, which compliant services are not. How the fleet is listed makes no
    difference.

    Args:
        campaign: Read without problems.
        fleet: Every service there is; each once.
        published: Versions of the campaign's promise; may be empty when the operation moves none.
        name: Of the campaign, which a random order is derived from; default: the one in its file.
        whole: Every service there is, where `fleet` is only some of them: the parts of trees are among these.
    """
    spec, services = campaign.spec, tuple(fleet)
    flaws = list(_goal_flaws(spec, published))
    left: list[Left] = []
    chosen: list[tuple[FleetService, str, str]] = []
    select = _Selection(spec, published)
    for service in services:
        verdict = select.ask(service)
        if isinstance(verdict, Left):
            left.append(verdict)
        else:
            chosen.append((service, *verdict))
    flaws += _selection_flaws(spec, services, chosen, left)
    chosen.sort(key=_order(campaign, name or campaign.metadata.name))
    trees = Trees(services if whole is None else whole)
    if spec.unit == "service":
        chosen, going = _among_parts(spec, chosen, trees)
        left += going
    limit = spec.select.max if spec.select.max is not None else len(chosen)
    left += [Left(it.id, "not-selected", f"past the first {limit} (select.max)") for it, _, _ in chosen[limit:]]
    numbers = _assign(spec.waves, [service for service, _, _ in chosen[:limit]])
    targets = [
        _target(
            it,
            trees.below(it.id) if spec.unit == "tree" else (),
            to=to,
            wave=wave,
            group=_group(spec, it),
            why=why,
        )
        for (it, why, to), wave in zip(chosen, numbers, strict=False)
        if wave is not None
    ]
    unmatched = [it.id for (it, _, _), wave in zip(chosen, numbers, strict=False) if wave is None]
    if unmatched and spec.unmatched == "error":
        flaws.append(
            Flaw(
                ("spec", "waves"),
                f"no wave takes {_counted(len(unmatched))}: {_examples(unmatched)}",
                "end with a wave that says rest: true, or write unmatched: skip",
            )
        )
    left += [Left(service, "skipped", UNMATCHED) for service in unmatched]
    targets.sort(key=lambda target: target.wave)
    sizes = [sum(target.wave == index for target in targets) for index in range(len(spec.waves))]
    compliant = sum(item.reason == COMPLIANT for item in left)
    flaws += _size_flaws(spec, len(targets), len(targets) + compliant)
    return Partition(
        targets=tuple(targets),
        waves=tuple(_wave(spec, wave, size) for wave, size in zip(spec.waves, sizes, strict=True)),
        max_failures=share_of(spec.budget.max_failures, len(targets)) if spec.budget.scope == "campaign" else None,
        left=tuple(sorted(left, key=lambda item: item.service)),
        flaws=tuple(flaws),
    )


# Selection -----------------------------------------------------------------------------------------------


class _Selection:
    """Whether a service is a target, and where it goes."""

    def __init__(self, spec: StrategySpec, published: Mapping[str, Status]) -> None:
        self._spec = spec
        self._active = tuple(version for version, status in published.items() if status == "active")
        self._include = frozenset(spec.select.include)
        self._exclude = frozenset(spec.select.exclude)
        self._where = matcher(spec.select.where) if spec.select.where.strip() else None

    def ask(self, service: FleetService) -> tuple[str, str] | Left:
        """Why it is a target and the version it goes to; or why it is none."""
        reason = self._unfit(service)
        if reason:
            return Left(service.id, "not-selected", reason)
        why, reason = self._chosen(service)
        if reason:
            return Left(service.id, "not-selected", reason)
        if self._spec.operation not in {"patch", "upgrade"}:
            return why, ""
        goal = self._goal(service)
        return goal if isinstance(goal, Left) else (why, goal)

    def _unfit(self, service: FleetService) -> str:
        spec = self._spec
        if spec.promise is not None and service.promise != spec.promise:
            return f"it is of the promise {service.promise}"
        for phase, reason in _LEAVING.items():
            if service.phase == phase:
                return reason
        if not service.version:
            return "it was never provisioned"
        if spec.source is not None and not in_range(service.version, spec.source):
            return f"it is at {service.version}, which is not in {spec.source!r}"
        if spec.unit == "tree" and service.parent:
            return f"it is a part of {service.parent}, and one target with it"
        return ""

    def _chosen(self, service: FleetService) -> tuple[str, str]:
        """Why it is selected, or why it is not; one of the two."""
        if service.id in self._exclude:
            return "", "it is named in select.exclude"
        if service.id in self._include:
            return "it is named in select.include", ""
        if self._where is not None:
            reason = self._where(service)
            return ("", reason) if reason else ("`where` is true of it", "")
        if self._include:
            return "", "it is not named in select.include"
        return f"it is {'of the promise ' + self._spec.promise if self._spec.promise else 'a service'}", ""

    def _goal(self, service: FleetService) -> str | Left:
        """The version it goes to, or why it goes nowhere."""
        to, patch = self._spec.to or "", self._spec.operation == "patch"
        if to in {LATEST_PATCH, LATEST}:
            kind = OperationKind.PATCH if patch else OperationKind.UPGRADE
            try:
                return newest(
                    kind, promise=service.promise, current=service.version, wanted="", available=self._active
                )
            except BondError:
                return Left(service.id, "skipped", COMPLIANT)
        here, goal = Version.parse(service.version), Version.parse(to)
        if here == goal:
            return Left(service.id, "skipped", COMPLIANT)
        if here > goal:
            return Left(service.id, "not-selected", f"it is at {service.version}, which is newer than {to}")
        if is_patch(here, goal) is not patch:
            words = "an upgrade, not a patch" if patch else "a patch, not an upgrade"
            return Left(service.id, "not-selected", f"{service.version} to {to} is {words}")
        return to


def _among_parts(
    spec: StrategySpec, chosen: list[tuple[FleetService, str, str]], trees: Trees
) -> tuple[list[tuple[FleetService, str, str]], list[Left]]:
    """Parts before parents; a decommission goes the other way, and parts go with the parent that they are of."""
    if spec.operation != "decommission":
        return parts_first(chosen, lambda item: item[0]), []
    taken = {part.id for service, _, _ in chosen for part in trees.below(service.id)}
    going = [
        Left(it.id, "skipped", f"it is a part of {it.parent}, and goes with it")
        for it, _, _ in chosen
        if it.id in taken
    ]
    staying = [item for item in chosen if item[0].id not in taken]
    return parts_first(staying, lambda item: item[0], parents_first=True), going


def _target(
    service: FleetService, parts: Sequence[FleetService], *, to: str, wave: int, group: str, why: str
) -> CampaignTarget:
    pools = {pool for each in (service, *parts) for pool in each.pool.split(",") if pool}
    return CampaignTarget(
        service=service.id,
        promise=service.promise,
        version=service.version,
        to=to,
        wave=wave,
        group=group,
        pool=",".join(sorted(pools)),
        why=why,
        parts=tuple(part.id for part in parts),
    )


def _order(campaign: Campaign, name: str) -> Callable[[tuple[FleetService, str, str]], tuple[object, ...]]:
    """The key of the campaign's order; the same on every machine."""
    order = campaign.spec.order
    if order == "name":
        return lambda item: (item[0].id,)
    if order.startswith(LABEL_ORDER):
        key = order.removeprefix(LABEL_ORDER)
        return lambda item: (key not in item[0].labels, item[0].labels.get(key, ""), item[0].id)
    return lambda item: (hashlib.sha256(f"{name}\n{item[0].id}".encode()).digest(), item[0].id)


def _group(spec: StrategySpec, service: FleetService) -> str:
    return service.labels.get(spec.per.label, "") if spec.per else ""


# Waves ---------------------------------------------------------------------------------------------------


def _assign(waves: Sequence[Wave], services: Sequence[FleetService]) -> list[int | None]:
    """The wave of each service, in their order: the first wave that takes it; None where none does."""
    taken: list[int | None] = [None] * len(services)
    left = list(range(len(services)))
    for number, wave in enumerate(waves):
        if wave.where is not None:
            why_not = matcher(wave.where)
            takes = [index for index in left if not why_not(services[index])]
        elif wave.rest:
            takes = left
        else:
            share = math.ceil((wave.percent or 0) * len(services) / 100)
            takes = left[: wave.count if wave.count is not None else share]
        for index in takes:
            taken[index] = number
        left = [index for index in left if taken[index] is None]
    return taken


def _wave(spec: StrategySpec, wave: Wave, size: int) -> WaveNumbers:
    budgets = [wave.max_failures] if wave.max_failures is not None else []
    if spec.budget.scope == "wave":
        budgets.append(spec.budget.max_failures)
    return WaveNumbers(
        name=wave.name,
        size=size,
        max_failures=min((share_of(budget, size) for budget in budgets), default=None),
        max_concurrent=wave.max_concurrent,
        soak_seconds=seconds(wave.soak) if wave.soak else 0,
        gate=wave.gate,
    )


# Flaws ---------------------------------------------------------------------------------------------------


def _goal_flaws(spec: StrategySpec, published: Mapping[str, Status]) -> Iterator[Flaw]:
    """A version that nobody can go to."""
    if spec.to is None:
        return
    status = published.get(spec.to)
    if not published:
        yield Flaw(("spec", "promise"), f"there is no promise {spec.promise!r}", "`bond promise list` lists them")
    elif spec.to in {LATEST_PATCH, LATEST}:
        return
    elif status is None:
        latest = max(published, key=Version.parse)
        yield Flaw(("spec", "to"), f"{spec.promise}@{spec.to} is not published", f"the newest version is {latest}")
    elif status == "yanked":
        yield Flaw(("spec", "to"), f"{spec.promise}@{spec.to} is yanked", "nothing may move to it; choose another")


def _selection_flaws(
    spec: StrategySpec,
    services: Sequence[FleetService],
    chosen: Sequence[tuple[FleetService, str, str]],
    left: Sequence[Left],
) -> Iterator[Flaw]:
    """Names of nothing, and a campaign that would touch nothing at all."""
    reasons = {item.service: item for item in left}
    known = {service.id for service in services}
    for index, service in enumerate(spec.select.include):
        if service not in known:
            yield Flaw(
                ("spec", "select", "include", index), f"there is no service {service}", "`bond service list`"
            )
        elif (why := reasons.get(service)) and why.kind == "not-selected":
            yield Flaw(
                ("spec", "select", "include", index), f"{service} cannot be a target: {why.reason}", "take it out"
            )
    if chosen or any(item.kind == "skipped" for item in left):
        return
    counts: dict[str, int] = {}
    for item in left:
        counts[item.reason] = counts.get(item.reason, 0) + 1
    common = sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:3]
    hint = "; ".join(f"{_counted(count)}: {reason}" for reason, count in common)
    yield Flaw(("spec", "select"), "the campaign selects no service", hint or "there is no service yet")


def _size_flaws(spec: StrategySpec, targets: int, selected: int) -> Iterator[Flaw]:
    failures = spec.budget.max_failures
    if targets > MAX_TARGETS:
        yield Flaw(("spec", "select"), f"{targets} targets, and a campaign has at most {MAX_TARGETS}", "add `max`")
    if selected and isinstance(failures, int) and failures >= selected:
        yield Flaw(
            ("spec", "budget", "max_failures"),
            f"{failures} failures of {_counted(selected)} are never exceeded",
            "a budget is broken when failures exceed it; to continue always, write on_failure: continue",
        )


def _counted(count: int) -> str:
    return f"{count} service{'' if count == 1 else 's'}"


def _examples(services: Sequence[str]) -> str:
    more = len(services) - EXAMPLES
    return ", ".join(services[:EXAMPLES]) + (f" and {more} more" if more > 0 else "")
