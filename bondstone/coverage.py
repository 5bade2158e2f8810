"""Whether a new plan does nothing but what was approved: design/terraform calls it *covered*.

After an interrupted apply the saved plan is stale and a new one is made. It goes on without asking again only when
each of its changes is in the approved change set: the same address, the same action, the same planned values. What
the operation has done already is no longer planned, so the new set is usually smaller.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from bondstone.model.plan import Change


def uncovered(approved: Iterable[Change], new: Iterable[Change]) -> list[str]:
    """What the new plan would do that nobody approved, in words; empty when it is covered.

    A replace is covered by an approved create at the same address and with the same values: that is an object this
    operation had begun to create and Terraform then marked as tainted.
    """
    by_address = {change.address: change for change in approved}
    return list(_findings(by_address, new))


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
    """By fingerprint where both have one, else by what is shown.

    Values unknown in the approved plan may have become known since: only the others are compared.
    """
    if old.fingerprint and new.fingerprint and old.unknown == new.unknown:
        return old.fingerprint == new.fingerprint
    unknown = {path.partition(".")[0].partition("[")[0] for path in (*old.unknown, *new.unknown)}
    return _known(old, unknown) == _known(new, unknown)


def _known(change: Change, unknown: set[str]) -> dict[str, object]:
    return {key: value for key, value in (change.after or {}).items() if key not in unknown}
