"""What happened, as programs read it: `bond events -o json`."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from bondstone.base.models import Document
from bondstone.base.names import HEALTH_PROBE

if TYPE_CHECKING:
    from bondstone.client.documents.campaign import CampaignRow
    from bondstone.client.documents.service import OperationDocument
    from bondstone.client.documents.step import ApprovalDocument
    from bondstone.model.rows import OperationRow


class EventDocument(Document):
    """One thing that happened."""

    at: datetime
    subject: str
    """TEAM/NAME/op/N, or the name of a campaign"""
    event: str
    """started, waits for approval, waits for its health, or the status that it ended with"""
    about: str
    """What it is, in words"""


def events(
    operations: Iterable[OperationRow],
    campaigns: Iterable[CampaignRow],
    gates: Iterable[ApprovalDocument] = (),
    running: Iterable[OperationDocument] = (),
) -> list[EventDocument]:
    """What lists say has happened, oldest first.

    Args:
        operations: Operations, also those that run.
        campaigns: Campaigns, also those that run.
        gates: Plans that wait for people.
        running: Operations that run, with what they do now.
    """
    happened = []
    for row in operations:
        about = f"{row.kind} {row.revision}".strip()
        happened.append(EventDocument(at=row.started_at, subject=row.id, event="started", about=about))
        if row.finished_at is not None:
            happened.append(EventDocument(at=row.finished_at, subject=row.id, event=row.status, about=about))
    for gate in gates:
        about = f"{gate.kind}: step {gate.step} needs {' and '.join(gate.missing)}"
        happened.append(
            EventDocument(at=gate.asked_at, subject=gate.operation, event="waits for approval", about=about)
        )
    happened += [
        EventDocument(
            at=each.since,
            subject=operation.id,
            event="waits for its health",
            about=f"{each.about}: {each.waits_for}",
        )
        for operation in running
        for each in operation.progress
        if each.activity == HEALTH_PROBE and each.since is not None and each.waits_for
    ]
    for campaign in campaigns:
        about = f"campaign, {campaign.revision or campaign.promise}".rstrip(", ")
        happened.append(EventDocument(at=campaign.started_at, subject=campaign.name, event="started", about=about))
        if campaign.ended_at is not None:
            happened.append(
                EventDocument(at=campaign.ended_at, subject=campaign.name, event=campaign.status, about=about)
            )
    return sorted(happened, key=lambda each: (each.at, each.subject, each.event != "started"))


DOCUMENTS: Final[dict[str, Any]] = {"events": list[EventDocument]}
"""Command to the type of its `-o json`; with `-w` one element a line."""
