"""What is kept of services that are gone: their last states, and their secrets where the promise says so."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from bondstone.base.errors import NotFound
from bondstone.model.service import ServiceId
from bondstone.store import object_keys
from bondstone.store.sealed import SealedObjects

STATE = "state"


@dataclass(frozen=True, slots=True)
class Archived:
    """One archived object."""

    name: str
    """What to ask for: `op-7/state/database`, `op-7/secrets/inputs/password/<fingerprint>`."""
    kind: str
    """`state` or `secrets`."""
    size: int
    at: datetime

    @property
    def step(self) -> str:
        """Of a state: whose."""
        return self.name.rpartition("/")[2]


class Archive:
    """Sealed objects under `archive/<team>/<service>/<sequence>/`, one sequence for each life of a name.

    Args:
        sealed: Where they are kept.
    """

    def __init__(self, sealed: SealedObjects) -> None:
        self._sealed = sealed

    async def list(self, service: ServiceId) -> list[Archived]:
        """All that is kept of services of this name, the last life last."""
        prefix = f"{object_keys.archive(service)}/"
        entries = [
            Archived(
                name=info.key.removeprefix(prefix),
                kind=info.key.removeprefix(prefix).split("/")[1],
                size=info.size,
                at=info.modified,
            )
            for info in await self._sealed.objects.list(prefix.rstrip("/"))
        ]
        return sorted(entries, key=lambda item: (_number(item.name), item.name))

    async def read(self, service: ServiceId, name: str) -> bytes:
        """One of them.

        Raises:
            NotFound: there is none of that name; `list` has the names.
        """
        if name not in {item.name for item in await self.list(service)}:
            raise NotFound(
                f"the archive of {service} has no {name[:200]!r}",
                hint=f"`bond service archive {service}` lists what was",
            )
        return await self._sealed.get(f"{object_keys.archive(service)}/{name}")

    async def last_states(self, service: ServiceId) -> dict[str, Archived]:
        """The last state of each step of services of this name, by step."""
        return {item.step: item for item in await self.list(service) if item.kind == STATE}


def _number(name: str) -> int:
    """`op-7` and `abandon-7` are numbered as operations are, and numbers are never used twice."""
    digits = name.partition("/")[0].rpartition("-")[2]
    return int(digits) if digits.isdigit() else 0
