"""The form of a new campaign, and the campaign's file that it makes. Pure.

A form is field names to texts, as a browser sends them. Rows of waves and windows are numbered: `wave.0.name`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from bondstone.base.errors import CampaignInvalid, Problem
from bondstone.documents.yaml_places import read
from bondstone.model.campaign.manifest import LATEST, LATEST_PATCH, MAX_WAVES, MAX_WINDOWS

Form = Mapping[str, str]

EVERY_SERVICE: Final = "true"
"""The expression of a list of services without a filter."""

OPERATIONS: Final = (
    ("patch", "Patch: to a newer patch version"), ("upgrade", "Upgrade: to another minor or major version"),
    ("update", "Update: change inputs"), ("reconcile", "Check for drift, or repair it"),
    ("rollback", "Roll back to what was healthy before"), ("decommission", "Decommission"),
)  # fmt: skip
MOVES: Final[Mapping[str, str]] = {"patch": LATEST_PATCH, "upgrade": LATEST}
"""Operations that move targets to a version, and to which one at first."""
BEGINNING: Final[Form] = {
    "operation": "patch", "to": LATEST_PATCH, "max_concurrent": "10", "budget.max_failures": "2%",
    "on_failure": "pause", "wave.0.name": "canary", "wave.0.take": "count", "wave.0.amount": "1",
    "wave.0.max_failures": "0", "wave.0.soak": "10m", "wave.1.name": "rest", "wave.1.take": "rest",
}  # fmt: skip
WAVE: Final = ("name", "take", "amount", "max_failures", "max_concurrent", "soak", "roles", "people", "expires")
WINDOW: Final = ("kind", "cron", "duration", "time_zone")
ROWS: Final[Mapping[str, int]] = {"wave": MAX_WAVES, "window": 2 * MAX_WINDOWS}
_ROW: Final = re.compile(r"(wave|window)\.(\d{1,3})\.([a-z_]+)")
_VERB: Final = re.compile(r"(add|remove)-(wave|window)(?:-(\d{1,3}))?")


def manifest(form: Form) -> dict[str, Any]:
    """The campaign as its file says it: what is filled in, in the order of the reference.

    Args:
        form: As it was submitted. What does not fit is passed on as it is: the check of the file says why.

    Raises:
        CampaignInvalid: the inputs are no mapping.
    """
    operation = form.get("operation", "")
    spec: dict[str, Any] = {"operation": operation}
    _put(spec, form, {"promise": _text})
    if operation in MOVES:
        to = form.get("to", "")
        _put(spec, {"to": MOVES[operation] if to in MOVES.values() else to}, {"to": _text})
    _put(spec, form, {"from": _text})
    if operation == "update":
        spec |= {"inputs": inputs} if (inputs := _inputs(form.get("inputs", ""))) else {}
    if operation == "reconcile":
        _put(spec, form, {"repair": _flag})
    select = _group(form, "select", {"where": _text, "include": _lines, "exclude": _lines, "max": _number})
    spec |= {"select": select} if select else {}
    _put(spec, form, {"unit": _text})
    spec["waves"] = [_wave(row) for row in rows(form, "wave")]
    _put(spec, form, {"unmatched": _text, "order": _text, "max_concurrent": _number})
    per = _group(form, "per", {"label": _text, "max_concurrent": _number})
    spec |= {"per": per} if per else {}
    _put(spec, form, {"start_rate": _text})
    groups: dict[str, dict[str, Callable[[str], Any]]] = {
        "budget": {"max_failures": _number, "scope": _text, "overshoot": _text, "consecutive": _number},
        "target": {
            "timeout": _text, "retries": _number, "backoff": _text, "busy": _text, "unreachable": _text,
        },
    }  # fmt: skip
    for name, parts in groups.items():
        group = _group(form, name, parts)
        spec |= {name: group} if group else {}
        if name == "budget":
            _put(spec, form, {"on_failure": _text})
    if windows := _windows(form):
        spec["windows"] = windows
    metadata = {key: _text(form[key]) for key in ("name", "owner", "reason", "change") if _text(form.get(key, ""))}
    return {"apiVersion": "bondstone.dev/v1", "kind": "Campaign", "metadata": metadata, "spec": spec}


def rows(form: Form, kind: str) -> list[dict[str, str]]:
    """The rows of waves or windows, in their order, numbered anew; those where nothing is filled in too.

    Args:
        form: As it was submitted.
        kind: `wave` or `window`.
    """
    numbered: dict[int, dict[str, str]] = {}
    for name, value in form.items():
        match = _ROW.fullmatch(name)
        if match and match[1] == kind:
            numbered.setdefault(int(match[2]), {})[match[3]] = value
    return [numbered[number] for number in sorted(numbered)][: ROWS[kind]]


def with_rows(form: Form, verb: str) -> dict[str, str] | None:
    """The form after a button that adds or removes a row; None for any other button.

    Args:
        form: As it was submitted.
        verb: As in `add-wave`, `remove-window-2`.
    """
    match = _VERB.fullmatch(verb)
    if match is None:
        return None
    kind, number = match[2], match[3]
    changed = rows(form, kind)
    if match[1] == "remove" and number is not None:
        changed = changed[: int(number)] + changed[int(number) + 1 :]
    elif match[1] == "add" and len(changed) < ROWS[kind]:
        # The last wave takes the rest, so a new one goes before it.
        last = len(changed) - 1 if changed and changed[-1].get("take") == "rest" else len(changed)
        changed.insert(last, {"take": "percent"} if kind == "wave" else {"kind": "allow", "time_zone": "UTC"})
    kept = {
        name: value for name, value in form.items() if not (_ROW.fullmatch(name) and name.startswith(f"{kind}."))
    }
    return kept | dict(_numbered(kind, changed))


def beginning(
    now: datetime, *, operation: str = "patch", promise: str = "", where: str = "", include: Sequence[str] = ()
) -> dict[str, str]:
    """A form to begin with.

    Args:
        now: Goes into the name.
        operation: What is done to each target.
        promise: Whose services are targets.
        where: An expression that is true of targets. One that is true of every service is left out, so that
            an operation that needs a selection is refused until a person makes one.
        include: Targets by name.
    """
    known = operation if operation in dict(OPERATIONS) else "patch"
    fields = dict(BEGINNING) | {
        "operation": known,
        "to": MOVES.get(known, ""),
        "promise": promise,
        "select.where": "" if where.strip() == EVERY_SERVICE else where,
        "select.include": "\n".join(include),
    }
    if promise or include:
        fields["name"] = f"{known}-{promise or 'services'}"[:36].rstrip("-") + f"-{now:%m%d-%H%M}"
    return fields


# Helpers ---------------------------------------------------------------------------------------------------------


def _wave(row: Form) -> dict[str, Any]:
    wave: dict[str, Any] = {}
    _put(wave, row, {"name": _text})
    take, amount = row.get("take", ""), _text(row.get("amount", ""))
    if take == "rest":
        wave["rest"] = True
    elif take in {"count", "percent"}:
        wave[take] = _number(amount.removesuffix("%").strip())
    elif take == "where":
        wave["where"] = amount
    _put(wave, row, {"max_failures": _number, "max_concurrent": _number, "soak": _text})
    approval = {"roles": [part.strip() for part in row.get("roles", "").split(",") if part.strip()]}
    _put(approval, row, {"people": _number, "expires": _text})
    if "people" in approval:
        approval = {"roles": approval["roles"], "count": approval.pop("people"), **approval}
    if any(approval.values()):
        wave["gate"] = {"approval": approval}
    return wave


def _windows(form: Form) -> dict[str, Any]:
    windows: dict[str, Any] = {}
    for row in rows(form, "window"):
        window: dict[str, Any] = {}
        _put(window, row, {"cron": _text, "duration": _text, "time_zone": _text})
        if "cron" in window or "duration" in window:
            windows.setdefault("deny" if row.get("kind") == "deny" else "allow", []).append(window)
    _put(
        windows,
        {name: form.get(f"windows.{name}", "") for name in ("cutoff", "end")},
        {"cutoff": _text, "end": _text},
    )
    return windows


def _group(form: Form, name: str, parts: Mapping[str, Callable[[str], Any]]) -> dict[str, Any]:
    group: dict[str, Any] = {}
    _put(group, {part: form.get(f"{name}.{part}", "") for part in parts}, parts)
    return group


def _put(target: dict[str, Any], form: Form, parts: Mapping[str, Callable[[str], Any]]) -> None:
    """Put in what is filled in."""
    for name, convert in parts.items():
        value = convert(form.get(name, ""))
        if value not in ("", []) and value is not False:  # 0 is a value
            target[name] = value


def _text(text: str) -> str:
    return text.replace("\r\n", "\n").strip()


def _number(text: str) -> int | str:
    plain = text.strip()
    return int(plain) if plain.isascii() and plain.isdigit() and len(plain) <= 9 else plain  # noqa: PLR2004 - no more


def _flag(text: str) -> bool:
    return text == "true"


def _lines(text: str) -> list[str]:
    return text.replace(",", " ").split()


def _inputs(text: str) -> dict[str, Any]:
    plain = _text(text)
    if not plain:
        return {}
    document = read(plain.encode(), "inputs")
    if document.problems or not isinstance(document.data, dict):
        problems = document.problems or (Problem(message="inputs are names with values, as in `size: large`"),)
        raise CampaignInvalid("the inputs cannot be read", problems=problems, hint="write YAML or JSON")
    return document.data


def _numbered(kind: str, changed: Sequence[Form]) -> Iterator[tuple[str, str]]:
    for number, row in enumerate(changed):
        for part in WAVE if kind == "wave" else WINDOW:
            if part in row:
                yield f"{kind}.{number}.{part}", row[part]
