"""From what check mode says to the normalised, masked change set. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, Final

from bondstone.activities.ansible.documents import Expected
from bondstone.activities.ansible.events import Diff, Result
from bondstone.base.redact import Redactor
from bondstone.model.plan import Action, Change

EFFECT: Final = "effect"
"""The attribute of a change that check mode cannot predict: the task will run, nobody knows yet what it does."""
HIDDEN: Final = {"effect": "hidden by the task's no_log"}
HOST: Final = "ansible.host"
"""The type of a change to a host as a whole."""

_ABSENT: Final = "absent"
_UNDONE: Final[dict[Action, Action]] = {"create": "delete", "delete": "create"}


def planned_changes(results: Iterable[Result], redact: Redactor) -> list[Change]:
    """What a run would change: one change for each task and host that check mode reports, or cannot predict."""
    changes: list[Change] = []
    times: Counter[str] = Counter()
    for result in results:
        times[result.address] += 1
        if not is_change(result):
            continue
        # a task that runs more than once on a host: a role used twice, an include in a loop
        again = f"#{times[result.address]}" if times[result.address] > 1 else ""
        changes.append(_change(result, f"{result.address}{again}", redact))
    return changes


def drifted_changes(results: Iterable[Result], redact: Redactor) -> list[Change]:
    """What is no longer as it was set up: `before` as it was to be, `after` as it is.

    What check mode cannot predict is left out: that it would run says nothing of the host.
    """
    return [
        change.changed(
            action=_UNDONE.get(change.action, change.action),
            before=change.after,
            after=change.before,
            fingerprints={},
        )
        for change in planned_changes((result for result in results if not result.is_open), redact)
    ]


def whole_hosts(hosts: Iterable[str], action: Action = "update") -> list[Change]:
    """A change of unknown effect for each host; nothing is unknown of one that is only forgotten."""
    unknown = () if action == "forget" else (EFFECT,)
    return [Change(address=host, action=action, type=HOST, unknown=unknown) for host in hosts]


def expected(changes: Iterable[Change]) -> tuple[Expected, ...]:
    """What a plan keeps of its changes, to compare with what check mode says later."""
    return tuple(
        Expected(address=change.address, action=change.action, values=change.fingerprints.get("after", ""))
        for change in changes
    )


def unexpected(planned: Sequence[Expected], now: Iterable[Change]) -> list[str]:
    """What check mode says now and the plan does not: each as words; none where all of it was planned.

    What was planned and is not to be done any more is no deviation: an attempt before this one has done it.
    """
    known = {item.address: item for item in planned}
    words = []
    for item in expected(now):
        old = known.get(item.address)
        if old is None:
            words.append(f"{item.address} would change too")
        elif old.action != item.action:
            words.append(f"{item.address}: {item.action} instead of {old.action}")
        elif old.values != item.values:
            words.append(f"{item.address}: to something else than was planned")
    return words


def is_change(result: Result) -> bool:
    """Whether a run would change something by this, as far as anybody knows."""
    return result.is_open or result.status == "changed"


def _change(result: Result, address: str, redact: Redactor) -> Change:
    base: dict[str, Any] = {"address": address, "type": result.module}
    if result.is_open:
        return Change(**base, action="update", unknown=(EFFECT,))
    if result.hidden:
        return Change(**base, action="update", after=HIDDEN)
    before, after = _sides(result.diff, "before"), _sides(result.diff, "after")
    return Change(
        **base,
        action=_action(result.diff),
        before=redact.masked(before) or None,
        after=redact.masked(after) or None,
        fingerprints={"after": "+".join(part.digest for part in result.diff)} if result.diff else {},
    )


def _action(diff: Sequence[Diff]) -> Action:
    """Whether something is made or taken away, where the module says so; else it is changed."""
    states = [(_state(part.before), _state(part.after)) for part in diff]
    telling = [(before, after) for before, after in states if before and after]
    if telling and all(before == _ABSENT != after for before, after in telling):
        return "create"
    if telling and all(after == _ABSENT for _, after in telling):
        return "delete"
    return "update"


def _state(side: Any) -> str:
    """Whether a side says that something is there; empty when it says nothing of that."""
    if isinstance(side, str):
        return "present" if side else _ABSENT
    return str(side.get("state", "")) if isinstance(side, dict) else ""


def _sides(diff: Sequence[Diff], side: str) -> dict[str, Any]:
    """One side of a task's diffs as attributes: those of a record by name, a text by what it is the text of."""
    sides: dict[str, Any] = {}
    for part in diff:
        value = getattr(part, side)
        if isinstance(value, dict):
            sides |= {name: item for name, item in value.items() if name != "path" or side == "after"}
        elif value is not None and value != "":
            sides[part.name or "text"] = value
    return sides
