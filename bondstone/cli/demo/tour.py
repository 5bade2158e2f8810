"""`bond demo`: the guided tour, on a real platform with real Terraform."""

from __future__ import annotations

import asyncio
import sys
import time
from datetime import timedelta
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from bondstone.cli import context
from bondstone.cli.demo import stage
from bondstone.cli.demo.services import DECOMMISSIONED, DENIED, FLEET, INVALID, Wanted
from bondstone.terminal.output import error_text, examples, fields, is_terminal, note, say
from bondstone.terminal.times import duration

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bondstone.client import Bondstone, Operation
    from bondstone.client.documents.service import OperationDocument
    from bondstone.model.service_row import ServiceRow

app = typer.Typer()


@app.command(
    epilog=examples(
        "bond demo                        start a platform of its own, and leave it running to look at",
        "bond demo --down                 the same, and stop it at the end",
        "bond demo --data ./platform      on that platform, started if it does not run",
        "bond demo --campaign             patch a fleet of forty, with a failure on the way",
    )
)
def demo(
    *,
    campaign: Annotated[bool, typer.Option("--campaign", help="the other tour: a fleet is patched")] = False,
    down: Annotated[bool, typer.Option("--down", help="stop the platform at the end; its data stays")] = False,
) -> None:
    """Take the tour: publish promises, provision a dozen services at once, be refused, decommission.

    Without --data it uses a platform that runs on the user's data directory, else one of its own inside it.
    Run again, it keeps the services that are there.
    """
    data = stage.choose_data()
    context.options.data = data
    began = time.monotonic()
    stage.heading("A platform", f"everything it keeps is in {data}")
    stage.start(data)
    if campaign:
        from bondstone.cli.demo.campaign import tour  # noqa: PLC0415 - the other tour

        failed = context.run(tour(data))
    else:
        failed = context.run(_tour(data))
    say()
    say(f"That took {duration(timedelta(seconds=time.monotonic() - began))}.")
    if down:
        stage.bond(data, "down")
        again = stage.command(data, "up --detach")
        say(f"The platform is stopped; `{again}` starts it again, with all its services.")
    else:
        say(f"The platform keeps running; stop it with: {stage.command(data, 'down')}")
    if failed:
        note(f"{failed} of the services failed, which should not happen on a tour: see above")
        raise typer.Exit(1)


async def _tour(data: Path) -> int:
    """All that happens on the platform; how many services failed that should not have."""
    from bondstone.client import connect  # noqa: PLC0415 - see bondstone.cli.session

    async with connect(context.settings()) as bond:
        await _publish(bond)
        records = await _provision(bond)
        await _refused_by_schema(bond, data)
        await _refused_by_policy(bond, data)
        records += await _decommission(bond, data)
        await _look_and_try(bond, data)
    return sum(record.status != "succeeded" for record in records)


# The stops of the tour --------------------------------------------------------------------------------------


async def _publish(bond: Bondstone) -> None:
    """The shipped promises, and the sample organisation's policies unless there are others."""
    from bondstone.base.errors import RevisionConflict  # noqa: PLC0415 - see bondstone.cli.session

    stage.heading("Promises", "what the platform team offers, each an immutable revision")
    catalogue = Path(str(files("bondstone.promises")))
    for directory in await asyncio.to_thread(_in_order, catalogue):
        try:
            published = await bond.promises.publish(directory)
        except RevisionConflict:
            say(f"  {directory.name}: published with other content before; that is used")
            continue
        title = (await bond.promises.get(published.promise, published.version)).title
        revision = f"{published.promise}@{published.version}"
        say(f"  {revision}  {title}{'' if published.published else ' (published before)'}")
    current = next(iter(await bond.policies.list()), None)
    if current is not None and current.published_by != _PUBLISHER:
        say(f"  the organisation's policies in force stay: set {current.version}")
        return
    policies = await bond.acting_as(_PUBLISHER).policies.publish(catalogue / "_organisation")
    before = "" if policies.published else " (published before)"
    say(f"  the organisation's policies: {', '.join(policies.files)}{before}")


_PUBLISHER: Final = "bond demo"


async def _provision(bond: Bondstone) -> list[OperationDocument]:
    """The fleet, all at once; what is ready already is kept, what failed is tried again."""
    from bondstone.cli.waiting import watch  # noqa: PLC0415 - see bondstone.cli.session

    rows = {row.id: row for row in await bond.services.list()}
    kept = [wanted for wanted in FLEET if (row := rows.get(wanted.service)) and row.phase == "ready"]
    teams = {wanted.service.partition("/")[0] for wanted in FLEET}
    stage.heading(
        "Services", f"{len(FLEET)} of them for {len(teams)} teams: plan, policies, apply, health, ledger"
    )
    if kept:
        say(f"  {len(kept)} are ready from an earlier tour and are kept")
    missing = [wanted for wanted in FLEET if wanted not in kept]
    began = time.monotonic()
    operations = await asyncio.gather(*(_ask(bond, wanted, rows.get(wanted.service)) for wanted in missing))
    records = await watch(bond, operations)
    _say_failures(records)
    done = sum(record.status == "succeeded" for record in records)
    if records:
        say(f"  {done} of {len(records)} ready after {duration(timedelta(seconds=time.monotonic() - began))}")
    return records


async def _refused_by_schema(bond: Bondstone, data: Path) -> None:
    """A request that cannot be right: refused before anything starts."""
    from bondstone.base.errors import BondError  # noqa: PLC0415 - see bondstone.cli.session

    stage.heading("Refused by the schema", "before anything starts, every field named")
    stage.shell(data, _request_line(INVALID))
    try:
        await bond.acting_as(INVALID.by).services.request(
            INVALID.promise, INVALID.service, INVALID.inputs, labels=INVALID.labels
        )
    except BondError as error:
        stage.error(error_text(error.info(), color=is_terminal(sys.stdout)))


async def _refused_by_policy(bond: Bondstone, data: Path) -> None:
    """A request that is right in form: planned, looked at by the policies, and not applied."""
    stage.heading(
        "Refused by policy", "planned, judged by the organisation's and the promise's Rego, nothing applied"
    )
    stage.shell(data, _request_line(DENIED) + " --wait")
    rows = {row.id: row for row in await bond.services.list(team=DENIED.service.partition("/")[0])}
    operation = await _ask(bond, DENIED, rows.get(DENIED.service))
    record = await operation.wait()
    if record.error is not None:
        stage.error(error_text(record.error, color=is_terminal(sys.stdout)))
    forgotten = await (await bond.services.decommission(DENIED.service, reason="end of the demonstration")).wait()
    if forgotten.status == "succeeded":
        say("  nothing was made; decommissioned, its name is free again")
    _say_failures([forgotten])


async def _decommission(bond: Bondstone, data: Path) -> list[OperationDocument]:
    """One of the fleet goes: destroyed in reverse order, its name free, its records kept."""
    from bondstone.cli.waiting import watch  # noqa: PLC0415 - see bondstone.cli.session

    stage.heading("Decommissioned", "destroyed in reverse order; its name is free, its records stay")
    stage.shell(data, f"service decommission {DECOMMISSIONED} --yes --wait")
    operation = await bond.services.decommission(DECOMMISSIONED, reason="end of the demonstration")
    records = await watch(bond, [operation])
    _say_failures(records)
    return records


async def _look_and_try(bond: Bondstone, data: Path) -> None:
    """Where to look, and commands that work as they stand."""
    from bondstone.base.errors import NotFound  # noqa: PLC0415 - see bondstone.cli.session

    async def output(service: str, name: str) -> Any:
        try:
            return (await bond.services.outputs(service)).get(name)
        except NotFound:
            return None

    stage.heading("Look", "all of this is real, and on this machine")
    fields(
        {
            "  every workflow, live": bond.settings.temporal_ui,
            "  a site in a browser": await output("web/docs", "url"),
            "  a database": await output("payments/orders", "path"),
            "  a queue": await output("payments/events", "directory"),
            "  a service of four others": await output("risk/fraud", "dashboard"),
        }
    )
    stage.heading("Try", "these work as they stand")
    for line in (
        "service list --where \"labels.environment == 'production'\"",
        "service show payments/orders",
        "operation plan payments/orders/op/1",
        "service outputs payments/orders --reveal",
        "service tree risk/fraud",
        f"service history {DECOMMISSIONED}",
        "service request static-site web/mine --set title=Mine --label environment=development --wait",
        "service decommission web/mine --yes --wait",
    ):
        say(f"  {stage.command(data, line)}")


# Helpers ----------------------------------------------------------------------------------------------------


def _in_order(catalogue: Path) -> list[Path]:
    """The folders of the catalogue, each behind those of the promises that it requires."""
    from bondstone.promise.load import load_promise  # noqa: PLC0415 - see bondstone.cli.session
    from bondstone.promise.requirements import parts_first  # noqa: PLC0415

    promises = {manifest.parent: load_promise(manifest.parent) for manifest in catalogue.glob("*/promise.yaml")}
    folders = {promise.name: folder for folder, promise in promises.items()}
    return [folders[promise.name] for promise in parts_first(promises.values())]


async def _ask(bond: Bondstone, wanted: Wanted, row: ServiceRow | None) -> Operation:
    """The operation that gives a service: one that runs already, or a new one."""
    if row is not None and row.operation:
        return bond.operation(row.operation)
    return await bond.acting_as(wanted.by).services.request(
        wanted.promise, wanted.service, wanted.inputs, labels=wanted.labels, reason="the guided tour"
    )


def _say_failures(records: Sequence[OperationDocument]) -> None:
    for record in records:
        if record.error is not None:
            stage.error(error_text(record.error.changed(where=record.id)))


def _request_line(wanted: Wanted) -> str:
    options = [f"--set {name}={value}" for name, value in wanted.inputs.items()]
    options += [f"--label {key}={value}" for key, value in wanted.labels.items()]
    return " ".join([f"service request {wanted.promise} {wanted.service}", *options])
