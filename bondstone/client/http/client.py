"""`Bondstone` over the HTTP API."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from typing_extensions import override

from bondstone.base.actor import who_asks
from bondstone.client.bondstone import Bondstone
from bondstone.client.http.address import ApiAddress
from bondstone.client.http.transport import Transport

if TYPE_CHECKING:
    from bondstone.base.settings import Settings
    from bondstone.client.http.access import HttpAccess
    from bondstone.client.http.approvals import HttpApprovals
    from bondstone.client.http.campaigns import HttpCampaigns
    from bondstone.client.http.freezes import HttpFreezes
    from bondstone.client.http.ledger import HttpLedger
    from bondstone.client.http.logs import HttpLogs
    from bondstone.client.http.operations import HttpOperations
    from bondstone.client.http.policies import HttpPolicies
    from bondstone.client.http.promises import HttpPromises
    from bondstone.client.http.schedules import HttpSchedules
    from bondstone.client.http.services import HttpServices
    from bondstone.client.http.state import HttpState
    from bondstone.client.http.workers import HttpWorkers


class HttpClient(Bondstone):
    """A client that speaks to the HTTP API. Each noun is imported when it is first used.

    Args:
        transport: Connections to the API.
        by: Who asks, as far as this process knows.
        data: The data directory, where the caller names one.
    """

    def __init__(self, transport: Transport, *, by: str = "", data: Path | None = None) -> None:
        self.transport = transport
        self.by = by or who_asks()
        self._data = data

    @classmethod
    @asynccontextmanager
    async def open(
        cls, address: ApiAddress, *, by: str = "", data: Path | None = None
    ) -> AsyncIterator[HttpClient]:
        """A client of one API; its connections are closed afterwards.

        Args:
            address: Where the API is, and the token.
            by: Whose name to act in, for the holder of a data directory; default: `BOND_AS`, else one's own.
            data: The data directory, where the caller names one.
        """
        asserted = by or os.environ.get("BOND_AS", "")
        transport = Transport(address, asserted)
        try:
            yield cls(transport, by=asserted, data=data)
        finally:
            transport.close()

    @cached_property
    def settings(self) -> Settings:  # type: ignore[override] # read when they are asked for
        """The settings of this process; those of the platform are the API's own."""
        from bondstone.base.settings import Settings  # noqa: PLC0415 - most verbs need none

        return Settings.load(data=self._data)

    @override
    def acting_as(self, by: str) -> HttpClient:
        return HttpClient(self.transport.acting_as(by), by=by, data=self._data)

    @cached_property
    def services(self) -> HttpServices:  # noqa: D102 - as the base says; here and below
        from bondstone.client.http.services import HttpServices  # noqa: PLC0415 - see the class

        return HttpServices(self.transport, self)

    @cached_property
    def operations(self) -> HttpOperations:  # noqa: D102
        from bondstone.client.http.operations import HttpOperations  # noqa: PLC0415

        return HttpOperations(self.transport)

    @cached_property
    def approvals(self) -> HttpApprovals:  # noqa: D102
        from bondstone.client.http.approvals import HttpApprovals  # noqa: PLC0415

        return HttpApprovals(self.transport)

    @cached_property
    def campaigns(self) -> HttpCampaigns:  # noqa: D102
        from bondstone.client.http.campaigns import HttpCampaigns  # noqa: PLC0415

        return HttpCampaigns(self.transport)

    @cached_property
    def schedules(self) -> HttpSchedules:  # noqa: D102
        from bondstone.client.http.schedules import HttpSchedules  # noqa: PLC0415

        return HttpSchedules(self.transport)

    @cached_property
    def freezes(self) -> HttpFreezes:  # noqa: D102
        from bondstone.client.http.freezes import HttpFreezes  # noqa: PLC0415

        return HttpFreezes(self.transport)

    @cached_property
    def promises(self) -> HttpPromises:  # noqa: D102
        from bondstone.client.http.promises import HttpPromises  # noqa: PLC0415

        return HttpPromises(self.transport, self)

    @cached_property
    def policies(self) -> HttpPolicies:  # noqa: D102
        from bondstone.client.http.policies import HttpPolicies  # noqa: PLC0415

        return HttpPolicies(self.transport)

    @cached_property
    def access(self) -> HttpAccess:  # noqa: D102
        from bondstone.client.http.access import HttpAccess  # noqa: PLC0415

        return HttpAccess(self.transport)

    @cached_property
    def state(self) -> HttpState:  # noqa: D102
        from bondstone.client.http.state import HttpState  # noqa: PLC0415

        return HttpState(self.transport)

    @cached_property
    def logs(self) -> HttpLogs:  # noqa: D102
        from bondstone.client.http.logs import HttpLogs  # noqa: PLC0415

        return HttpLogs(self.transport)

    @cached_property
    def ledger(self) -> HttpLedger:  # noqa: D102
        from bondstone.client.http.ledger import HttpLedger  # noqa: PLC0415

        return HttpLedger(self.transport)

    @cached_property
    def workers(self) -> HttpWorkers:  # noqa: D102
        from bondstone.client.http.workers import HttpWorkers  # noqa: PLC0415

        return HttpWorkers(self.transport)
