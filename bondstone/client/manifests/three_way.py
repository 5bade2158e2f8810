"""Three-way comparison of trees: what a manifest says, what it said before, and what there is. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

Path = tuple[str, ...]


class _Missing:
    def __repr__(self) -> str:
        return "nothing"


MISSING: Final = _Missing()
"""Stands for a value that is not there; null is a value."""


@dataclass(frozen=True, slots=True)
class Difference:
    """One value that is other than the manifest says."""

    path: Path
    live: Any
    """What there is; `MISSING` when there is nothing."""
    wanted: Any
    """What the manifest says; `MISSING` when it says nothing any more, and the default comes back."""
    elsewhere: bool = False
    """It is neither what the manifest said when it was applied last: somebody changed it elsewhere."""


def differences(
    *,
    base: Mapping[str, Any] | None,
    live: Mapping[str, Any],
    wanted: Mapping[str, Any],
    defaults: Mapping[str, Any],
) -> list[Difference]:
    """What has to change to make live as wanted, and what of it somebody changed elsewhere.

    Values that neither the manifest names nor named before are left alone.

    Args:
        base: What the manifest said when it was applied last; None when none ever was.
        live: What there is.
        wanted: What the manifest says now.
        defaults: What there is of itself, where nobody said anything.
    """
    known = base if base is not None else {}
    changes: list[Difference] = []
    for path, value in leaves(wanted):
        here, before = at(live, path), at(known, path)
        if same(here, value):
            continue
        untouched = _unset(here, defaults, path) if before is MISSING else same(here, before)
        changes.append(Difference(path, here, value, elsewhere=not untouched))
    for path, before in leaves(known):
        if at(wanted, path) not in (MISSING, None) or _inside(wanted, path):
            continue
        here = at(live, path)
        if same(here, before) and not _unset(here, defaults, path):
            changes.append(Difference(path, here, MISSING))
    return changes


def whole_differences(
    *, base: Mapping[str, Any] | None, live: Mapping[str, Any], wanted: Mapping[str, Any]
) -> list[Difference]:
    """As `differences`, of a document that its manifest says as a whole: what it does not say is not there.

    Args:
        base: What the manifest said when it was applied last; None when none ever was.
        live: What there is.
        wanted: What the manifest says now.
    """
    paths = dict.fromkeys([*(path for path, _ in leaves(wanted)), *(path for path, _ in leaves(live))])
    changes: list[Difference] = []
    for path in paths:
        here, value = _leaf(live, path), _leaf(wanted, path)
        if here is not value and not same(here, value):
            changes.append(Difference(path, here, value, elsewhere=base is None or not _is_as(base, path, here)))
    return changes


def merged(live: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """A tree with changes laid over it: objects are merged, null takes away."""
    result = dict(live)
    for name, value in changes.items():
        if value is None:
            result.pop(name, None)
        elif isinstance(value, Mapping) and isinstance(result.get(name), Mapping):
            result[name] = merged(result[name], value)
        else:
            result[name] = value
    return result


def tree(values: Mapping[Path, Any]) -> dict[str, Any]:
    """A tree with these values at these paths."""
    root: dict[str, Any] = {}
    for path, value in values.items():
        holder = root
        for name in path[:-1]:
            holder = holder.setdefault(name, {})
        holder[path[-1]] = value
    return root


def leaves(values: Mapping[str, Any], prefix: Path = ()) -> Iterator[tuple[Path, Any]]:
    """Every value of a tree by its path; null counts as not written, an empty map as a value."""
    for name, value in values.items():
        path = (*prefix, str(name))
        if isinstance(value, Mapping) and value:
            yield from leaves(value, path)
        elif value is not None:
            yield path, value


def at(values: Any, path: Path) -> Any:
    """The value at a path, or `MISSING`."""
    for name in path:
        if not isinstance(values, Mapping) or name not in values:
            return MISSING
        values = values[name]
    return values


def same(one: Any, other: Any) -> bool:
    """Whether two JSON values are the same; true is not 1."""
    if isinstance(one, bool) is not isinstance(other, bool):
        return False
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return one.keys() == other.keys() and all(same(value, other[name]) for name, value in one.items())
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same, one, other))
    return bool(one == other)


def _unset(here: Any, defaults: Mapping[str, Any], path: Path) -> bool:
    """Whether a value is what it is when nobody says anything."""
    return here is MISSING or here is None or same(here, at(defaults, path))


def _inside(values: Any, path: Path) -> bool:
    """Whether a tree has something else than a map on the way to a path."""
    for name in path:
        if not isinstance(values, Mapping):
            return True
        if name not in values or values[name] is None:
            return False
        values = values[name]
    return False


def _leaf(values: Mapping[str, Any], path: Path) -> Any:
    """The value at a path that is a leaf; `MISSING` where there is none, or a map with values of its own."""
    value = at(values, path)
    return MISSING if value is None or (isinstance(value, Mapping) and value) else value


def _is_as(base: Mapping[str, Any], path: Path, here: Any) -> bool:
    before = _leaf(base, path)
    return here is before or same(here, before)
