"""What votes come to: whom a gate still waits for, as functions on frozen models."""

from __future__ import annotations

from collections.abc import Sequence

from bondstone.model.plan import Decision, PlanRef
from bondstone.model.service import Approval, Need, OperationInput, OperationKind, Vote


def asks(operation: OperationInput) -> tuple[str, ...]:
    """Why every plan of an operation that changes something waits for an approval, whatever the policies say.

    An upgrade across a major version asks unless the promise says otherwise, and a request may ask for it.
    """
    reasons = []
    kind = operation.record.kind
    if kind is OperationKind.UPGRADE and operation.resolved.day_two.upgrade_approval and _major(operation):
        reasons.append(f"the upgrade crosses a major version: {_from_to(operation)}")
    if operation.ask:
        reasons.append("the request asks for an approval")
    return tuple(reasons)


def needs(kind: OperationKind, plan: PlanRef, decision: Decision, asks: Sequence[str]) -> tuple[Need, ...]:
    """Whom to ask before a plan is applied; nobody when empty.

    Args:
        kind: Of the operation. A patch asks when its plan would delete, replace or forget something.
        plan: What would be applied; an empty one asks nobody.
        decision: What the policies say.
        asks: Reasons of the operation itself, as `asks` gives them.
    """
    if plan.empty:
        return ()
    required = [
        Need(
            roles=finding.roles,
            count=finding.count,
            allow_requester=finding.allow_requester,
            reason=finding.message,
        )
        for finding in decision.findings
        if finding.level == "approval"
    ]
    if kind is OperationKind.PATCH and (plan.counts.delete or plan.counts.replace or plan.counts.forget):
        verbs = "delete, replace or forget" if plan.counts.forget else "delete or replace"
        required.append(Need(reason=f"the patch would {verbs} something: {plan.counts}"))
    return (*required, *(Need(reason=reason) for reason in asks))


def may(need: Need, roles: Sequence[str]) -> bool:
    """Whether a person in these roles is among those whose approval is needed."""
    return not need.roles or bool(set(need.roles) & set(roles))


def votes_for(need: Need, votes: Sequence[Vote], requested_by: str) -> int:
    """How many of the votes count for a need."""
    return sum(
        vote.approve and may(need, vote.roles) and (need.allow_requester or vote.by != requested_by)
        for vote in votes
    )


def voted(approval: Approval, vote: Vote, *, requested_by: str) -> Approval:
    """The gate after a vote that counts: one rejection rejects, enough approvals of every need approve."""
    votes = (*approval.votes, vote)
    if not vote.approve:
        status = "rejected"
    elif all(votes_for(need, votes, requested_by) >= need.count for need in approval.needs):
        status = "approved"
    else:
        status = "waiting"
    return approval.changed(votes=votes, status=status)


def missing(approval: Approval, *, requested_by: str) -> list[str]:
    """What still lacks, for people: `2 of dba or sre`; nothing when it is decided."""
    if approval.status != "waiting":
        return []
    lacking = []
    for need in approval.needs:
        left = need.count - votes_for(need, approval.votes, requested_by)
        if left > 0:
            who = " or ".join(need.roles) or ("anybody" if need.allow_requester else f"anybody but {requested_by}")
            lacking.append(f"{left} of {who}")
    return list(dict.fromkeys(lacking))


def _major(operation: OperationInput) -> bool:
    before = operation.before
    return before is not None and _number(before.revision.version) != _number(operation.resolved.revision.version)


def _number(version: str) -> str:
    return version.partition(".")[0]


def _from_to(operation: OperationInput) -> str:
    before = operation.before.revision.version if operation.before else "nothing"
    return f"{before} to {operation.resolved.revision.version}"
