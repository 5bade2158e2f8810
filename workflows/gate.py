"""The gate: which approvals a plan waits for, as functions on frozen models. No clock, no I/O."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from bondstone.base.errors import InvalidInput, Refused, VoteRefused, VoteStale
from bondstone.model import approval as approvals
from bondstone.model.approval import may
from bondstone.model.plan import Decision, PlanRef
from bondstone.model.service import Approval, Need, OperationInput, VoteCall


def needs(operation: OperationInput, plan: PlanRef, decision: Decision) -> tuple[Need, ...]:
    """Whom to ask before this plan is applied; nobody when empty: see `bondstone.model.approval.needs`."""
    return approvals.needs(operation.record.kind, plan, decision, approvals.asks(operation))


def opened(step: str, plan: PlanRef, required: Sequence[Need], decision: Decision, now: datetime) -> Approval:
    """A gate that waits."""
    times = [finding.expires_seconds for finding in decision.findings if finding.expires_seconds]
    return Approval(
        step=step,
        digest=plan.digest,
        needs=tuple(required),
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
        raise Refused(f"step {call.step!r} waits for no approval", hint="`bond approval list` shows what waits")
    if approval.digest != call.digest:
        raise VoteStale(
            f"step {call.step} waits for approval of plan {approval.digest[:12]}, "
            f"and this vote names {call.digest[:12]}",
            hint="look at the plan that is there now with `bond operation plan`, and vote on its digest",
        )
    if approval.status == "would-ask":
        raise Refused(
            f"a dry run of step {call.step} needs no approval", hint="vote on the plan of the operation itself"
        )
    if approval.status != "waiting":
        raise Refused(f"the gate of step {call.step} is {approval.status} already")
    if any(vote.by == call.by for vote in approval.votes):
        raise Refused(f"{call.by} has voted on this plan already")
    counting = [need for need in approval.needs if may(need, call.roles)]
    if not counting:
        roles = sorted({role for need in approval.needs for role in need.roles})
        raise VoteRefused(
            f"{call.by} is in none of the required roles: {', '.join(roles)}",
            hint="say the role you act in with --role",
        )
    if approve and call.by == requested_by and not any(need.allow_requester for need in counting):
        raise VoteRefused(f"{call.by} asked for this operation, so another person must approve it")
    if not approve and not call.comment:
        raise InvalidInput("a rejection needs a reason", hint="give it with --reason")
