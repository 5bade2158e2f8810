"""`bond service`: instances of promises."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from bondstone.cli import completion
from bondstone.cli import inputs as cli_inputs
from bondstone.cli.operation_options import Ask, DryRun, Files, FromFiles, Secrets, Strings, Values, accepted
from bondstone.cli.service import archive, day_two, edit, reading
from bondstone.cli.service.tree import tree
from bondstone.cli.session import Reason, RequestId, ServiceArgument, Wait, with_platform
from bondstone.cli.state import read_file
from bondstone.terminal.output import Output, OutputFormat, emit, examples, note

if TYPE_CHECKING:
    from bondstone.client import Bondstone, Operation

app = typer.Typer(help="Instances of promises, from request to decommission.", no_args_is_help=True)

Label = Annotated[list[str], typer.Option("--label", "-l", metavar="KEY=VALUE", help="a label; may be repeated")]


@app.command(
    epilog=examples(
        "bond service request queue payments/events --wait",
        "bond service request queue payments/events --set retention=1d --label environment=staging",
        "bond service request static-site web/docs -f inputs.yaml --set theme=dark",
        "pass show db | bond service request sqlite-database a/b --set contact=a@b.c --secret adminPassword",
    )
)
def request(
    promise: Annotated[
        str,
        typer.Argument(
            metavar="PROMISE", help="what is requested", show_default=False, autocompletion=completion.promises
        ),
    ],
    service: ServiceArgument,
    *,
    version: Annotated[
        str, typer.Option("--version", metavar="V", help="exact version; default: the newest")
    ] = "",
    values: Values = [],  # noqa: B006 - typer copies it, here and below
    strings: Strings = [],  # noqa: B006
    from_files: FromFiles = [],  # noqa: B006
    secrets: Secrets = [],  # noqa: B006
    files: Files = [],  # noqa: B006
    label: Label = [],  # noqa: B006
    request_id: RequestId = "",
    on_failure: Annotated[
        Literal["keep", "destroy"],
        typer.Option("--on-failure", help="what to do with created resources when it fails"),
    ] = "keep",
    dry_run: DryRun = False,
    ask: Ask = False,
    reason: Reason = "",
    wait: Wait = False,
    output: Output = OutputFormat.TABLE,
) -> None:
    """Request a service. Returns when the request is accepted; --wait watches it to its end.

    Options win over files; --set-string, --set-file and --secret over --set. A secret on a command line stays in
    the shell's history: use --secret or --set-file.
    """
    inputs = cli_inputs.gather(files=files, values=values, strings=strings, from_files=from_files, secrets=secrets)
    labels = cli_inputs.labels(label)

    async def send(bond: Bondstone) -> Operation:
        await _warn_of_visible_secrets(bond, promise, version, [*values, *strings])
        return await bond.services.request(
            promise,
            service,
            inputs,
            version=version,
            labels=labels,
            request_id=request_id or None,
            on_failure=on_failure,
            dry_run=dry_run,
            ask=ask,
            reason=reason,
        )

    accepted(send, wait=wait, output=output, dry_run=dry_run)


@app.command(
    epilog=examples(
        "bond service adopt queue payments/events --state terraform.tfstate --set retention=1d --wait",
        "bond service adopt shop web/main --state network=net.tfstate --state app=app.tfstate",
    )
)
def adopt(
    promise: Annotated[
        str,
        typer.Argument(
            metavar="PROMISE", help="what it is", show_default=False, autocompletion=completion.promises
        ),
    ],
    service: ServiceArgument,
    *,
    states: Annotated[
        list[str],
        typer.Option("--state", metavar="[STEP=]FILE", help="a Terraform state; one for each step that has one"),
    ],
    version: Annotated[
        str, typer.Option("--version", metavar="V", help="exact version; default: the newest")
    ] = "",
    values: Values = [],  # noqa: B006
    strings: Strings = [],  # noqa: B006
    from_files: FromFiles = [],  # noqa: B006
    secrets: Secrets = [],  # noqa: B006
    files: Files = [],  # noqa: B006
    label: Label = [],  # noqa: B006
    request_id: RequestId = "",
    reason: Reason = "",
    wait: Wait = False,
    output: Output = OutputFormat.TABLE,
) -> None:
    """Adopt existing Terraform state as a service. Nothing is changed that nobody has approved.

    The inputs are those it was made with. If the first plan is empty the service is ready; else it waits for
    somebody else's approval. Rejected, it stays failed: `bond service abandon` lets go of it unharmed.
    """
    inputs = cli_inputs.gather(files=files, values=values, strings=strings, from_files=from_files, secrets=secrets)
    labels = cli_inputs.labels(label)
    brought = {}
    for text in states:
        step, _, file = text.rpartition("=")
        if step in brought:
            raise typer.BadParameter(f"two states for {f'step {step}' if step else 'the same step'}")
        brought[step] = read_file(Path(file))

    async def send(bond: Bondstone) -> Operation:
        await _warn_of_visible_secrets(bond, promise, version, [*values, *strings])
        return await bond.services.adopt(
            promise,
            service,
            brought,
            inputs,
            version=version,
            labels=labels,
            request_id=request_id or None,
            reason=reason,
        )

    accepted(send, wait=wait, output=output)


@app.command(epilog=examples("bond service retry payments/orders --wait"))
def retry(
    service: ServiceArgument,
    *,
    reason: Reason = "",
    request_id: RequestId = "",
    wait: Wait = False,
    output: Output = OutputFormat.TABLE,
) -> None:
    """Run the last failed operation again, from the step that failed."""
    accepted(
        lambda bond: bond.services.retry(service, reason=reason, request_id=request_id or None),
        wait=wait,
        output=output,
    )


@app.command(epilog=examples("bond service cancel payments/orders", "bond service cancel payments/orders/op/3"))
def cancel(
    target: Annotated[
        str, typer.Argument(metavar="TEAM/NAME[/op/N]", help="the service, or one operation", show_default=False)
    ],
    *,
    reason: Reason = "",
    wait: Wait = False,
    output: Output = OutputFormat.TABLE,
) -> None:
    """Cancel the operation of a service that runs, else the next that waits; or the one that is named.

    A running tool is told to stop and keeps what it made; `bond service retry` takes up from there.
    """

    async def stop(bond: Bondstone) -> Operation:
        if "/op/" not in target:
            return await bond.services.cancel(target, reason=reason)
        operation = bond.operation(target)
        await operation.cancel(reason=reason)
        return operation

    accepted(stop, wait=wait, output=output, verb="asked to stop", must_succeed=False)


@app.command(epilog=examples("bond service decommission payments/orders --yes --wait"))
def decommission(
    service: ServiceArgument,
    *,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="do not ask")] = False,
    dry_run: DryRun = False,
    ask: Ask = False,
    reason: Reason = "",
    request_id: RequestId = "",
    wait: Wait = False,
    output: Output = OutputFormat.TABLE,
) -> None:
    """Take a service down: its steps are destroyed in reverse order, its secrets erased, its name freed."""
    from bondstone.base.errors import InvalidInput  # noqa: PLC0415 - see bondstone.cli.session
    from bondstone.base.names import parse_service  # noqa: PLC0415

    parse_service(service)
    if not yes and not dry_run:
        if not sys.stdin.isatty():
            raise InvalidInput(f"decommissioning {service} destroys what it made", hint="say so with --yes")
        typer.confirm(f"Decommission {service}? What it made is destroyed.", abort=True, err=True)
    accepted(
        lambda bond: bond.services.decommission(
            service, reason=reason, request_id=request_id or None, dry_run=dry_run, ask=ask
        ),
        wait=wait,
        output=output,
        dry_run=dry_run,
    )


@app.command(epilog=examples("bond service label payments/orders tier=data env-"))
def label(
    service: ServiceArgument,
    changes: Annotated[
        list[str], typer.Argument(metavar="KEY=VALUE|KEY-...", help="set, or remove", show_default=False)
    ],
    *,
    output: Output = OutputFormat.TABLE,
) -> None:
    """Set and remove labels, then print all labels of the service."""
    from bondstone.cli import views  # noqa: PLC0415 - see bondstone.cli.session

    wanted, remove = cli_inputs.label_changes(changes)

    labels = with_platform(lambda bond: bond.services.set_labels(service, wanted, remove=remove))
    emit(labels, output, lambda: views.tree(labels, indent="") if labels else note("no labels"))


app.add_typer(reading.app)
app.add_typer(edit.app)
app.add_typer(day_two.app)
app.add_typer(archive.app)


# Helpers ----------------------------------------------------------------------------------------------------


async def _warn_of_visible_secrets(bond: Bondstone, promise: str, version: str, words: list[str]) -> None:
    """Say which secrets stood on the command line, and how to keep them off it next time."""
    if not words:
        return
    paths = {text.partition("=")[0] for text in words}
    secrets = {item.name for item in (await bond.promises.get(promise, version)).inputs if item.secret}
    for path in sorted(secrets & paths):
        note(f"warning: {path} is a secret and was on the command line; use --secret {path} or --set-file")


app.command("tree", epilog=examples("bond service tree risk/fraud", "bond service tree risk/fraud -o json"))(tree)
