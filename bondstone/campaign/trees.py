"""Compound services in a campaign: which parts belong to which target, and what comes before what."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TypeVar

from bondstone.campaign.fleet import FleetService

Item = TypeVar("Item")


class Trees:
    """The services of a fleet by the parent that they were made for.

    Args:
        fleet: Every service there is; each once.
    """

    def __init__(self, fleet: Iterable[FleetService]) -> None:
        self._parts: dict[str, list[FleetService]] = {}
        for service in fleet:
            if service.parent:
                self._parts.setdefault(service.parent, []).append(service)

    def below(self, root: str) -> tuple[FleetService, ...]:
        """The parts that were made for a service, and theirs, each once, by id within a level."""
        below: dict[str, FleetService] = {}
        level = [root]
        while level:
            parts = [part for parent in level for part in self._parts.get(parent, ()) if part.id not in below]
            below |= {part.id: part for part in sorted(parts, key=lambda part: part.id)}
            level = [part.id for part in parts]
        return tuple(below.values())


def parts_first(
    items: Sequence[Item], service_of: Callable[[Item], FleetService], *, parents_first: bool = False
) -> list[Item]:
    """The items in their order, but with each part before its parents among them.

    Args:
        items: In the campaign's order.
        service_of: The service of an item.
        parents_first: The other way round, as a decommission goes.
    """
    by_id: Mapping[str, Item] = {service_of(item).id: item for item in items}
    before: dict[str, list[str]] = {}
    for item in items:
        part = service_of(item)
        for parent in (part.parent, *part.bound_by):
            if parent in by_id:
                first, then = (parent, part.id) if parents_first else (part.id, parent)
                before.setdefault(then, []).append(first)
    placed: dict[str, Item] = {}

    def place(service: str, above: frozenset[str]) -> None:
        if service in placed or service in above:
            return
        for first in before.get(service, ()):
            place(first, above | {service})
        placed[service] = by_id[service]

    for service in by_id:
        place(service, frozenset())
    return list(placed.values())
