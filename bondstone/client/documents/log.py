"""What programs read of logs."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from bondstone.base.models import Document

if TYPE_CHECKING:
    from bondstone.store.logs import LogInfo


class LogDocument(Document):
    """The log of one attempt of a step."""

    step: str
    verb: str
    """What was done: plan, apply, …"""
    attempt: str
    began: datetime
    size: int
    """Bytes, sealed"""

    @classmethod
    def of(cls, log: LogInfo) -> LogDocument:
        """From what the store lists."""
        return cls(step=log.step, verb=log.verb, attempt=log.attempt, began=log.began, size=log.size)


class LogLine(Document):
    """One line of a log."""

    step: str
    verb: str
    """What was done: plan, apply, …"""
    attempt: str
    text: str
    """The line, secrets removed"""
