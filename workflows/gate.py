"""The gate: whose word a plan waits for, as functions on frozen models. No clock, no I/O."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from bondstone.base.errors import InvalidInput, Refused
from bondstone.model.approval import may
from bondstone.model.plan import Decision, PlanRef
from bondstone.model.service import Approval, Need, OperationInput, OperationKind, VoteCall


def needs(operation: OperationInput, plan: PlanRef, decision: Decision) -> tuple[Need, ...]:
    """Whom to ask before this plan is applied; nobody when empty.

    A decision may ask, a patch that would delete or replace something asks, an upgrade across a major version asks
    unless the promise says otherwise, and a request may ask for every plan that changes something.
    """
    asked = [
        Need(
            roles=finding.roles,
            count=finding.count,
            allow_requester=finding.allow_requester,
            reason=finding.message,
        )
        for finding in decision.findings
        if finding.level == "approval"
    ]
    if plan.empty:
        return ()
    kind = operation.record.kind
    if kind is OperationKind.PATCH and (plan.counts.delete or plan.counts.replace or plan.counts.forget):
        verbs = "delete, replace or forget" if plan.counts.forget else "delete or replace"
        asked.append(Need(reason=f"the patch would {verbs} something: {plan.counts}"))
    if kind is OperationKind.UPGRADE and operation.resolved.day_two.upgrade_approval and _major(operation):
        asked.append(Need(reason=f"the upgrade crosses a major version: {_from_to(operation)}"))
    if operation.ask:
        asked.append(Need(reason="the request asks for an approval"))
    return tuple(asked)


def opened(step: str, plan: PlanRef, asked: Sequence[Need], decision: Decision, now: datetime) -> Approval:
    """A gate that waits."""
    times = [finding.expires_seconds for finding in decision.findings if finding.expires_seconds]
    return Approval(
        step=step,
        digest=plan.digest,
        needs=tuple(asked),
        asked_at=now,
        expires_at=now + timedelta(seconds=min(times)) if times else None,
    )


def check_vote(approval: Approval | None, call: VoteCall, *, requested_by: str, approve: bool) -> None:
    """Refuse a vote that does not count, in words.

    Args:
        approval: The newest gate of the step, if there is one.
        call: The vote.
        requested_by: Who asked for the operation.
        approve: What the vote says.
    """
    if approval is None:
        raise Refused(f"step {call.step!r} waits for nobody", hint="`bond approval list` shows what waits")
    if approval.digest != call.digest:
        raise Refused(
            f"step {call.step} waits for a word on plan {approval.digest[:12]}, not on {call.digest[:12]}",
            hint="look at the plan that is there now with `bond operation plan`, and vote on its digest",
        )
    if approval.status == "would-ask":
        raise Refused(
            f"a dry run of step {call.step} waits for nobody", hint="vote when it is asked for in earnest"
        )
    if approval.status != "waiting":
        raise Refused(f"the gate of step {call.step} is {approval.status} already")
    if any(vote.by == call.by for vote in approval.votes):
        raise Refused(f"{call.by} has voted on this plan already")
    counting = [need for need in approval.needs if may(need, call.roles)]
    if not counting:
        asked = sorted({role for need in approval.needs for role in need.roles})
        raise Refused(
            f"{call.by} is in none of the roles that are asked: {', '.join(asked)}",
            hint="say the role you act in with --role",
        )
    if approve and call.by == requested_by and not any(need.allow_requester for need in counting):
        raise Refused(f"{call.by} asked for this operation, so somebody else must approve it")
    if not approve and not call.comment:
        raise InvalidInput("a rejection needs a reason", hint="give it with --reason")


def _major(operation: OperationInput) -> bool:
    before = operation.before
    return before is not None and _number(before.revision.version) != _number(operation.resolved.revision.version)


def _number(version: str) -> str:
    return version.partition(".")[0]


def _from_to(operation: OperationInput) -> str:
    before = operation.before.revision.version if operation.before else "nothing"
    return f"{before} to {operation.resolved.revision.version}"
