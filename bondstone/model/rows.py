"""Elements of lists: what Temporal's visibility says of a service or an operation, without waking a workflow."""

from __future__ import annotations

from datetime import datetime
from typing import Literal, TypeAlias

from pydantic import BaseModel, ConfigDict

BuildStatus: TypeAlias = Literal["new", "current", "ramping", "draining", "drained"]
"""Of a build of the control workers; see `bondstone.temporal.builds.Build`."""


class ServiceRow(BaseModel):
    """One service in a list."""

    model_config = ConfigDict(frozen=True)

    id: str
    team: str
    name: str
    promise: str
    revision: str
    phase: str
    health: str
    labels: dict[str, str]
    pool: str = ""
    """Where its steps run; several are parted by commas."""
    operation: str | None = None
    """The operation that runs, if one does."""
    changed_at: datetime
    """When its last operation ended; before any has, when it was requested."""


class OperationRow(BaseModel):
    """One operation in a list."""

    model_config = ConfigDict(frozen=True)

    id: str
    service: str
    kind: str
    status: str
    revision: str
    started_at: datetime
    finished_at: datetime | None = None
