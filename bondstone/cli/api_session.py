"""Commands that ask the HTTP API and nothing else: who somebody is, and what they may do."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, TypeVar

from bondstone.cli import context

if TYPE_CHECKING:
    from bondstone.client.http.transport import Transport

T = TypeVar("T")


def with_api(work: Callable[[Transport], Awaitable[T]]) -> T:
    """Ask the API, and leave.

    Raises:
        SettingsInvalid: no API is named, or there is no token for it.
        BondError: whatever the API says, and `Unreachable` when it does not answer.
    """

    async def main() -> T:
        from bondstone.client.http.address import find_api  # noqa: PLC0415 - imports that --help must not pay
        from bondstone.client.http.client import HttpClient  # noqa: PLC0415

        api = find_api(context.options.data, context.options.values)
        if api is None:
            from bondstone.base.errors import SettingsInvalid  # noqa: PLC0415 - only failures

            raise SettingsInvalid(
                "this command needs the platform's API, and none is named",
                hint="start one with `bond up`, or name one: BOND_API and BOND_TOKEN, `bond context add`",
            )
        async with HttpClient.open(api, by=context.options.actor, data=context.options.data) as client:
            return await work(client.transport)

    return context.run(main())
