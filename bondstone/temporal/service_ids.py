"""Services as people name them, and as Temporal does."""

from __future__ import annotations

from bondstone.base import names
from bondstone.model.service import ServiceId


def service_id(service: str) -> ServiceId:
    """The identity that `TEAM/NAME` names.

    Raises:
        InvalidInput: when it is not that.
    """
    team, name = names.parse_service(service)
    return ServiceId(team=team, name=name)


def workflow_of(service: str) -> str:
    """The id of the workflow of `TEAM/NAME`."""
    parsed = service_id(service)
    return names.service_workflow_id(parsed.team, parsed.name)
