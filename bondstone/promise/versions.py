"""Which version an operation leads to: pure functions on version texts."""

from __future__ import annotations

import re
from collections.abc import Iterable

from semver import Version

from bondstone.base.errors import InvalidInput, NotFound, Refused
from bondstone.model.service import OperationKind

_COMPARATOR = re.compile(r"(>=|<=|>|<|==|=|!=|\^|~)?(\d+)(?:\.(\d+))?(?:\.(\d+))?(-[0-9A-Za-z.-]+)?")


def in_range(version: str, wanted: str) -> bool:
    """Whether a version lies in a range such as `>=1.0 <1.4`, `^1.2`, `~1.2.3` or `1.4.0`.

    Raises:
        InvalidInput: when the range is not one.
    """
    text = re.sub(r"(>=|<=|>|<|==|=|!=|\^|~)\s+", r"\1", wanted.strip())
    return all(_holds(Version.parse(version), part, wanted) for part in re.split(r"[\s,]+", text))


def target(kind: OperationKind, *, promise: str, current: str, wanted: str, available: Iterable[str]) -> str:
    """The version that a patch or an upgrade of a service leads to.

    Args:
        kind: Patch stays within `major.minor`; upgrade leaves it.
        promise: For the words of a refusal.
        current: The version the service stands on.
        wanted: The version asked for; empty means the newest that fits.
        available: Versions that may be chosen (neither yanked nor deprecated).

    Raises:
        Refused: the relation of the two versions is not what the operation is for.
        NotFound: nothing newer fits.
    """
    where = f"{promise}@{current}"
    if not wanted:
        return _newest(kind, where, Version.parse(current), available)
    try:
        here, goal = Version.parse(current), Version.parse(wanted)
    except ValueError as error:
        raise InvalidInput(f"{wanted!r} is not a version", hint="write MAJOR.MINOR.PATCH, as in 1.4.0") from error
    if goal == here:
        raise Refused(f"the service is at {wanted} already", where=where)
    if goal < here:
        raise Refused(
            f"{wanted} is older than {current}",
            where=where,
            hint="`bond service rollback` goes back to the last revision that was healthy",
        )
    within = (goal.major, goal.minor) == (here.major, here.minor)
    if kind is OperationKind.PATCH and not within:
        raise Refused(
            f"{current} to {wanted} is an upgrade, not a patch", where=where, hint="`bond service upgrade`"
        )
    if kind is OperationKind.UPGRADE and within:
        raise Refused(
            f"{current} to {wanted} is a patch, not an upgrade", where=where, hint="`bond service patch`"
        )
    return wanted


def _newest(kind: OperationKind, where: str, here: Version, available: Iterable[str]) -> str:
    patch = kind is OperationKind.PATCH
    newer = [
        version
        for version in map(Version.parse, available)
        if version > here and ((version.major, version.minor) == (here.major, here.minor)) is patch
    ]
    released = [version for version in newer if not version.prerelease] or newer
    if released:
        return str(max(released))
    if patch:
        raise NotFound(f"there is no newer patch of {where}", hint="`bond promise show` lists the versions")
    raise NotFound(f"there is nothing to upgrade {where} to", hint="`bond promise show` lists the versions")


def _holds(version: Version, comparator: str, wanted: str) -> bool:
    match = _COMPARATOR.fullmatch(comparator)
    if match is None:
        raise InvalidInput(f"{wanted!r} is not a range of versions", hint="write it as in >=1.0 <2")
    operator, major, minor, patch, pre = match.groups()
    low = Version.parse(f"{major}.{minor or 0}.{patch or 0}{pre or ''}")
    match operator:
        case "^":
            return low <= version < low.bump_major()
        case "~":
            return low <= version < low.bump_minor()
        case ">=" | "<=" | ">" | "<" | "!=":
            return bool(version.match(f"{operator}{low}"))
    if minor is None or patch is None:
        return low <= version < (low.bump_minor() if minor is not None else low.bump_major())
    return version == low
