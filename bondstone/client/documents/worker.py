"""What `bond worker` prints for programs; schemas in docs/reference/schemas."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final

from bondstone.base.models import Document
from bondstone.model.rows import BuildStatus


class HeldDocument(Document):
    """Runs that began on a build and have not ended."""

    services: int
    operations: int
    """Operations that run or wait for people"""
    campaigns: int
    """Campaigns, and runs of schedules that wait for one"""


class BuildDocument(Document):
    """A build of the control workers: an element of `bond worker list -o json`."""

    build: str
    """Empty: workers without builds"""
    status: BuildStatus
    percent: float
    """The part of new work that a ramping build gets"""
    workers: int
    """Control workers of this build that poll now"""
    holds: HeldDocument
    first_seen: datetime | None
    """null for workers without builds"""

    @property
    def stranded(self) -> bool:
        """Whether it holds something that no worker runs."""
        return not self.workers and any(self.holds.model_dump().values())


class EvictedDocument(Document):
    """What was moved: `bond worker evict -o json`."""

    build: str
    to: str
    """The build that has it now"""
    moved: HeldDocument


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


DOCUMENTS: Final[dict[str, Any]] = {
    "worker-list": list[BuildDocument],
    "worker-evict": EvictedDocument,
}
"""Schema name: what is printed."""
