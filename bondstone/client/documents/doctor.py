"""What programs read of `bond doctor`, `bond backup` and `bond restore`."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final, Literal

from bondstone.base.models import Document


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


DOCUMENTS: Final[dict[str, Any]] = {"doctor": list[CheckResult], "backup": BackupDocument}
"""Command to the type of its `-o json`."""
