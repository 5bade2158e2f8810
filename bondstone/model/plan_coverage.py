"""Whether a new plan does nothing but what was approved: design/terraform calls it *covered*.

After an interrupted apply the saved plan is stale, and the step is planned again. The new plan needs no approval
only when each of its changes is in the approved change set: the same address, the same action, the same planned
values. What the operation has done already is no longer planned, so the new set is usually smaller.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from bondstone.model.plan import Change, ChangeCounts


def uncovered(approved: Iterable[Change], new: Iterable[Change]) -> list[str]:
    """What the new plan would do that nobody approved, in words; empty when it is covered.

    A replace is covered by an approved create at the same address and with the same values: that is an object this
    operation had begun to create and Terraform then marked as tainted.
    """
    by_address = {change.address: change for change in approved}
    return list(_findings(by_address, new))


def carried_out(approved: Iterable[Change], new: Iterable[Change]) -> ChangeCounts:
    """What an attempt that died has changed: what it was to do and is not planned any more.

    Args:
        approved: What it was to do.
        new: What is left, planned after it.
    """
    left = {(change.address, change.action) for change in new}
    return ChangeCounts.of(change for change in approved if (change.address, change.action) not in left)


def _findings(approved: dict[str, Change], new: Iterable[Change]) -> Iterator[str]:
    for change in new:
        old = approved.get(change.address)
        if old is None:
            yield f"{change.action} {change.address} was not in the approved plan"
        elif old.action != change.action and (old.action, change.action) != ("create", "replace"):
            yield f"{change.address}: {change.action} instead of the approved {old.action}"
        elif not _same_values(old, change):
            yield f"{change.address}: other values than were approved"


def _same_values(old: Change, new: Change) -> bool:
    """Whether each value that was known when it was approved is planned again, and nothing else is.

    What was unknown then may have become known since: it follows from what was approved. What was known then and
    is unknown now may become anything.
    """
    approved, wanted = _values(old), _values(new)
    open_then = tuple(old.unknown)
    if not all(_within(path, open_then) for path in new.unknown):
        return False
    closed = {path for path in (*approved, *wanted) if not _within(path, open_then)}
    return all(approved.get(path) == wanted.get(path) for path in closed)


def _values(change: Change) -> dict[str, object]:
    """Fingerprints by path; for a tool that gives none, what is shown, by attribute."""
    return dict(change.fingerprints or change.after or {})


def _within(path: str, places: tuple[str, ...]) -> bool:
    """Whether a path is one of the places, or inside one."""
    return any(place in {"*", path} or path.startswith((f"{place}.", f"{place}[")) for place in places)
