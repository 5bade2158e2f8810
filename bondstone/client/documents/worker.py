"""What programs read of those who poll task queues."""

from __future__ import annotations

from datetime import datetime

from bondstone.base.models import Document


class PollerDocument(Document):
    """A worker that polled a queue in the last minute."""

    identity: str
    """As in control@host:pid"""
    last_seen: datetime
    build: str = ""
    """Of a control worker, if it has one"""


class QueueDocument(Document):
    """A task queue and the workers that poll it now."""

    queue: str
    pool: str | None = None
    """null for the queue of the control workers"""
    pollers: tuple[PollerDocument, ...] = ()
