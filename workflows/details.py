"""What people read of an operation, a service and a campaign in the Temporal UI: live, in Markdown.

Links lead to other workflows in that UI, by their path: it stands at the root of its host.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final
from urllib.parse import quote

from bondstone.base import names
from bondstone.base.printable import markdown
from bondstone.campaign import words
from bondstone.model.approval import missing
from bondstone.model.campaign.run import CampaignDescription, FlightView, TargetRecord, WaveProgress
from bondstone.model.campaign.state import TargetOutcome
from bondstone.model.service import Approval, OperationRecord, ServiceState, StepRecord

_MARKS = {
    "pending": "·",
    "planning": "◌",
    "checking": "◌",
    "applying": "◐",
    "succeeded": "✓",
    "unchanged": "✓",
    "kept": "✓",
    "skipped": "-",
    "deferred": "-",
    "failed": "✗",
    "cancelled": "✗",
    "blocked": "✗",
}

_STATUSES: Final = {"accepted": "running", "between": "waiting"}
"""Of a target that is under way, as people read it."""
MAX_TARGETS: Final = 10
"""Targets of a campaign that are linked: of those that run, and of those that ended last."""


def operation(record: OperationRecord) -> str:
    """An operation as a table of its steps, with change sets and decisions."""
    lines = [
        f"**{record.kind} {record.service}** with {record.revision}, asked by {markdown(record.requested_by)}",
        "",
        "| step | status | changes | policies |",
        "|---|---|---|---|",
        *(_step(step) for step in record.steps),
    ]
    told = [step.error.message for step in record.steps if step.error]
    lines += [f"\n{step.id}: {markdown(step.error.message)}" for step in record.steps if step.error]
    if record.error and record.error.message not in told:
        lines.append(f"\n{markdown(record.error.message)}")
    lines += [f"\nkept: {markdown(kept)}" for kept in record.retained]
    lines += [_waiting(record, approval) for approval in record.approvals if approval.status == "waiting"]
    return "\n".join(lines)


def service(state: ServiceState, namespace: str) -> str:
    """A service in a few lines: phase, revision, what runs, what waits, what ran last.

    Args:
        state: Of the service.
        namespace: Of Temporal.
    """
    revision = str(state.current.revision) if state.current else "no revision yet"
    lines = [f"**{state.service}** {state.phase}, {revision}, health {state.condition}"]
    if state.paused_by:
        why = f": {markdown(state.pause_reason)}" if state.pause_reason else ""
        lines.append(f"\npaused by {markdown(state.paused_by)}{why}")
    if state.queue:
        running, *waiting = state.queue
        link = operation_link(running.record.id, namespace)
        lines.append(f"\nrunning {running.record.kind} {link}, {len(waiting)} waiting")
    if state.operations:
        lines += ["", "| operation | kind | status | by |", "|---|---|---|---|"]
        lines += [
            f"| {operation_link(record.id, namespace)} | {record.kind} | {record.status} "
            f"| {markdown(record.requested_by)} |"
            for record in reversed(state.operations[-5:])
        ]
    return "\n".join(lines)


def last_targets(ended: Sequence[TargetRecord]) -> tuple[TargetRecord, ...]:
    """The targets of a campaign that are linked: those that did not succeed, then those that ended last.

    Args:
        ended: The newest last.
    """
    newest: dict[int, TargetRecord] = {}
    for record in reversed(ended):
        newest.setdefault(record.target, record)
    linked = sorted(newest, key=lambda target: newest[target].outcome is TargetOutcome.SUCCEEDED)[:MAX_TARGETS]
    return tuple(newest[target] for target in reversed(newest) if target in linked)


def campaign(shown: CampaignDescription, recent: Sequence[TargetRecord], namespace: str) -> str:
    """A campaign as a table of its waves, with what it waits for and links to its targets.

    Args:
        shown: The campaign.
        recent: Targets that have ended, the newest last.
        namespace: Of Temporal.
    """
    job = shown.job
    if job is None:
        return f"**campaign {markdown(shown.name)}** is choosing its targets"
    to = f" to {markdown(job.to)}" if job.to else ""
    targets_word = "target" if shown.targets == 1 else "targets"
    what = f"{job.operation} {markdown(job.promise)}{to}, {shown.targets} {targets_word}"
    lines = [
        f"**campaign {markdown(shown.name)}** {shown.status}: {what}, asked by {markdown(shown.requested_by)}",
        f"\n{markdown(shown.reason)}",
        "",
        "| wave | status | targets | succeeded | failures | running | waiting |",
        "|---|---|---|---|---|---|---|",
        *(_wave(wave) for wave in shown.waves),
    ]
    if shown.paused:
        by = f" by {markdown(shown.paused.by)}" if shown.paused.by else ""
        lines.append(f"\npaused{by}: {markdown(shown.paused.reason or shown.paused.cause)}")
    if shown.waiting_for:
        gate = shown.waiting_for
        lacking = ", ".join(markdown(who) for who in missing(gate, requested_by=shown.requested_by))
        lines.append(
            f"\n**wave {markdown(gate.step)} waits for approval** of targets `{gate.digest[:12]}`. "
            f"Still needs {lacking}."
        )
    if shown.ending:
        lines.append(f"\n{markdown(shown.ending)}")
    targets = [
        _target(each.operation or each.service, _STATUSES.get(each.phase, each.phase), _waits(each), namespace)
        for each in shown.flights[:MAX_TARGETS]
    ]
    targets += [
        _target(each.operation_id or each.service, each.outcome, words.why(each.reason, each.error), namespace)
        for each in reversed(recent[-MAX_TARGETS:])
    ]
    if targets:
        lines += ["", "| target | status | why |", "|---|---|---|", *targets]
    return "\n".join(lines)


def operation_link(operation: str, namespace: str) -> str:
    """A link to an operation, or to a service, in the Temporal UI.

    Args:
        operation: `TEAM/NAME/op/N` or `TEAM/NAME`.
        namespace: Of Temporal.
    """
    if "/op/" in operation:
        workflow_id = names.operation_workflow_id(*names.parse_operation(operation))
    else:
        workflow_id = names.service_workflow_id(*names.parse_service(operation))
    return f"[{operation}](/namespaces/{quote(namespace, safe='')}/workflows/{quote(workflow_id, safe='')})"


def _waits(flight: FlightView) -> str:
    return "waits for an approval" if flight.awaiting else flight.stalled


def _target(operation: str, status: str, why: str, namespace: str) -> str:
    target = operation_link(operation, namespace) if operation else "not accepted yet"
    return f"| {target} | {status} | {markdown(why)} |"


def _wave(wave: WaveProgress) -> str:
    succeeded, running, waiting = (wave.counts.get(key, 0) for key in ("succeeded", "running", "waiting"))
    return f"| {wave.name} | {wave.status} | {wave.size} | {succeeded} | {wave.failures} | {running} | {waiting} |"


def _waiting(record: OperationRecord, approval: Approval) -> str:
    reasons = "; ".join(markdown(need.reason) for need in approval.needs if need.reason)
    lacking = ", ".join(markdown(who) for who in missing(approval, requested_by=record.requested_by))
    return (
        f"\n**{approval.step} waits for approval** of plan `{approval.digest[:12]}`: {reasons}. "
        f"Still needs {lacking}."
    )


def _step(step: StepRecord) -> str:
    decision = ""
    if step.decision:
        decision = step.decision.outcome
        if step.decision.findings:
            decision += ": " + markdown("; ".join(finding.message for finding in step.decision.findings))
    changes = str(step.changes) if step.plan else ""
    return f"| {step.id} | {_MARKS[step.status]} {step.status} | {changes} | {decision} |"
