"""The fleet as a campaign sees it: plain records, and the expressions that choose among them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

from bondstone.base.errors import ExpressionInvalid
from bondstone.cel.templates import VariableScope, evaluate

FLEET_TYPES: Final = {
    "id": "string",
    "team": "string",
    "name": "string",
    "promise": "string",
    "revision": "string",
    "version": "string",
    "phase": "string",
    "health": "string",
    "labels": "map<string, string>",
    "pool": "string",
    "parent": "string",
    "drift": "int",
}
"""What `where` may use: as `--where` of `service list`, and the version and the pool besides."""

SCOPE: Final = VariableScope(FLEET_TYPES)


@dataclass(frozen=True, slots=True)
class FleetService:
    """One service of the fleet, as it stood when it was looked at."""

    id: str
    """`team/name`."""
    promise: str
    version: str
    """Of the revision that it stands on; empty before it has ever been provisioned."""
    phase: str
    health: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    pool: str = ""
    """Where its steps run; several are parted by commas."""
    parent: str = ""
    """The service that it was made for as a part; empty when it stands by itself."""
    bound_by: tuple[str, ...] = ()
    """Services that share it as a part."""
    drift: int = 0
    """Objects that differ from what was applied, as its last drift check reported."""

    @property
    def team(self) -> str:
        """Whose it is."""
        return self.id.partition("/")[0]

    @property
    def name(self) -> str:
        """Its name within the team."""
        return self.id.partition("/")[2]

    def variables(self) -> dict[str, object]:
        """What expressions see of it."""
        return {
            "id": self.id, "team": self.team, "name": self.name, "promise": self.promise,
            "revision": f"{self.promise}@{self.version}", "version": self.version, "phase": self.phase,
            "health": self.health, "labels": dict(self.labels), "pool": self.pool, "parent": self.parent,
            "drift": self.drift,
        }  # fmt: skip


def matcher(where: str) -> Callable[[FleetService], str]:
    """A checked expression as a question: empty when it holds for a service, else why it does not."""

    def why_not(service: FleetService) -> str:
        try:
            return "" if evaluate(where, service.variables()) is True else "`where` is not true of it"
        except ExpressionInvalid as error:  # a label that this one lacks
            return f"`where` cannot be evaluated for it: {error.message}"

    return why_not
