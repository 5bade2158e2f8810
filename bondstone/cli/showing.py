"""Documents as people read them."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

import typer

from bondstone.cli.output import cell, duration, error_text, fields, is_terminal, say, table

if TYPE_CHECKING:
    from bondstone.client.documents import (
        ChangeDocument,
        ChangesDocument,
        DecisionDocument,
        OperationDocument,
        PlanDocument,
        RecordDocument,
        ServiceDocument,
        StepDocument,
    )

MAX_VALUE_CHARS: Final = 100
"""Of one attribute of a plan; `-o json` has all of it."""

_ACTIONS: Final = {
    "create": ("+", "green"),
    "update": ("~", "yellow"),
    "replace": ("±", "magenta"),
    "delete": ("-", "red"),
}
_UNKNOWN: Final = "(known after apply)"


def service(document: ServiceDocument) -> None:
    """One service: what it is, what it gives, what happened to it."""
    fields(
        {
            "service": document.id,
            "promise": document.revision,
            "phase": document.phase,
            "health": document.health,
            "labels": document.labels,
            "created": document.created_at,
            "by": document.created_by,
            **document.links,
        }
    )
    if document.inputs:
        say("\ninputs")
        tree(document.inputs)
    if document.outputs:
        say("\noutputs")
        tree(document.outputs)
    if document.operations:
        say("\noperations")
        operations(document.operations)
        _error(document.operations[0])


def operations(documents: Iterable[OperationDocument]) -> None:
    """Operations as a table."""
    table(
        ["operation", "kind", "status", "steps", "by", "requested", "took"],
        [
            [
                item.id,
                item.kind,
                item.status,
                " ".join(f"{step.id}:{step.status}" for step in item.steps),
                item.requested_by,
                item.requested_at,
                took(item.started_at, item.finished_at),
            ]
            for item in documents
        ],
        empty="no operations",
    )


def operation(document: OperationDocument) -> None:
    """One operation and its steps."""
    fields(
        {
            "operation": document.id,
            "kind": document.kind,
            "status": document.status,
            "revision": document.revision,
            "by": document.requested_by,
            "reason": document.reason,
            "retry of": document.retry_of,
            "requested": document.requested_at,
            "started": document.started_at,
            "finished": document.finished_at,
            **document.links,
        }
    )
    if document.steps:
        say()
        table(
            ["step", "executor", "status", "changes", "policies", "pool", "took"],
            [
                [
                    step.id,
                    step.executor,
                    step.status,
                    counts(step.changes) if step.plan else "",
                    _outcome(step.policy),
                    step.pool,
                    took(step.started_at, step.finished_at),
                ]
                for step in document.steps
            ],
        )
    _error(document)


def plan(document: PlanDocument) -> None:
    """One plan: by action and address, attributes before and after, what the policies said."""
    made = f" by {document.tool}" if document.tool else ""
    _styled(f"{document.operation} step {document.step}: {_summary(document)}", bold=True)
    say(f"plan {document.digest[:12]}{made}")
    order = list(_ACTIONS)
    for change in sorted(document.changes, key=lambda item: (order.index(item.action), item.address)):
        say()
        _change(change)
    if document.policy is not None:
        say(f"\npolicies: {document.policy.outcome}")
        for finding in document.policy.findings:
            source = f"  ({finding.policy})" if finding.policy else ""
            say(f"  {finding.level}: {finding.message}{source}")


def history(documents: Sequence[RecordDocument]) -> None:
    """The ledger of a service, oldest first."""
    table(
        ["at", "what", "status", "revision", "changes", "by", "why"],
        [
            [
                item.at,
                f"{item.operation_kind or item.kind} {_number(item.operation)}".strip()
                if item.kind == "operation"
                else f"{item.kind} {_number(item.operation)}".strip(),
                item.status,
                item.revision,
                counts_of(item.steps) if item.kind == "operation" else "",
                item.by,
                "; ".join(filter(None, [item.reason, item.error.message if item.error else ""])),
            ]
            for item in documents
        ],
    )


def tree(values: Mapping[str, Any], indent: str = "  ") -> None:
    """A tree of JSON values as dotted names and values."""
    flat = dict(_flat(values, ""))
    width = max(map(len, flat), default=0)
    for name, value in flat.items():
        first, *rest = _text(value).split("\n")
        say(f"{indent}{name:<{width}}  {first}".rstrip())
        for line in rest:
            say(f"{indent}{'':<{width}}  {line}")


def counts(changes: ChangesDocument) -> str:
    """As people read plans: `+3 ~0 ±1 -0`."""
    return f"+{changes.create} ~{changes.update} ±{changes.replace} -{changes.delete}"


def counts_of(steps: Iterable[StepDocument]) -> str:
    """What the steps that succeeded changed, together."""
    found = [step.changes for step in steps if step.status in {"succeeded", "unchanged"}]
    totals = (sum(getattr(item, action) for item in found) for action in _ACTIONS)
    return " ".join(f"{mark}{total}" for (mark, _), total in zip(_ACTIONS.values(), totals, strict=True))


def took(started: datetime | None, finished: datetime | None) -> str:
    """How long it took; nothing while it has not ended."""
    return duration(finished - started) if started and finished else ""


# Helpers ----------------------------------------------------------------------------------------------------


def _number(operation_id: str | None) -> str:
    return operation_id.rpartition("/")[2] if operation_id else ""


def _outcome(decision: DecisionDocument | None) -> str:
    if decision is None:
        return ""
    warnings = sum(finding.level == "warn" for finding in decision.findings)
    said = f", {warnings} warning{'s' if warnings > 1 else ''}" if warnings else ""
    return f"{decision.outcome}{said}"


def _error(document: OperationDocument) -> None:
    if document.error is not None:
        say()
        typer.echo(error_text(document.error, color=is_terminal(sys.stdout)))


def _summary(document: PlanDocument) -> str:
    parts = [f"{count} to {action}" for action in _ACTIONS if (count := getattr(document.counts, action))]
    return ", ".join(parts) or "nothing to change"


def _change(change: ChangeDocument) -> None:
    mark, colour = _ACTIONS[change.action]
    kind = f"  ({change.type})" if change.type and change.type not in change.address else ""
    _styled(f"  {mark} {change.address}{kind}", fg=colour)
    before, after = change.before or {}, change.after or {}
    names = sorted({*before, *after, *change.unknown})
    width = max(map(len, names), default=0)
    for name in names:
        old = _short(before[name]) if name in before else None
        new = _UNKNOWN if name in change.unknown else _short(after[name]) if name in after else None
        match change.action:
            case "create":
                shown = new
            case "delete":
                shown = old
            case _ if old == new:
                continue
            case _:
                shown = f"{old or '(none)'} -> {new or '(none)'}"
        if shown is not None and shown != "null":
            say(f"      {name:<{width}} = {shown}")


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= MAX_VALUE_CHARS else f"{text[: MAX_VALUE_CHARS - 1]}…"


def _flat(value: Any, prefix: str) -> Iterable[tuple[str, Any]]:
    for name, item in value.items():
        path = f"{prefix}{name}"
        if isinstance(item, Mapping) and item:
            yield from _flat(item, f"{path}.")
        else:
            yield path, item


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False) if isinstance(value, list | dict) else cell(value)


def _styled(text: str, *, fg: str | None = None, bold: bool | None = None) -> None:
    clean = " " * (len(text) - len(text.lstrip())) + cell(text.lstrip())
    typer.echo(typer.style(clean, fg=fg, bold=bold) if is_terminal(sys.stdout) else clean)
