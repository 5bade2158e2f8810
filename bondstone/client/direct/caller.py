"""Who asks, and by which connection: what each noun of the client is made with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bondstone.base.settings import Settings
    from bondstone.client.direct.connection import Connection


@dataclass(frozen=True)
class Caller:
    """A person or program that asks."""

    connection: Connection
    """To the platform."""
    by: str
    """Who asks: recorded with every change."""
    expected_state: str = ""
    """`state_digest` of the service that is to be changed: it refuses the change in any other state; empty for any
    state."""

    @property
    def settings(self) -> Settings:
        """What the connection was made with."""
        return self.connection.settings
