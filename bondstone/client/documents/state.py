"""What programs read of Terraform states: `bond state … -o json`."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from pydantic import BaseModel, ConfigDict

from bondstone.base.models import Document

if TYPE_CHECKING:
    from bondstone.base.process_identity import Holder
    from bondstone.store.state.fence import StateEntry


class HolderDocument(Document):
    """One attempt, in one process of one worker."""

    attempt: str
    host: str = ""
    pid: int = 0
    by: str = ""
    """Who asked for the work"""

    @classmethod
    def of(cls, holder: Holder) -> HolderDocument:
        """From what a claim names."""
        return cls(attempt=holder.attempt, host=holder.host, pid=holder.pid, by=holder.by)

    def __str__(self) -> str:
        by = f" for {self.by}" if self.by else ""
        return f"attempt {self.attempt} on {self.host or 'an unknown host'} (pid {self.pid}){by}"


class StateEntryDocument(Document):
    """One entry of a step's state log: an element of `bond state log -o json`."""

    position: int
    kind: str
    """claim, state or release"""
    at: datetime
    """By the clock of whoever wrote it"""
    size: int
    """Bytes of the state it carries"""
    holder: HolderDocument

    @classmethod
    def of(cls, entry: StateEntry) -> StateEntryDocument:
        """From an entry of the log."""
        holder = HolderDocument.of(entry.holder)
        return cls(position=entry.position, kind=entry.kind, at=entry.at, size=entry.size, holder=holder)


class Pushed(BaseModel):
    """What `bond state push` did."""

    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)

    service: str
    """TEAM/NAME"""
    step: str
    changed: bool
    """False when that very state was there already"""
    position: int
    """Where the state stands in the step's log"""
    lineage: str
    serial: int
    objects: int
    """How many managed objects the state holds"""
    replaced_unreadable: bool = False
    """The state in whose place it was put was lost, or could not be read"""


class StateFile(BaseModel):
    """A state, in plain: never printed as a document."""

    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)

    service: str
    """TEAM/NAME"""
    step: str
    content: bytes
    """As Terraform reads it; it holds secrets"""
    archived_as: str = ""
    """Of a service that is gone: the name in its archive"""
    archived_at: datetime | None = None


DOCUMENTS: Final[dict[str, Any]] = {"state-log": list[StateEntryDocument], "state-push": Pushed}
"""Command to the type of its `-o json`."""
