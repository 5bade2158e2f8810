"""A command's connection to the platform. Imported modules are heavy, so nothing here imports them before use."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from bondstone.base.tracing import export
from bondstone.cli import completion, context

if TYPE_CHECKING:
    from bondstone.client import Bondstone

T = TypeVar("T")

Selector = Annotated[
    list[str],
    typer.Option(
        "--selector", "-l", "--label", metavar="SELECTOR",
        help="by labels: tier=data, env!=prod, 'env in (dev, test)', owner, !legacy; commas mean and",
    ),
]  # fmt: skip
ServiceArgument = Annotated[
    str,
    typer.Argument(
        metavar="TEAM/NAME", help="the service", show_default=False, autocompletion=completion.services
    ),
]
OperationArgument = Annotated[
    str,
    typer.Argument(
        metavar="ID",
        help="the operation, as in payments/orders-db/op/7",
        show_default=False,
        autocompletion=completion.operations,
    ),
]
Reason = Annotated[str, typer.Option("--reason", metavar="TEXT", help="why, for the record")]
RequestId = Annotated[
    str,
    typer.Option(
        "--request-id", metavar="ID", help="a second request with the same id returns the same operation"
    ),
]
Wait = Annotated[bool, typer.Option("--wait", "-w", help="wait until it has ended")]


def with_platform(work: Callable[[Bondstone], Awaitable[T]]) -> T:
    """Connect, do one thing, and leave.

    Raises:
        BondError: whatever the platform says, and `Unreachable` when it does not.
    """

    async def main() -> T:
        from bondstone.client import connect  # noqa: PLC0415 - imports that --help must not pay
        from bondstone.client.http.address import find_api  # noqa: PLC0415

        if (api := find_api(context.options.data, context.options.values)) is not None:
            from bondstone.client.http.client import HttpClient  # noqa: PLC0415 - most light of both

            async with HttpClient.open(api, by=context.options.actor, data=context.options.data) as client:
                return await work(client)
        async with connect(context.settings(), by=context.options.actor, quiet=True) as bond:
            return await work(bond)

    if export.wanted():
        from bondstone.cli.tracing import begin  # noqa: PLC0415 - most are not traced

        begin()
    return context.run(main())
