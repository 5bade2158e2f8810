"""The way into the client: which transport speaks to a platform."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from bondstone.client.http.address import find_api, find_api_of

if TYPE_CHECKING:
    from bondstone.base.settings import Settings
    from bondstone.client.bondstone import Bondstone


@asynccontextmanager
async def connect(
    settings: Settings | None = None, *, by: str = "", quiet: bool = False
) -> AsyncIterator[Bondstone]:
    """A client for the platform that the settings name. The first verb connects, this does not.

    It speaks to the HTTP API where one is named (`BOND_API`, or what `bond up` wrote) and there is a token for
    it, else to Temporal directly; `BOND_API=` without a value has it speak to Temporal.

    Args:
        settings: Default: from the environment, see `bondstone.base.settings`.
        by: Who asks; default: `BOND_AS`, else the user of the operating system.
        quiet: Keep what the Temporal SDK's native core prints off standard error, for the whole process.

    Returns:
        A context manager that gives the client, and closes its connections at the end.

    Raises:
        SettingsInvalid: naming each setting that is malformed.
    """
    address = find_api() if settings is None else find_api_of(settings)
    if address is not None:
        from bondstone.client.http.client import HttpClient  # noqa: PLC0415 - one of the transports

        async with HttpClient.open(address, by=by, data=settings.data if settings else None) as client:
            yield client
        return
    from bondstone.client.direct.client import DirectClient  # noqa: PLC0415 - heavy, and one of the transports

    yield DirectClient.of(settings, by=by, quiet=quiet)
