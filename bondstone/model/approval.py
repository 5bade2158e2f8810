"""What votes come to: whom a gate still waits for, as functions on frozen models."""

from __future__ import annotations

from collections.abc import Sequence

from bondstone.model.service import Approval, Need, Vote


def may(need: Need, roles: Sequence[str]) -> bool:
    """Whether a person in these roles is among those whose word is needed."""
    return not need.roles or bool(set(need.roles) & set(roles))


def given(need: Need, votes: Sequence[Vote], requested_by: str) -> int:
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
    elif all(given(need, votes, requested_by) >= need.count for need in approval.needs):
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
        left = need.count - given(need, approval.votes, requested_by)
        if left > 0:
            who = " or ".join(need.roles) or ("anybody" if need.allow_requester else f"anybody but {requested_by}")
            lacking.append(f"{left} of {who}")
    return list(dict.fromkeys(lacking))
