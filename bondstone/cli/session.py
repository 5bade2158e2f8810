"""A command's connection to the platform. Imported modules are heavy, so nothing here imports them before use."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from bondstone.base.tracing import export
from bondstone.cli import completion, context

if TYPE_CHECKING:
    from bondstone.client import Bondstone
    from bondstone.client.http.transport import Transport

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
        _trace()
    return context.run(main())


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


def _trace() -> None:
    """Trace this command from here to its end, if it is to be; see `context.GlobalOptions.ended`.

    It is the beginning of a trace, or a part of the one that `TRACEPARENT` names, as in a pipeline.
    """
    import logging  # noqa: PLC0415 - most commands are not traced
    from contextlib import ExitStack  # noqa: PLC0415

    from bondstone.base.tracing import spans  # noqa: PLC0415

    if context.options.ended is not None or not export.start("bond"):
        return
    # What is printed is the command's. Workers log it when a collector does not take their spans.
    logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)
    stack = ExitStack()
    parent = os.environ.get(spans.VARIABLE, "")
    span = stack.enter_context(spans.span(context.options.words, parent=parent, kind="CLIENT"))

    def ended(status: int) -> None:
        if status:
            span.fail(f"exit {status}")
        stack.close()
        export.stop()
        context.options.ended = None

    context.options.ended = ended
