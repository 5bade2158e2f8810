"""`bond service`, the commands of day two: change a service, look after it, let go of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from bondstone.cli import inputs as cli_inputs
from bondstone.cli.operation_options import Ask, DryRun, Files, FromFiles, Secrets, Strings, Values, accepted
from bondstone.cli.session import Reason, RequestId, ServiceArgument, Wait, with_platform
from bondstone.terminal.output import Output, OutputFormat, emit, examples, note, say

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from bondstone.client import Bondstone, RequestOptions
    from bondstone.client.documents.service import ServiceDocument

app = typer.Typer()
"""Its commands stand in the group of `bondstone.cli.service.commands`."""

To = Annotated[
    str, typer.Option("--to", metavar="V", help="exact version; default: the newest that fits", show_default=False)
]


@app.command(
    epilog=examples(
        "bond service update payments/orders --set size=large --wait",
        "bond service update payments/orders --set size=large --dry-run",
        "bond service update payments/orders --set size=null             back to its default",
    )
)
def update(
    service: ServiceArgument,
    *,
    values: Values = [],  # noqa: B006 - typer copies it, here and below
    strings: Strings = [],  # noqa: B006
    from_files: FromFiles = [],  # noqa: B006
    secrets: Secrets = [],  # noqa: B006
    files: Files = [],  # noqa: B006
    dry_run: DryRun = False,
    ask: Ask = False,
    reason: Reason = "",
    request_id: RequestId = "",
    wait: Wait = False,
    output: Output = OutputFormat.TABLE,
) -> None:
    """Change inputs at the same revision; those not named stay. Objects are merged; null sets the default."""
    inputs = cli_inputs.gather(files=files, values=values, strings=strings, from_files=from_files, secrets=secrets)
    options = _options(reason, request_id, dry_run=dry_run, ask=ask)
    accepted(
        lambda bond: bond.services.update(service, inputs, **options), wait=wait, output=output, dry_run=dry_run
    )


@app.command(
    epilog=examples(
        "bond service patch payments/orders --wait", "bond service patch payments/orders --to 1.4.2 --dry-run"
    )
)
def patch(
    service: ServiceArgument,
    *,
    to: To = "",
    dry_run: DryRun = False,
    ask: Ask = False,
    reason: Reason = "",
    request_id: RequestId = "",
    wait: Wait = False,
    output: Output = OutputFormat.TABLE,
) -> None:
    """Move to a newer revision of the same major and minor version.

    What fails or is not healthy goes back to where it was, unless the promise says otherwise. A patch that would
    delete or replace something waits for an approval.
    """
    options = _options(reason, request_id, dry_run=dry_run, ask=ask)
    accepted(
        lambda bond: bond.services.patch(service, to=to, **options), wait=wait, output=output, dry_run=dry_run
    )


@app.command(
    epilog=examples(
        "bond service upgrade payments/orders --to 2.0.0 --dry-run",
        "bond service upgrade payments/orders --to 2.0.0 --set region=eu --wait",
    )
)
def upgrade(
    service: ServiceArgument,
    *,
    to: To = "",
    values: Values = [],  # noqa: B006
    strings: Strings = [],  # noqa: B006
    from_files: FromFiles = [],  # noqa: B006
    secrets: Secrets = [],  # noqa: B006
    files: Files = [],  # noqa: B006
    dry_run: DryRun = False,
    ask: Ask = False,
    reason: Reason = "",
    request_id: RequestId = "",
    wait: Wait = False,
    output: Output = OutputFormat.TABLE,
) -> None:
    """Move to a newer minor or major version; the promise transforms the inputs, options override them.

    Across a major version it waits for an approval, unless the promise says otherwise.
    """
    transformed = cli_inputs.gather(
        files=files, values=values, strings=strings, from_files=from_files, secrets=secrets
    )
    options = _options(reason, request_id, dry_run=dry_run, ask=ask)
    accepted(
        lambda bond: bond.services.upgrade(service, to=to, inputs=transformed, **options),
        wait=wait,
        output=output,
        dry_run=dry_run,
    )


@app.command(epilog=examples("bond service rollback payments/orders --reason 'queries are slow' --wait"))
def rollback(
    service: ServiceArgument,
    *,
    dry_run: DryRun = False,
    ask: Ask = False,
    reason: Reason = "",
    request_id: RequestId = "",
    wait: Wait = False,
    output: Output = OutputFormat.TABLE,
) -> None:
    """Go back to the last revision and inputs that were healthy; `bond service show` names them."""
    options = _options(reason, request_id, dry_run=dry_run, ask=ask)
    accepted(lambda bond: bond.services.rollback(service, **options), wait=wait, output=output, dry_run=dry_run)


@app.command(
    epilog=examples(
        "bond service reconcile payments/orders --wait",
        "bond service reconcile payments/orders --repair --ask --wait",
        "bond service reconcile risk/fraud --parts --wait",
    )
)
def reconcile(
    service: ServiceArgument,
    *,
    repair: Annotated[bool, typer.Option("--repair", help="undo the drift, after policies and approvals")] = False,
    parts: Annotated[
        bool, typer.Option("--parts", help="the parts that it owns too, before what uses them")
    ] = False,
    ask: Ask = False,
    reason: Reason = "",
    request_id: RequestId = "",
    wait: Wait = False,
    output: Output = OutputFormat.TABLE,
) -> None:
    """Check for drift; without --repair nothing changes, and drift is no failure."""
    options = _options(reason, request_id, dry_run=False, ask=ask)
    accepted(
        lambda bond: bond.services.reconcile(service, repair=repair, parts=parts, **options),
        wait=wait, output=output,
    )  # fmt: skip


@app.command(epilog=examples("bond service pause payments/orders --reason 'moving house'"))
def pause(service: ServiceArgument, *, reason: Reason = "", output: Output = OutputFormat.TABLE) -> None:
    """Pause a service's own drift checks. Operations that people request still run."""
    _told(service, lambda bond: bond.services.pause(service, reason=reason), "paused", output)


@app.command(epilog=examples("bond service resume payments/orders"))
def resume(service: ServiceArgument, *, reason: Reason = "", output: Output = OutputFormat.TABLE) -> None:
    """Resume a service's own drift checks."""
    _told(service, lambda bond: bond.services.resume(service, reason=reason), "resumed", output)


@app.command(epilog=examples("bond service abandon payments/orders --reason 'now kept by hand, see OPS-12'"))
def abandon(service: ServiceArgument, *, reason: Reason = "", output: Output = OutputFormat.TABLE) -> None:
    """Forget a service and destroy nothing of it: what stands is yours from now on, its name is free."""
    _told(
        service,
        lambda bond: bond.services.abandon(service, reason=reason),
        "abandoned; nothing was destroyed",
        output,
    )
    if output is OutputFormat.TABLE:
        note(f"what stood is in `bond service history {service}` and `bond state pull {service}`")


# Helpers ----------------------------------------------------------------------------------------------------


def _options(reason: str, request_id: str, *, dry_run: bool, ask: bool) -> RequestOptions:
    return {"reason": reason, "request_id": request_id or None, "dry_run": dry_run, "ask": ask}


def _told(
    service: str, tell: Callable[[Bondstone], Awaitable[ServiceDocument]], outcome: str, output: OutputFormat
) -> None:
    """Tell a service something that is not an operation, and show it as it is then."""
    document = with_platform(tell)
    emit(document, output, lambda: say(f"{service} {outcome}"))
