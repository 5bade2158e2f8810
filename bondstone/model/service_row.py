"""One service in a list. Without pydantic, so that a command that lists services over HTTP starts at once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any, Self


@dataclass(frozen=True, kw_only=True, slots=True)
class ServiceRow:
    """One service in a list: what Temporal's visibility says of it, without waking its workflow."""

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
    parent: str = ""
    """The service that it is a part of, made for it; empty when it stands by itself."""
    bound_by: tuple[str, ...] = ()
    """Services that share it as a part."""
    drift: int = 0
    """Objects that differ from what was applied, as its last drift check reported."""
    operation: str | None = None
    """The operation that runs, if one does."""
    changed_at: datetime
    """When its last operation ended; before any has, when it was requested."""
    created_at: datetime | None = None
    """When it was first requested; null of one that nothing has changed since a version that did not list this."""

    @classmethod
    def from_json(cls, row: Mapping[str, Any]) -> Self:
        """A row as the API sends it; what this version does not know of it is left out.

        Args:
            row: The object of the list.

        Raises:
            KeyError: it has no time of change.
            TypeError: it lacks another field.
            ValueError: the time is none.
        """
        values = {name: row[name] for name in _NAMES if name in row}
        created = row.get("created_at")
        times = {
            "changed_at": datetime.fromisoformat(row["changed_at"]),
            "created_at": datetime.fromisoformat(created) if created else None,
        }
        return cls(**{**values, **times, "bound_by": tuple(row.get("bound_by", ()))})


_NAMES = tuple(each.name for each in fields(ServiceRow))
