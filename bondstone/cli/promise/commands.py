"""`bond promise`: what the platform offers."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bondstone.cli import completion
from bondstone.cli.promise.init import init
from bondstone.cli.promise.tests import run_cases
from bondstone.cli.session import Selector, with_platform
from bondstone.terminal.output import Output, OutputFormat, emit, examples, fields, note, say, table

if TYPE_CHECKING:
    from bondstone.base.errors import Problem
    from bondstone.client import Bondstone
    from bondstone.client.documents.promise import InputDocument, PromiseDocument, PromiseRow

app = typer.Typer(help="What the platform offers: promises, and their revisions.", no_args_is_help=True)

Folder = Annotated[
    Path, typer.Argument(metavar="DIR", help="the folder that holds promise.yaml", show_default=False)
]
RevisionArgument = Annotated[
    str,
    typer.Argument(
        metavar="NAME@VERSION",
        help="the revision, as in postgres@1.4.0",
        show_default=False,
        autocompletion=completion.revisions,
    ),
]
Reason = Annotated[str, typer.Option("--reason", metavar="TEXT", help="the reason, shown to people")]


@app.command(epilog=examples("bond promise validate promises/postgres", "bond promise validate . -o json"))
def validate(directory: Folder, *, output: Output = OutputFormat.TABLE) -> None:
    """Check a promise and name every problem by file, line and column."""
    checked = with_platform(lambda bond: bond.promises.validate(directory))
    _warn(checked.warnings, output)
    emit(checked, output, lambda: say(f"{checked.promise}@{checked.version} is valid"))


app.command(
    "test", epilog=examples("bond promise test promises/queue", "bond promise test . --only production -v")
)(run_cases)


app.command(
    "init",
    epilog=examples(
        "bond promise init promises/bucket --from terraform:modules/bucket",
        "bond promise init promises/bucket --from terraform:modules/bucket-2 --update",
    ),
)(init)


@app.command(epilog=examples("bond promise publish promises/postgres"))
def publish(directory: Folder, *, output: Output = OutputFormat.TABLE) -> None:
    """Check a promise and publish it as an immutable revision; the same content again changes nothing."""
    done = with_platform(lambda bond: bond.promises.publish(directory))
    _warn(done.warnings, output)
    word = "published" if done.published else "unchanged"
    emit(done, output, lambda: say(f"{word} {done.promise}@{done.version} sha256:{done.digest}"))


@app.command(
    "list",
    epilog=examples("bond promise list", "bond promise list -l tier=data", "bond promise list --all -o json"),
)
def list_promises(
    *,
    every: Annotated[
        bool, typer.Option("--all", "-a", help="every revision, also deprecated and yanked ones")
    ] = False,
    selector: Selector = [],  # noqa: B006 - typer copies it
    output: Output = OutputFormat.TABLE,
) -> None:
    """List promises, each at the version a request would get."""
    promises = with_platform(lambda bond: _listed(bond, selector, every=every))
    rows = [[each.promise, each.version, each.status, each.title, each.owner] for each in promises]
    emit(
        promises,
        output,
        lambda: table(
            ["promise", "version", "status", "title", "owner"],
            rows,
            empty="nothing is published yet: bond promise publish DIR",
        ),
    )


@app.command(epilog=examples("bond promise show postgres", "bond promise show postgres@1.4.0 -o json"))
def show(
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME[@VERSION]",
            help="the promise, as in postgres",
            show_default=False,
            autocompletion=completion.revisions,
        ),
    ],
    *,
    output: Output = OutputFormat.TABLE,
) -> None:
    """Show a promise: its inputs, outputs, steps and other versions."""
    promise, version = _parsed(name)
    document = with_platform(lambda bond: bond.promises.get(promise, version))
    emit(document, output, lambda: _show(document))


@app.command(epilog=examples("bond promise deprecate postgres@1.3.0 --reason 'use 1.4.0: it keeps backups'"))
def deprecate(revision: RevisionArgument, *, reason: Reason, output: Output = OutputFormat.TABLE) -> None:
    """Warn whoever asks for a revision; it is no longer chosen by itself."""
    promise, version = _exact(revision)
    _marked(with_platform(lambda bond: bond.promises.deprecate(promise, version, reason=reason)), output)


@app.command(epilog=examples("bond promise yank postgres@1.3.1 --reason 'it opens the port to all'"))
def yank(revision: RevisionArgument, *, reason: Reason, output: Output = OutputFormat.TABLE) -> None:
    """Refuse new services at a revision; services that use it stay."""
    promise, version = _exact(revision)
    _marked(with_platform(lambda bond: bond.promises.yank(promise, version, reason=reason)), output)


# Helpers ----------------------------------------------------------------------------------------------------


async def _listed(bond: Bondstone, selector: list[str], *, every: bool) -> list[PromiseRow]:
    from bondstone.client.selectors import selector as selects  # noqa: PLC0415 - see bondstone.cli.session

    selected = selects(selector)
    rows = await bond.promises.list(every_version=every)
    if not selector:
        return rows
    documents = await asyncio.gather(*(bond.promises.get(row.promise, row.version) for row in rows))
    return [row for row, document in zip(rows, documents, strict=True) if selected(document.labels)]


def _parsed(text: str) -> tuple[str, str]:
    """The promise and the version, empty when none is named."""
    from semver import Version  # noqa: PLC0415 - few commands

    from bondstone.base.errors import InvalidInput  # noqa: PLC0415 - see bondstone.cli.session
    from bondstone.base.names import check_name  # noqa: PLC0415

    promise, at, version = text.partition("@")
    if at and not Version.is_valid(version):
        raise InvalidInput(f"{version!r} is not a version", hint="write NAME@VERSION, as in postgres@1.4.0")
    return check_name("promise", promise), version


def _exact(text: str) -> tuple[str, str]:
    """The promise and the version, which must be named."""
    from bondstone.base.errors import InvalidInput  # noqa: PLC0415 - see bondstone.cli.session

    promise, version = _parsed(text)
    if not version:
        raise InvalidInput("say which version", hint=f"as in {promise}@1.4.0; bond promise list --all shows them")
    return promise, version


def _warn(warnings: Sequence[Problem], output: OutputFormat) -> None:
    """Note warnings for people; programs find them in the result."""
    for warning in warnings if output is OutputFormat.TABLE else ():
        note(f"warning: {warning}")


def _marked(row: PromiseRow, output: OutputFormat) -> None:
    emit(row, output, lambda: say(f"{row.status} {row.revision}: {row.reason}"))


def _show(document: PromiseDocument) -> None:
    fields(
        {
            "promise": document.revision,
            "title": document.title,
            "description": document.description.strip(),
            "owner": document.owner,
            "status": f"{document.status}: {document.reason}" if document.reason else document.status,
            "digest": f"sha256:{document.digest}",
            "published": document.published_at,
            "by": document.published_by,
            "requests": [f"{each.api_version} {each.kind}" for each in document.request_kinds],
            "other versions": [
                each.version if each.status == "active" else f"{each.version} ({each.status})"
                for each in document.versions
                if each.version != document.version
            ],
        }
    )
    if document.inputs:
        say()
        table(["input", "type", "", "default", "description"], map(_input_row, document.inputs))
    if document.outputs:
        say()
        rows = [
            [each.name, each.type, "secret" if each.secret else "", each.description] for each in document.outputs
        ]
        table(["output", "type", "", "description"], rows)
    say()
    table(
        ["step", "executor", "needs", "description"],
        [[each.id, each.executor, each.needs, each.description] for each in document.steps],
    )


def _input_row(item: InputDocument) -> list[object]:
    marks = [word for word, is_set in (("required", item.required), ("secret", item.secret)) if is_set]
    kind = "|".join(map(str, item.values)) if item.values else item.type
    return [item.name, kind, ", ".join(marks), item.default, item.description or item.title]
