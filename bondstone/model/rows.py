"""Elements of lists: what Temporal's visibility says of a service or an operation, without waking a workflow."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Final, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict

from bondstone.model.service_row import ServiceRow

BuildStatus: TypeAlias = Literal["new", "current", "ramping", "draining", "drained"]
"""Of a build of the control workers; see `bondstone.temporal.builds.Build`."""


MADE_FOR: Final = "made-for="
BOUND_BY: Final = "bound-by="
"""How a part names a parent in lists: one that it was made for, or one that shares it."""


class ListedService(BaseModel):
    """One service as Temporal's visibility lists it."""

    model_config = ConfigDict(frozen=True)

    row: ServiceRow
    alive: bool
    """False of one that was decommissioned or abandoned."""
    stamp: datetime
    """When what lists show of it was last set; of two states of a service the later one counts."""


class FleetList(BaseModel):
    """A whole list of the services, kept so that the next reader asks only for what has changed since."""

    model_config = ConfigDict(frozen=True)

    current_to: datetime
    """Every change up to this moment is in it; later ones may be."""
    services: tuple[ListedService, ...]

    def updated(self, changes: Iterable[ListedService], current_to: datetime) -> FleetList:
        """The list with later states of some services, which count from their stamps on."""
        services = {service.row.id: service for service in self.services}
        for service in changes:
            known = services.get(service.row.id)
            if known is None or known.stamp <= service.stamp:
                services[service.row.id] = service
        return FleetList(current_to=current_to, services=tuple(services.values()))


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
