"""`Bondstone` over Temporal and the object store."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import cached_property
from typing import TYPE_CHECKING

from typing_extensions import override

from bondstone.base.actor import who_asks
from bondstone.base.settings import Settings
from bondstone.client.bondstone import Bondstone
from bondstone.client.direct.connection import Caller, Connection

if TYPE_CHECKING:
    from bondstone.client.direct.access import DirectAccess
    from bondstone.client.direct.approvals import DirectApprovals
    from bondstone.client.direct.campaigns.campaigns import DirectCampaigns
    from bondstone.client.direct.freezes import DirectFreezes
    from bondstone.client.direct.ledger import DirectLedger
    from bondstone.client.direct.logs import DirectLogs
    from bondstone.client.direct.operations import DirectOperations
    from bondstone.client.direct.policies import DirectPolicies
    from bondstone.client.direct.promises import DirectPromises
    from bondstone.client.direct.schedules.schedules import DirectSchedules
    from bondstone.client.direct.services import DirectServices
    from bondstone.client.direct.state import DirectState
    from bondstone.client.direct.workers import DirectWorkers


class DirectClient(Bondstone):
    """A client that speaks to Temporal and the object store itself. Each noun is imported when it is first used.

    Args:
        connection: To the platform.
        by: Who asks.
        expected_state: `state_digest` of the service that is to be changed: it refuses the change in any other
            state; empty for a client that does not mind.
    """

    def __init__(self, connection: Connection, by: str, expected_state: str = "") -> None:
        self.connection = connection
        self.by = by
        self.settings = connection.settings
        self._caller = Caller(connection, by, expected_state)

    @classmethod
    def of(cls, settings: Settings | None = None, *, by: str = "", quiet: bool = False) -> DirectClient:
        """A client for the platform that the settings name; nothing is opened yet.

        Args:
            settings: Default: from the environment.
            by: Who asks; default: `BOND_AS`, else the user of the operating system.
            quiet: Keep what the Temporal SDK's native core prints off standard error, for the whole process.

        Raises:
            SettingsInvalid: naming each setting that is malformed.
        """
        return cls(Connection(settings or Settings.load(), quiet=quiet), by or who_asks())

    @staticmethod
    @asynccontextmanager
    async def connect(
        settings: Settings | None = None, *, by: str = "", quiet: bool = False
    ) -> AsyncIterator[DirectClient]:
        """As `bondstone.client.connect`, by this transport whatever the settings name."""
        yield DirectClient.of(settings, by=by, quiet=quiet)

    @override
    def acting_as(self, by: str) -> DirectClient:
        return DirectClient(self.connection, by)

    def expecting(self, state: str) -> DirectClient:
        """A client whose changes of a service are refused in any other state.

        Args:
            state: Its `state_digest`.
        """
        return DirectClient(self.connection, self.by, state)

    @cached_property
    def services(self) -> DirectServices:  # noqa: D102 - as the base says; here and below
        from bondstone.client.direct.services import DirectServices  # noqa: PLC0415 - see the class

        return DirectServices(self._caller, self)

    @cached_property
    def operations(self) -> DirectOperations:  # noqa: D102
        from bondstone.client.direct.operations import DirectOperations  # noqa: PLC0415

        return DirectOperations(self._caller)

    @cached_property
    def approvals(self) -> DirectApprovals:  # noqa: D102
        from bondstone.client.direct.approvals import DirectApprovals  # noqa: PLC0415

        return DirectApprovals(self._caller)

    @cached_property
    def campaigns(self) -> DirectCampaigns:  # noqa: D102
        from bondstone.client.direct.campaigns.campaigns import DirectCampaigns  # noqa: PLC0415

        return DirectCampaigns(self._caller, self)

    @cached_property
    def schedules(self) -> DirectSchedules:  # noqa: D102
        from bondstone.client.direct.schedules.schedules import DirectSchedules  # noqa: PLC0415

        return DirectSchedules(self._caller, self.campaigns.describe)

    @cached_property
    def freezes(self) -> DirectFreezes:  # noqa: D102
        from bondstone.client.direct.freezes import DirectFreezes  # noqa: PLC0415

        return DirectFreezes(self._caller)

    @cached_property
    def promises(self) -> DirectPromises:  # noqa: D102
        from bondstone.client.direct.promises import DirectPromises  # noqa: PLC0415

        return DirectPromises(self._caller)

    @cached_property
    def policies(self) -> DirectPolicies:  # noqa: D102
        from bondstone.client.direct.policies import DirectPolicies  # noqa: PLC0415

        return DirectPolicies(self._caller)

    @cached_property
    def access(self) -> DirectAccess:  # noqa: D102
        from bondstone.client.direct.access import DirectAccess  # noqa: PLC0415

        return DirectAccess(self._caller)

    @cached_property
    def state(self) -> DirectState:  # noqa: D102
        from bondstone.client.direct.state import DirectState  # noqa: PLC0415

        return DirectState(self._caller)

    @cached_property
    def logs(self) -> DirectLogs:  # noqa: D102
        from bondstone.client.direct.logs import DirectLogs  # noqa: PLC0415

        return DirectLogs(self._caller)

    @cached_property
    def ledger(self) -> DirectLedger:  # noqa: D102
        from bondstone.client.direct.ledger import DirectLedger  # noqa: PLC0415

        return DirectLedger(self._caller)

    @cached_property
    def workers(self) -> DirectWorkers:  # noqa: D102
        from bondstone.client.direct.workers import DirectWorkers  # noqa: PLC0415

        return DirectWorkers(self._caller)
