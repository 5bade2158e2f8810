"""Documents as people read them."""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import typer

from bondstone.base.change_counts import COUNTED, counts_text
from bondstone.terminal.display import display
from bondstone.terminal.output import cell, error_text, fields, is_terminal, note, paragraph, say, table
from bondstone.terminal.times import duration

if TYPE_CHECKING:
    from bondstone.client import Bondstone, Operation
    from bondstone.client.documents.service import OperationDocument, RecordDocument, ServiceDocument
    from bondstone.client.documents.step import (
        ApprovalDocument,
        ChangesDocument,
        DecisionDocument,
        StepDocument,
    )
    from bondstone.client.explanation import ReadingTime


def service(document: ServiceDocument) -> None:
    """One service: why it is where it is, what it gives, what happened to it."""
    service_in_a_line(document)
    say()
    fields(
        {
            "service": document.id,
            "promise": document.revision,
            "phase": document.phase,
            "health": document.health,
            "checks": "\n".join(
                f"{step}: {words}" for step, all_ in document.failed_checks.items() for words in all_
            ),
            "labels": document.labels,
            "created": document.created_at,
            "by": document.created_by,
            "paused by": ": ".join(filter(None, [document.paused_by, document.pause_reason])),
            "paused": document.paused_at,
            "drift": _drift(document.drift) if document.drift else "",
            "next look": document.next_due,
            **document.links,
        }
    )
    if document.inputs:
        say("\ninputs")
        tree(document.inputs)
    if document.outputs:
        say("\noutputs")
        tree(document.outputs)
    if document.ways_back:
        say("\nways back")
        for past in document.ways_back:
            paragraph(f"{past.revision} with {json.dumps(past.inputs, ensure_ascii=False)}")
    if document.operations:
        say("\noperations")
        operations(document.operations)
        _error(document.operations[0])


def service_in_a_line(document: ServiceDocument) -> None:
    """Why a service is where it is."""
    from bondstone.client.explanation import explain_service  # noqa: PLC0415 - see bondstone.cli.session

    say(f"{document.id}: {explain_service(document, clock())}")


def clock() -> ReadingTime:
    """The reader's clock, for sentences with times."""
    from bondstone.client.explanation import ReadingTime  # noqa: PLC0415 - see bondstone.cli.session

    now = datetime.now(UTC).astimezone()
    return ReadingTime(now=now, zone=now.tzinfo if now.utcoffset() and not display.utc and now.tzinfo else UTC)


def operations(documents: Iterable[OperationDocument]) -> None:
    """Operations as a table."""
    table(
        ["operation", "kind", "status", "steps", "by", "requested", "took"],
        [
            [
                item.id,
                _kind(item),
                item.status,
                " ".join(f"{step_name(step)}:{step.status}" for step in item.steps),
                item.requested_by,
                item.requested_at,
                took(item.started_at, item.finished_at),
            ]
            for item in documents
        ],
        empty="no operations",
        wide=("steps", "by"),
    )


def operation(document: OperationDocument) -> None:
    """One operation and its steps, after a sentence on why it is where it is."""
    from bondstone.client.explanation import (  # noqa: PLC0415 - see bondstone.cli.session
        explain_operation,
        progress_words,
    )

    say(f"{document.id} {explain_operation(document, clock())}")
    say()
    fields(
        {
            "operation": document.id,
            "kind": _kind(document),
            "status": document.status,
            "revision": from_to(document) or document.revision,
            "by": document.requested_by,
            "reason": document.reason,
            "retry of": document.retry_of,
            "caused by": document.cause,
            "requested": document.requested_at,
            "started": document.started_at,
            "finished": document.finished_at,
            "drift": _drift(document.drift) if document.kind == "reconcile" and document.finished_at else "",
            "trace": document.trace_id,
            **document.links,
        }
    )
    if document.steps:
        say()
        table(
            ["step", "executor", "status", "changes", "policies", "pool", "took"],
            [
                [
                    step_name(step),
                    step.executor,
                    step.status,
                    counts(step.changes) if step.plan or step.drift else "",
                    _outcome(step.policy),
                    step.pool,
                    took(step.started_at, step.finished_at),
                ]
                for step in document.steps
            ],
            wide=("executor", "pool"),
        )
    _drifted(document)
    for step in document.steps:
        _attempts(step)
        failed_checks([f"{step.id}: {words}" for words in step.failed_checks])
        _warnings(step)
    for kept in document.retained:
        say(f"kept: {kept}")
    for approval in document.approvals:
        say()
        gate(approval)
    for each in document.progress:
        if words := progress_words(each):
            say(f"{each.activity}: {words}")
    for retry in document.retrying:
        say()
        of = f" of {retry.at_most}" if retry.at_most else ""
        say(f"{retry.activity} is retried, attempt {retry.attempt}{of}; the last one failed:")
        say(f"  {retry.error.code}: {retry.error.message}")
        if retry.error.where:
            say(f"  where: {retry.error.where}")
        if retry.error.hint:
            say(f"  hint: {retry.error.hint}")
    _error(document)


def outcome(document: OperationDocument) -> None:
    """In a line what became of an operation, and where the service is; for a reconcile what differs."""
    from bondstone.client.explanation import explain_operation  # noqa: PLC0415 - see bondstone.cli.session

    moved = from_to(document)
    ended = f"succeeded{f': {moved}' if moved else ''}"
    words = ended if document.status == "succeeded" else explain_operation(document, clock())
    say(f"{document.id} {_kind(document)} {words}")
    for kept in document.retained:
        say(f"  kept: {kept}")
    if document.kind == "reconcile" and document.status == "succeeded":
        repaired = [step for step in document.steps if step.plan]
        say(f"  repaired: {counts_of(repaired)}" if repaired else f"  {_drift(document.drift)}")
        _drifted(document)
        if document.drift:
            note(f"undo it with `bond service reconcile {document.service} --repair`")


def from_to(document: OperationDocument) -> str:
    """From which revision to which; empty when the operation changes none."""
    before, after = document.revision_before, document.revision
    return f"{before} -> {after.rpartition('@')[2]}" if before and before != after else ""


def gate(document: ApprovalDocument) -> None:
    """Whom a plan waits for, why, what was said so far, and how to say it."""
    left = f", needs {' and '.join(document.missing)}" if document.missing else ""
    status = "would ask" if document.status == "would-ask" else document.status
    say(f"approval of step {document.step}, plan {document.digest[:12]}: {status}{left}")
    for need in document.needs:
        who = f"{need.count} of {' or '.join(need.roles)}" if need.roles else f"{need.count}"
        say(f"  asked: {who}{f': {need.reason}' if need.reason else ''}")
    for vote in document.votes:
        roles = f" ({', '.join(vote.roles)})" if vote.roles else ""
        comment = f": {vote.comment}" if vote.comment else ""
        say(f"  {vote.by}{roles} {'approved' if vote.approve else 'rejected'} at {cell(vote.at)}{comment}")
    if document.expires_at is not None and document.status == "waiting":
        say(f"  without it the operation is rejected at {cell(document.expires_at)}")
    if document.status == "waiting":
        say(f"  {approve_command(document)}")


def approve_command(document: ApprovalDocument) -> str:
    """The command that approves a plan, complete but for who calls it."""
    roles = next((need.roles for need in document.needs if need.roles), ())
    role = f" --role {roles[0]}" if roles else ""
    return (
        f"bond approval approve {document.operation} --step {document.step} --digest {document.digest[:12]}{role}"
    )


def history(documents: Sequence[RecordDocument]) -> None:
    """The ledger of a service, oldest first."""
    table(
        ["at", "what", "status", "revision", "changes", "by", "why"],
        [
            [
                item.at,
                _what(item),
                item.status,
                item.revision,
                counts_of(item.steps) if item.kind == "operation" and not item.dry_run else "",
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
    return str(changes)


def counts_of(steps: Iterable[StepDocument]) -> str:
    """What the steps that succeeded changed, together."""
    changes = [step.changes for step in steps if step.status in {"succeeded", "unchanged"}]
    return counts_text({name: sum(getattr(item, name) for item in changes) for name in COUNTED})


def took(started: datetime | None, finished: datetime | None) -> str:
    """How long it took; nothing while it has not ended."""
    return duration(finished - started) if started and finished else ""


def step_name(step: StepDocument) -> str:
    """A step, after the part of the operation that runs it where that is not the main one."""
    return f"{f'{step.part}:' if step.part else ''}{step.id}"


def failed_checks(failed: Sequence[str]) -> None:
    """Checks of a module that fail, which hold nothing up."""
    if failed:
        say("\nchecks that fail (they stop nothing):")
    for words in failed:
        say(f"  {words}")


# Helpers ----------------------------------------------------------------------------------------------------


def _what(record: RecordDocument) -> str:
    kind = record.operation_kind if record.kind == "operation" else record.kind
    number = record.operation.rpartition("/")[2] if record.operation else ""
    return f"{kind} {number}{' (dry run)' if record.dry_run else ''}".strip()


def _kind(document: OperationDocument) -> str:
    return f"{document.kind} (dry run)" if document.dry_run else str(document.kind)


def _drift(count: int) -> str:
    return f"{count} object{'s' if count > 1 else ''} differ{'s' if count == 1 else ''}" if count else "no drift"


def _drifted(document: OperationDocument) -> None:
    for step in document.steps:
        for address in step.drift:
            say(f"  {step.id}: {address}")


def _outcome(decision: DecisionDocument | None) -> str:
    if decision is None:
        return ""
    warnings = sum(finding.level == "warn" for finding in decision.findings)
    warning_text = f", {warnings} warning{'s' if warnings > 1 else ''}" if warnings else ""
    return f"{decision.outcome}{warning_text}"


def _warnings(step: StepDocument) -> None:
    """What is wrong with how a step was applied."""
    if step.warnings:
        say("\nwarnings (they stop nothing):")
    for words in step.warnings:
        say(f"  {step.id}: {words}")


def _attempts(step: StepDocument) -> None:
    """How many attempts a step took, and why the earlier ones ended."""
    reasons = Counter(step.earlier_attempts)
    if not reasons:
        return
    ended = "; ".join(f"{why}{f' ({count} times)' if count > 1 else ''}" for why, count in reasons.items())
    say(f"\n{step.id} took {len(step.earlier_attempts) + 1} attempts; the earlier ones ended: {ended}")


def _error(document: OperationDocument) -> None:
    if document.error is not None:
        say()
        typer.echo(error_text(document.error, color=is_terminal(sys.stdout)))


def _flat(value: Any, prefix: str) -> Iterable[tuple[str, Any]]:
    for name, item in value.items():
        path = f"{prefix}{name}"
        if isinstance(item, Mapping) and item:
            yield from _flat(item, f"{path}.")
        else:
            yield path, item


async def show_logs(bond: Bondstone, operation: Operation, *, step: str = "", follow: bool = False) -> None:
    """Print the logs of an operation, each line with its step and verb.

    Raises:
        NotFound: there is no such operation, or no such step.
    """
    empty = True
    async for line in bond.logs.read(operation.id, step=step, follow=follow):
        empty = False
        say(f"{line.step} {line.verb} | {line.text}")
    if empty:
        status = (await operation.get()).status
        note(f"{operation.id} has no log{f' of step {step}' if step else ''}; it is {status}")


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False) if isinstance(value, list | dict) else cell(value)
