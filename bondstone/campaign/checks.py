"""What must hold of a campaign beyond its shape: each rule yields the mistakes it finds, with their places."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime
from typing import Final

from semver import Version

from bondstone.base.errors import Problem
from bondstone.campaign.fleet import FLEET_TYPES, SCOPE
from bondstone.campaign.windows import CronError, check_cron, never_opens, zone_names
from bondstone.cel.templates import offset_of
from bondstone.documents.yaml_places import Path_, PlacedDocument, did_you_mean
from bondstone.model.campaign.manifest import LATEST, LATEST_PATCH, StrategySpec, Wave, Window
from bondstone.model.promise import seconds
from bondstone.promise.versions import in_range

MAX_WINDOW_SECONDS: Final = 31 * 86400
KINDS: Final = ("count", "percent", "where", "rest")
"""The keys of which a wave has exactly one."""

_WHOLE: Final = 100
_OF_ANY_PROMISE: Final = frozenset({"reconcile", "rollback", "decommission"})
_SPEC: Final[Path_] = ("spec",)
_MANY_PATCHES: Final = 1000


def check_spec(
    document: PlacedDocument, spec: StrategySpec, now: datetime, *, kept: bool = False
) -> Iterator[Problem]:
    """Every mistake beyond the shape.

    Args:
        document: Where everything stands.
        spec: What of it has the right shape.
        now: From when on windows must open.
        kept: It was accepted before: the rules that came later do not bind it.
    """
    yield from _operation(document, spec)
    if not kept:
        yield from _whole_platform(document, spec)
    yield from _versions(document, spec)
    yield from _selection(document, spec)
    yield from _waves(document, spec)
    yield from _limits(document, spec)
    windows = list(_windows(document, spec))
    yield from windows or _openings(document, spec, now)


def written(document: PlacedDocument, path: Path_) -> bool:
    """Whether a key is in the file."""
    return path in document.keys


# What is done --------------------------------------------------------------------------------------------


def _operation(document: PlacedDocument, spec: StrategySpec) -> Iterator[Problem]:
    kind = spec.operation
    if kind is None:
        return
    moves = kind in {"patch", "upgrade"}
    article = "an" if kind.startswith("u") else "a"
    if moves or kind == "update":
        if not written(document, (*_SPEC, "promise")):
            yield document.problem(
                _SPEC, "'promise' is missing in spec", key=True, hint=f"{article} {kind} is of one promise"
            )
    elif written(document, (*_SPEC, "from")) and not written(document, (*_SPEC, "promise")):
        yield document.problem(
            (*_SPEC, "from"), "`from` goes with a promise", key=True, hint="add `promise`, or leave `from` out"
        )
    if moves and not written(document, (*_SPEC, "to")):
        word = LATEST_PATCH if kind == "patch" else LATEST
        yield document.problem(_SPEC, "'to' is missing in spec", key=True, hint=f"write a version, or {word}")
    wanted = {"to": moves, "inputs": kind == "update", "repair": kind == "reconcile"}
    goes_with = {"to": "patch and upgrade", "inputs": "update", "repair": "reconcile"}
    for key, wants in wanted.items():
        if not wants and written(document, (*_SPEC, key)):
            yield document.problem(
                (*_SPEC, key),
                f"{article} {kind} takes no `{key}`",
                key=True,
                hint=f"it goes with {goes_with[key]}",
            )
    yield from _particular(document, spec, kind, article)


def _particular(document: PlacedDocument, spec: StrategySpec, kind: str, article: str) -> Iterator[Problem]:
    """What one operation needs that the others do not."""
    if kind == "update" and not document.data["spec"].get("inputs"):
        yield document.problem(
            (*_SPEC, "inputs"), "an update needs `inputs`", key=True,
            hint="say what to change, as in inputs: {size: large}"
        )  # fmt: skip
    if kind == "decommission" and not (spec.select.where or spec.select.include or spec.select.everything):
        yield document.problem(
            (*_SPEC, "select"), "a decommission must say which services: `select` has neither where nor include",
            key=True, hint="name them in select.include, or choose them by select.where",
        )  # fmt: skip
    if kind not in {"patch", "upgrade", "update"} and spec.on_failure.startswith("rollback"):
        yield document.problem(
            (*_SPEC, "on_failure"),
            f"{article} {kind} cannot be rolled back",
            hint="write pause, continue or abort",
        )


def takes_whole_platform(spec: StrategySpec) -> bool:
    """Whether its selection takes every service of the platform that it does not exclude by name."""
    select = spec.select
    named = any(re.search(rf"\b{name}\b", select.where) for name in FLEET_TYPES)
    return spec.promise is None and not (named or select.include or select.max)


def _whole_platform(document: PlacedDocument, spec: StrategySpec) -> Iterator[Problem]:
    """All services of all promises are taken by those only who say so. A rule that came later than campaigns."""
    kind = spec.operation
    if kind is None:
        return
    article = "an" if kind.startswith("u") else "a"
    if spec.promise is not None or kind not in _OF_ANY_PROMISE:
        if spec.select.everything:
            yield document.problem(
                (*_SPEC, "select", "everything"), f"{article} {kind} of one promise cannot take `everything`",
                key=True, hint="leave `everything` out",
            )  # fmt: skip
        return
    whole = takes_whole_platform(spec)
    if whole and not spec.select.everything and not (kind == "decommission" and not spec.select.where):
        yield document.problem(
            (*_SPEC, "select"), f"{article} {kind} of every service of the platform, of every promise, says so",
            key=True, hint="choose by promise or select.where, or write select: {everything: true}; "
            "`bond campaign preview` then says how many",
        )  # fmt: skip
    if spec.select.everything and not whole:
        yield document.problem(
            (*_SPEC, "select", "everything"), "`everything: true` takes all, but the selection leaves some out",
            key=True, hint="keep one of the two",
        )  # fmt: skip


def _versions(document: PlacedDocument, spec: StrategySpec) -> Iterator[Problem]:
    to, source, at = spec.to, spec.source, (*_SPEC, "to")
    if spec.operation == "patch" and to == LATEST:
        yield document.problem(
            at, "the latest version may be an upgrade, and a patch stays within major.minor",
            hint=f"write {LATEST_PATCH}, or operation: upgrade",
        )  # fmt: skip
    if spec.operation == "upgrade" and to == LATEST_PATCH:
        yield document.problem(
            at, "the latest patch is not an upgrade, which leaves major.minor",
            hint=f"write {LATEST}, or operation: patch",
        )  # fmt: skip
    if source is None:
        return
    exact = Version.parse(to) if to and Version.is_valid(to) else None
    inside = [version for version in _candidates(source, exact) if in_range(str(version), source)]
    if not inside:
        yield document.problem((*_SPEC, "from"), f"no version lies in {source!r}", hint="write it as in >=1.0 <2")
    elif exact is not None and spec.operation in {"patch", "upgrade"}:
        patch = spec.operation == "patch"
        if not any(version < exact and is_patch(version, exact) is patch for version in inside):
            other = "upgrade" if patch else "patch"
            yield document.problem(
                at, f"{to} is not {'a patch' if patch else 'an upgrade'} of any version in {source!r}",
                hint=f"change `from`, or write operation: {other}"
                if any(version < exact for version in inside) else "`from` must hold versions older than `to`",
            )  # fmt: skip


def is_patch(here: Version, other: Version) -> bool:
    """Whether two versions have the same `major.minor`."""
    return (here.major, here.minor) == (other.major, other.minor)


def _candidates(source: str, to: Version | None) -> Iterator[Version]:
    """Versions of which one lies in the range if any does: about each bound, and below the goal."""
    yield Version(0, 0, 0)
    for word in source.replace(",", " ").split():
        text = word.lstrip("<>=!^~")
        core, _, pre = text.partition("-")
        if not core:
            continue
        major, minor, patch = (*map(int, core.split(".")), 0, 0)[:3]
        yield from {
            Version(major, minor, patch, pre or None), Version(major, minor, patch),
            Version(major, minor, patch + 1),
            Version(major, minor + 1, 0), Version(major + 1, 0, 0), Version(major, minor, max(patch - 1, 0)),
            Version(major, max(minor - 1, 0), 0), Version(max(major - 1, 0), 0, 0),
        }  # fmt: skip
    if to is not None:
        for patch in {*range(min(to.patch, _MANY_PATCHES)), max(to.patch - 1, 0)}:
            yield Version(to.major, to.minor, patch)


# To which services ---------------------------------------------------------------------------------------


def _selection(document: PlacedDocument, spec: StrategySpec) -> Iterator[Problem]:
    at: Path_ = (*_SPEC, "select")
    yield from _condition(document, (*at, "where"), spec.select.where)
    for key in ("include", "exclude"):
        services: set[str] = set()
        for index, service in enumerate(getattr(spec.select, key)):
            if service in services:
                yield document.problem((*at, key, index), f"{service} is there more than once")
            services.add(service)
            if key == "exclude" and service in spec.select.include:
                yield document.problem(
                    (*at, key, index), f"{service} is included and excluded", hint="leave it in one of the two"
                )


def _condition(document: PlacedDocument, path: Path_, where: str | None) -> Iterator[Problem]:
    """An expression over one service."""
    if where is None or (not where.strip() and path[-1] == "where" and path[1] == "select"):
        return
    if "${" in where:
        yield document.problem(
            path, "`where` is one expression", hint="write it without ${ }, as in labels.tier == 'prod'"
        )
        return
    compiled = SCOPE.compile(where)
    for fault in compiled.faults:
        hint = fault.hint or "it may use " + ", ".join(FLEET_TYPES)
        yield document.inside(path, offset_of(where, fault.line, fault.column), fault.message, hint=hint)
    if not compiled.faults and compiled.type not in {"bool", "dyn"}:
        yield document.inside(
            path,
            0,
            f"`where` gives {compiled.type}, not true or false",
            hint="compare it, as in team == 'payments'",
        )


# Waves ---------------------------------------------------------------------------------------------------


def _waves(document: PlacedDocument, spec: StrategySpec) -> Iterator[Problem]:
    names: dict[str, int] = {}
    conditions: dict[str, str] = {}
    percent = 0
    for index, wave in enumerate(spec.waves):
        path: Path_ = (*_SPEC, "waves", index)
        if not written(document, path) and path not in document.values:
            continue
        if written(document, (*path, "name")) and names.setdefault(wave.name, index) != index:
            yield document.problem(
                (*path, "name"),
                f"two waves are called {wave.name!r}",
                hint="give each wave a name of its own: commands and reports tell waves apart by name",
            )
        yield from _wave_kind(document, path, wave)
        if wave.rest and index < len(spec.waves) - 1:
            yield document.problem(
                (*path, "rest"), f"{wave.name!r} takes the rest, but other waves come after it", key=True,
                hint="move the wave with `rest: true` to the end",
            )  # fmt: skip
        together = percent + (wave.percent or 0)
        if percent >= _WHOLE:
            yield document.problem(
                path,
                f"nothing is left for {wave.name!r}: the waves before it take {percent} percent of the targets",
                hint="lower a percent, or leave the wave out",
            )  # fmt: skip
        elif together > _WHOLE:
            yield document.problem(
                (*path, "percent"), f"the waves take {together} percent of the targets together",
                hint="a percent is of all targets, not of those left; a last wave may say rest: true",
            )  # fmt: skip
        percent = together
        if wave.where is not None:
            yield from _condition(document, (*path, "where"), wave.where)
            first = conditions.setdefault(wave.where.strip(), wave.name)
            if first != wave.name:
                yield document.problem(
                    (*path, "where"), f"nothing is left for {wave.name!r}: {first!r} takes the same services",
                    hint="a target is in the first wave that takes it",
                )  # fmt: skip


def _wave_kind(document: PlacedDocument, path: Path_, wave: Wave) -> Iterator[Problem]:
    """Exactly one of the keys that say which targets; and a budget of its own that can be broken."""
    kinds = [key for key in KINDS if written(document, (*path, key))]
    if len(kinds) > 1:
        yield document.problem(
            (*path, kinds[1]), f"a wave has one of {', '.join(KINDS)}, and {kinds[0]!r} is given already", key=True
        )
    if not kinds or (kinds == ["rest"] and document.data["spec"]["waves"][path[-1]]["rest"] is False):
        yield document.problem(
            path, f"the wave does not say which targets it takes: it has none of {', '.join(KINDS)}",
            hint="write count: 2, percent: 50, where: … or rest: true",
        )  # fmt: skip
    if wave.count is not None and isinstance(wave.max_failures, int) and wave.max_failures >= wave.count:
        yield document.problem(
            (*path, "max_failures"), f"{wave.max_failures} failures of {wave.count} targets are never exceeded",
            hint="a budget is broken when failures exceed it",
        )  # fmt: skip


# Limits --------------------------------------------------------------------------------------------------


def _limits(document: PlacedDocument, spec: StrategySpec) -> Iterator[Problem]:
    lower = [((*_SPEC, "waves", index), wave.max_concurrent) for index, wave in enumerate(spec.waves)]
    if spec.per is not None:
        lower.append(((*_SPEC, "per"), spec.per.max_concurrent))
    for path, limit in lower:
        if limit is not None and limit > spec.max_concurrent and written(document, (*path, "max_concurrent")):
            yield document.problem(
                (*path, "max_concurrent"), f"{limit} at once is more than the campaign's {spec.max_concurrent}",
                hint="it can only be lower; raise spec.max_concurrent",
            )  # fmt: skip
    known = most_targets(spec)
    failures = spec.budget.max_failures
    if known is not None and isinstance(failures, int) and failures >= known:
        yield document.problem(
            (*_SPEC, "budget", "max_failures"),
            f"{failures} failures of at most {known} targets are never exceeded",
            hint="a budget is broken when failures exceed it; to continue always, write on_failure: continue",
        )  # fmt: skip


def most_targets(spec: StrategySpec) -> int | None:
    """How many targets there can be at most, where the file says so."""
    named = len(spec.select.include) if spec.select.include and not spec.select.where else None
    return min((number for number in (named, spec.select.max) if number is not None), default=None)


# Windows -------------------------------------------------------------------------------------------------


def _windows(document: PlacedDocument, spec: StrategySpec) -> Iterator[Problem]:
    at: Path_ = (*_SPEC, "windows")
    for key in ("allow", "deny"):
        for index, window in enumerate(getattr(spec.windows, key)):
            yield from _window(document, (*at, key, index), window)
    if spec.windows.allow or spec.windows.deny:
        return
    for key in ("cutoff", "end"):
        if written(document, (*at, key)) and not any(
            written(document, (*at, other)) for other in ("allow", "deny")
        ):
            yield document.problem(
                (*at, key), f"`{key}` needs a window, and there is none", key=True,
                hint="add windows.allow or windows.deny",
            )  # fmt: skip


def _window(document: PlacedDocument, path: Path_, window: Window) -> Iterator[Problem]:
    if written(document, (*path, "cron")):
        try:
            check_cron(window.cron)
        except CronError as error:
            yield document.inside((*path, "cron"), error.offset, error.message, hint=error.hint)
    if window.time_zone not in zone_names():
        yield document.problem(
            (*path, "time_zone"), f"{window.time_zone!r} is not a time zone", hint=_zone_hint(window.time_zone)
        )
    if seconds(window.duration) > MAX_WINDOW_SECONDS:
        yield document.problem(
            (*path, "duration"), f"{window.duration} is longer than 31d", hint="a window is at most 31d"
        )


def _zone_hint(text: str) -> str:
    near = did_you_mean(text, zone_names())
    return near if near.startswith("did") else "write an IANA zone, as in Europe/London"


def _openings(document: PlacedDocument, spec: StrategySpec, now: datetime) -> Iterator[Problem]:
    """Windows that let nothing start: one for itself, or all together."""
    at: Path_ = (*_SPEC, "windows")
    windows, shut = spec.windows, False
    for index, window in enumerate(windows.allow if windows.deny else ()):
        alone = windows.changed(allow=(window,), cutoff=None)
        if never_opens(alone, now):
            shut = True
            yield document.problem(
                (*at, "allow", index), "the window never opens: windows.deny covers it whenever it is on",
                hint="change one of the two",
            )  # fmt: skip
    if shut or not (windows.allow or windows.deny) or not (why := never_opens(windows, now)):
        return
    if windows.cutoff and not never_opens(windows.changed(cutoff=None), now):
        yield document.problem(
            (*at, "cutoff"), f"nothing can ever start: no window is longer than the cutoff of {windows.cutoff}",
            hint="shorten the cutoff, or lengthen a window",
        )  # fmt: skip
        return
    yield document.problem(
        at, f"nothing can ever start: {why}", key=True, hint="change windows.allow or windows.deny"
    )
