"""A platform at a glance, as programs read it: `bond top -o json`."""

from __future__ import annotations

from typing import Any, Final

from bondstone.base.models import Document
from bondstone.client.documents.campaign import CampaignRow
from bondstone.client.documents.step import ApprovalDocument
from bondstone.client.documents.worker import QueueDocument
from bondstone.model.rows import OperationRow


class OverviewDocument(Document):
    """What a platform is doing."""

    services: dict[str, int]
    """Services by phase"""
    operations: tuple[OperationRow, ...]
    """Those that run or wait for people, oldest first"""
    approvals: tuple[ApprovalDocument, ...]
    """Plans that wait for people"""
    campaigns: tuple[CampaignRow, ...]
    """Those that have not ended"""
    queues: tuple[QueueDocument, ...]
    """The task queues, and who polls them"""


DOCUMENTS: Final[dict[str, Any]] = {"top": OverviewDocument}
"""Command to the type of its `-o json`."""
