"""`bond apply`, `bond diff` and `bond export`: services as files, for GitOps."""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from bondstone.cli import completion
from bondstone.cli.session import Reason, Wait, with_platform
from bondstone.terminal.output import Output, OutputFormat, as_yaml, emit, examples, note, say

if TYPE_CHECKING:
    from bondstone.client import Bondstone
    from bondstone.client.documents.apply import AppliedManifest, ApplyDocument, FieldDifference
    from bondstone.client.documents.service import OperationDocument, ServiceDocument
    from bondstone.client.manifests import Comparison

EXIT_FAILED: Final = 1
EXIT_REFUSED: Final = 4
EXIT_AWAITING_APPROVAL: Final = 5
EXIT_DIFFERS: Final = 7
"""That of `bond diff`, and of `bond apply --exit-code`, when there is something to change, or was."""

app = typer.Typer(no_args_is_help=True)

Files = Annotated[
    list[Path],
    typer.Option(
        "--file",
        "-f",
        metavar="FILE|DIR|-",
        help="manifests; a folder is read with all in it, - is standard input",
        show_default=False,
    ),
]
Prune = Annotated[
    bool,
    typer.Option("--prune", help="also services, schedules and freezes that no manifest names now; needs a scope"),
]
Selector = Annotated[
    list[str],
    typer.Option("--selector", "-l", metavar="SELECTOR", help="scope of --prune by labels, as in repo=shop"),
]
Team = Annotated[str, typer.Option("--team", metavar="TEAM", help="scope of --prune by team")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="undo what another person changed elsewhere")]
ResendSecrets = Annotated[
    bool, typer.Option("--resend-secrets", help="send secrets again, also those whose reference did not change")
]


@app.command(
    epilog=examples(
        "bond apply -f services/",
        "bond apply -f services/ --dry-run",
        "bond apply -f services/ --prune --selector repo=shop --yes --wait",
        "bond apply -f orders.yaml -o json",
    )
)
def apply(
    *,
    file: Files,
    prune: Prune = False,
    selector: Selector = [],  # noqa: B006 - typer copies it
    team: Team = "",
    overwrite: Overwrite = False,
    resend_secrets: ResendSecrets = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="plan what would change and ask the policies; change nothing")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="do not ask before --prune takes down")] = False,
    exit_code: Annotated[
        bool, typer.Option("--exit-code", help=f"exit with {EXIT_DIFFERS} when something was changed")
    ] = False,
    reason: Reason = "",
    wait: Wait = False,
    output: Output = OutputFormat.TABLE,
) -> None:
    """Make services, and what the platform has, as manifests say. The same manifests again change nothing.

    A mistake in any manifest, and nothing is applied. What somebody changed elsewhere is shown and left alone,
    with exit status 4, unless --overwrite takes it back. What a manifest does not name is left alone too.
    """
    watched = wait or dry_run

    async def work(bond: Bondstone) -> ApplyDocument:
        from bondstone.cli import waiting  # noqa: PLC0415 - see bondstone.cli.session
        from bondstone.client import manifests  # noqa: PLC0415

        comparison = await _compare(
            bond,
            file,
            prune=prune,
            selector=selector,
            team=team,
            overwrite=overwrite,
            resend_secrets=resend_secrets,
        )
        if (comparison.pruned or comparison.pruned_of_platform) and not dry_run:
            _confirm(comparison, yes=yes)
        document = await manifests.apply(bond, comparison, reason=reason, dry_run=dry_run)
        operations = [bond.operation(each) for row in document.manifests for each in row.operations]
        if not watched or not operations:
            return document
        shown = output is OutputFormat.TABLE
        return document.changed(operations=tuple(await waiting.watch(bond, operations, shown=shown)))

    document = with_platform(work)
    emit(document, output, lambda: _people(document, done=not dry_run))
    status = _status(document)
    if not status and exit_code and document.differs:
        status = EXIT_DIFFERS
    if status:
        raise typer.Exit(status)


@app.command(epilog=examples("bond diff -f services/", "bond diff -f services/ --prune --team payments -o json"))
def diff(
    *,
    file: Files,
    prune: Prune = False,
    selector: Selector = [],  # noqa: B006
    team: Team = "",
    overwrite: Overwrite = False,
    output: Output = OutputFormat.TABLE,
) -> None:
    """Show what differs from manifests, and what somebody changed elsewhere. Nothing is changed.

    The exit status is 0 when all is as the manifests say, and 7 when something differs.
    """
    from bondstone.client.manifests.applying import as_document  # noqa: PLC0415 - see bondstone.cli.session

    async def work(bond: Bondstone) -> ApplyDocument:
        return as_document(
            await _compare(bond, file, prune=prune, selector=selector, team=team, overwrite=overwrite)
        )

    document = with_platform(work)
    emit(document, output, lambda: _people(document, done=False))
    if document.differs:
        raise typer.Exit(EXIT_DIFFERS)


@app.command(
    epilog=examples(
        "bond export payments/orders",
        "bond export payments/orders payments/events > services.yaml",
        "bond export --schedule nightly-patch --freeze year-end --policies --access > platform.yaml",
        "bond export --all > everything.yaml",
    )
)
def export(
    services: Annotated[
        list[str],
        typer.Argument(
            metavar="[TEAM/NAME...]", help="services", show_default=False, autocompletion=completion.services
        ),
    ] = [],  # noqa: B006 - typer copies it
    *,
    schedule: Annotated[
        list[str], typer.Option("--schedule", metavar="NAME", help="a schedule; may be repeated")
    ] = [],  # noqa: B006
    freeze: Annotated[list[str], typer.Option("--freeze", metavar="NAME", help="a freeze; may be repeated")] = [],  # noqa: B006
    policies: Annotated[bool, typer.Option("--policies", help="the policy set in force, with its files")] = False,
    access: Annotated[bool, typer.Option("--access", help="the access document in force")] = False,
    everything: Annotated[
        bool, typer.Option("--all", help="all of these, every service, and the promises they need")
    ] = False,
    output: Output = OutputFormat.TABLE,
) -> None:
    """Print what there is as manifests that `bond apply` takes without a change. They hold no secrets."""
    from bondstone.base.errors import InvalidInput  # noqa: PLC0415 - see bondstone.cli.session
    from bondstone.client import manifests  # noqa: PLC0415
    from bondstone.client.manifests import platform_export  # noqa: PLC0415

    if not (services or schedule or freeze or policies or access or everything):
        raise InvalidInput(
            "there is nothing to export",
            hint="name a service, --schedule, --freeze, --policies, --access, or --all",
        )

    async def work(bond: Bondstone) -> list[tuple[dict[str, Any], list[str]]]:
        if everything:
            return await platform_export.export_all(bond)
        exported = [await manifests.export(bond, service) for service in services]
        exported += [(await platform_export.export_freeze(bond, name), []) for name in freeze]
        exported += [(await platform_export.export_schedule(bond, name), []) for name in schedule]
        if policies:
            exported.append((await platform_export.export_policies(bond), []))
        return [*exported, *([(await platform_export.export_access(bond), [])] if access else [])]

    exported = with_platform(work)

    def people() -> None:
        for number, (manifest, hidden) in enumerate(exported):
            if number:
                say("---")
            if hidden:
                say(f"# Secrets that it has, and that stay as they are: {', '.join(hidden)}")
            say(as_yaml(manifest))

    emit([manifest for manifest, _ in exported], output, people)


# Helpers ----------------------------------------------------------------------------------------------------


async def _compare(
    bond: Bondstone,
    files: list[Path],
    *,
    prune: bool,
    selector: list[str],
    team: str,
    overwrite: bool,
    resend_secrets: bool = False,
) -> Comparison:
    from bondstone.client import manifests  # noqa: PLC0415 - see bondstone.cli.session

    return await manifests.compare(
        bond,
        manifests.read_manifests(files, standard_input=sys.stdin.buffer if sys.stdin else None),
        overwrite=overwrite,
        resend_secrets=resend_secrets,
        prune=_scope(selector, team) if prune else None,
        prune_of_platform=_scope_of_platform(selector, team) if prune else None,
        team=team,
    )


def _scope(selector: list[str], team: str) -> Callable[[ServiceDocument], bool]:
    from bondstone.base.errors import InvalidInput  # noqa: PLC0415 - see bondstone.cli.session
    from bondstone.client.selectors import selector as selects  # noqa: PLC0415

    if not selector and not team:
        raise InvalidInput(
            "--prune needs a scope: without one every service that was ever applied would be in it",
            hint="name the labels that your manifests set, as in --selector repo=shop, or a --team",
        )
    labelled = selects(selector)
    return lambda document: labelled(document.labels) and team in {"", document.team}


def _scope_of_platform(selector: list[str], team: str) -> Callable[[Mapping[str, str], str], bool]:
    from bondstone.client.selectors import selector as selects  # noqa: PLC0415 - see bondstone.cli.session

    labelled = selects(selector)
    return lambda labels, owner: labelled(labels) and team in {"", owner}


def _confirm(comparison: Comparison, *, yes: bool) -> None:
    from bondstone.base.errors import InvalidInput  # noqa: PLC0415 - see bondstone.cli.session

    if yes:
        return
    of_platform = [f"{each.kind.lower()} {each.name}" for each in comparison.pruned_of_platform]
    names = ", ".join([*comparison.pruned, *of_platform])
    if not sys.stdin.isatty():
        raise InvalidInput(
            f"nothing was applied: --prune would take down {names}", hint="say so with --yes, or see `bond diff`"
        )
    typer.confirm(f"Take down {names}? What they made is destroyed.", abort=True, err=True)


def _people(document: ApplyDocument, *, done: bool) -> None:
    ended = {operation.id: operation for operation in document.operations}
    for row in document.manifests:
        if row.action in {"unchanged", "record"} and row.error is None and not row.note:
            continue
        say(_line(row, ended))
        for difference in row.differences:
            say(f"    {_sentence(difference, row.kind)}")
        if row.error is not None:
            say(f"    refused: {row.error.message}")
            if row.error.hint:
                say(f"    {row.error.hint}")
    say(_summary(document, done=done))
    if any(row.action == "conflict" and row.differences for row in document.manifests):
        note("write the new value into the manifest, or undo the change with --overwrite")


_SIGNS: Final = {"create": "+", "change": "~", "prune": "-", "conflict": "!", "unchanged": "=", "record": "="}


def _line(row: AppliedManifest, ended: dict[str, OperationDocument]) -> str:
    where = f"{row.file}:{row.line}" if row.file else ""
    parts = [f"{_SIGNS[row.action]} {row.label}", where, row.note]
    for each in row.operations:
        operation = ended.get(each)
        parts.append(f"{each} {operation.status}" if operation is not None else each)
        if operation is not None and operation.error is not None:
            parts.append(operation.error.message)
    return "  ".join(part for part in parts if part)


def _sentence(difference: FieldDifference, kind: str) -> str:
    nothing = "(its default)" if kind == "Service" else "(gone)"
    wanted = nothing if difference.wanted is None else json.dumps(difference.wanted, ensure_ascii=False)
    if difference.live is None:
        return f"{difference.path}: {wanted}"
    live = json.dumps(difference.live, ensure_ascii=False)
    elsewhere = "  (changed elsewhere)" if difference.elsewhere else ""
    return f"{difference.path}: {live} -> {wanted}{elsewhere}"


def _summary(document: ApplyDocument, *, done: bool) -> str:
    words = {
        "create": "created" if done else "to create",
        "change": "changed" if done else "to change",
        "prune": "taken down" if done else "to take down",
        "conflict": "in conflict",
    }
    counts = Counter(row.action for row in document.manifests if row.error is None)
    same = counts.pop("unchanged", 0) + counts.pop("record", 0)
    parts = [f"{count} {words[action]}" for action, count in sorted(counts.items())]
    refused = sum(row.error is not None for row in document.manifests)
    if refused:
        parts.append(f"{refused} refused")
    return ", ".join([*parts, f"{same} unchanged"])


def _status(document: ApplyDocument) -> int:
    """The exit status: what failed counts more than what was refused, and that more than what waits."""
    from bondstone.cli.waiting import exit_code  # noqa: PLC0415 - see bondstone.cli.session

    statuses = [exit_code(each) for each in document.operations if each.status != "awaiting-approval"]
    if EXIT_FAILED in statuses:
        return EXIT_FAILED
    conflicts = any(row.action == "conflict" or row.error is not None for row in document.manifests)
    if conflicts or EXIT_REFUSED in statuses:
        return EXIT_REFUSED
    waits = any(each.status == "awaiting-approval" for each in document.operations)
    return EXIT_AWAITING_APPROVAL if waits else 0
