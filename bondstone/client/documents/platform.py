"""What programs read of a whole platform: `bond top`, `bond doctor`, `bond backup` and `bond restore`."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final, Literal

from bondstone.base.models import Document
from bondstone.client.documents.campaign import CampaignRow
from bondstone.client.documents.step import ApprovalDocument
from bondstone.client.documents.worker import QueueDocument
from bondstone.model.rows import OperationRow


class CheckResult(Document):
    """What one check came to: an element of `bond doctor -o json`."""

    check: str
    """temporal, database, disk, store, keys, ledger or operations"""
    status: Literal["ok", "warning", "problem", "skipped"]
    message: str
    hint: str = ""
    """What to do about it"""


class BackupDocument(Document):
    """A backup: `bond backup -o json` and `bond restore -o json`."""

    file: str
    data: str
    """The data directory that was backed up, or made"""
    at: datetime
    """When the backup was made"""
    version: str
    """Of Bondstone, that made it"""
    keys: bool
    """Whether key rings are in it: anybody who has the file can read everything then"""
    size: int
    """Of the file, in bytes"""


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


DOCUMENTS: Final[dict[str, Any]] = {"top": OverviewDocument, "doctor": list[CheckResult], "backup": BackupDocument}
"""Command to the type of its `-o json`."""
