"""`bond policy`: the organisation's rules, which apply to every promise."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, TypeVar

import typer

from bondstone.cli import context
from bondstone.terminal.output import Output, OutputFormat, emit, examples, fields, note, progress, say, table

if TYPE_CHECKING:
    from bondstone.client import Bondstone
    from bondstone.client.documents.policy import PolicyCheck
    from bondstone.store.policies import PolicySet, PolicySetRef, PolicySets

T = TypeVar("T")

EXIT_DENIED: Final = 4

app = typer.Typer(help="The organisation's rules: sets of Rego policies.", no_args_is_help=True)


@app.command(epilog=examples("bond policy publish policies/", "bond policy publish promises/_organisation"))
def publish(
    directory: Annotated[
        Path, typer.Argument(metavar="DIR", help="the folder with *.rego files", show_default=False)
    ],
    *,
    output: Output = OutputFormat.TABLE,
) -> None:
    """Check policies and put them in force as a new set; what is in force already changes nothing."""
    ref, new = _with_sets(lambda sets: sets.publish_once(directory, by=context.actor()))
    emit(
        {**_row(ref), "published": new},
        output,
        lambda: say(f"{'published' if new else 'unchanged'} policy set {ref.version} sha256:{ref.digest}"),
    )


@app.command("list", epilog=examples("bond policy list", "bond policy list -o json"))
def list_sets(*, output: Output = OutputFormat.TABLE) -> None:
    """List every policy set, newest first; the newest is in force."""
    refs = _with_sets(lambda sets: sets.list())
    rows = [
        [
            ref.version,
            "in force" if index == 0 else "",
            len(ref.modules),
            ref.published_at,
            ref.published_by,
            ref.digest[:12],
        ]
        for index, ref in enumerate(refs)
    ]
    emit(
        [_row(ref) for ref in refs],
        output,
        lambda: table(
            ["version", "", "files", "published", "by", "digest"],
            rows,
            empty="no policies are published: every plan that its promise allows goes on",
        ),
    )


@app.command(epilog=examples("bond policy show", "bond policy show 3", "bond policy show --source labels.rego"))
def show(
    version: Annotated[
        int | None, typer.Argument(metavar="VERSION", help="which set; else the one in force", show_default=False)
    ] = None,
    *,
    source: Annotated[
        str, typer.Option("--source", metavar="FILE", help="print this file instead, as it was published")
    ] = "",
    output: Output = OutputFormat.TABLE,
) -> None:
    """Show one policy set: its rules, and the files they are in."""
    from bondstone.base.errors import NotFound  # noqa: PLC0415 - see bondstone.cli.context

    async def read(sets: PolicySets) -> PolicySet:
        found = await sets.current() if version is None else await sets.get(version)
        if found is None:
            raise NotFound("no policies are published", hint="`bond policy publish DIR` puts some in force")
        return found

    found = _with_sets(read)
    if source:
        file = next((file for file in found.files if file.name == source), None)
        if file is None:
            raise NotFound(
                f"policy set {found.ref.version} has no file {source!r}",
                hint=f"its files: {', '.join(found.ref.modules)}",
            )
        typer.echo(file.source, nl=not file.source.endswith("\n"))
        return
    rules = [
        {"rule": str(rule), "level": rule.level, "file": module.name}
        for module in found.modules()
        for rule in module.rules
    ]
    document = {
        **_row(found.ref),
        "rules": rules,
        "sources": {file.name: file.source for file in found.files},
    }

    def people() -> None:
        ref = found.ref
        fields(
            {"version": ref.version, "digest": ref.digest, "published": ref.published_at, "by": ref.published_by}
        )
        say()
        table(["rule", "level", "file"], [list(rule.values()) for rule in rules], empty="no rule decides anything")
        note("`bond policy show --source FILE` prints a file")

    emit(document, output, people)


@app.command(
    epilog=examples("bond policy check policies/", "bond policy check policies/ -o json", "bond policy check")
)
def check(
    directory: Annotated[
        Path | None,
        typer.Argument(
            metavar="[DIR]", help="the folder with *.rego files; else the set in force", show_default=False
        ),
    ] = None,
    *,
    every: Annotated[bool, typer.Option("--all", help="name the services that it allows too")] = False,
    output: Output = OutputFormat.TABLE,
) -> None:
    """Ask policies about the last plan of every service, and change nothing.

    Exit code 4 when any service would be denied, else 0.
    """
    from bondstone.base.errors import NotFound  # noqa: PLC0415
    from bondstone.cli.session import with_platform  # noqa: PLC0415 - see bondstone.cli.context
    from bondstone.client.policy_check import check as check_fleet  # noqa: PLC0415
    from bondstone.policy.modules import load_valid  # noqa: PLC0415

    modules = load_valid(directory) if directory is not None else None

    async def work(bond: Bondstone) -> PolicyCheck:
        asked = modules
        if asked is None:
            current = await bond.store.policies.current()
            if current is None:
                raise NotFound("no policies are published", hint="name the folder: `bond policy check DIR`")
            asked = current.modules()
        with progress("asking about the fleet's plans") as say_now:
            return await check_fleet(
                bond, asked, on_service=lambda done, count: say_now(f"asked about {done} of {count} services")
            )

    found = with_platform(work)

    def people() -> None:
        shown = [item for item in found.services if every or item.outcome != "allow"]
        table(
            ["service", "promise", "would be", "", "because"],
            [
                [
                    item.service,
                    item.promise,
                    _WOULD_BE[item.outcome],
                    "new" if item.newly else "",
                    item.problem
                    or "; ".join(finding.message for step in item.steps for finding in step.policy.findings),
                ]
                for item in shown
            ],
            empty="every service is allowed" if found.services else "there are no services",
        )
        said = ", ".join(f"{count} {_WOULD_BE[outcome]}" for outcome, count in sorted(found.counts.items()))
        note(f"{len(found.services)} services: {said or 'none'}; nothing was changed")

    emit(found, output, people)
    if found.counts.get("deny"):
        raise typer.Exit(EXIT_DENIED)


_WOULD_BE: Final = {
    "allow": "allowed",
    "warn": "warned",
    "approval": "asked about",
    "deny": "denied",
    "unknown": "unknown",
}


def _row(ref: PolicySetRef) -> dict[str, object]:
    return {
        "version": ref.version,
        "digest": ref.digest,
        "files": list(ref.modules),
        "published_at": ref.published_at,
        "published_by": ref.published_by,
    }


def _with_sets(work: Callable[[PolicySets], Awaitable[T]]) -> T:
    """Run something on the platform's policy sets; no key is needed for them."""
    from bondstone.store.objects import Objects  # noqa: PLC0415 - see bondstone.cli.context
    from bondstone.store.policies import PolicySets  # noqa: PLC0415

    async def main() -> T:
        return await work(PolicySets(await Objects.open(context.settings().store_url)))

    return context.run(main())
