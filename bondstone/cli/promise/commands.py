"""`bond promise`: what the platform offers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from bondstone.cli import context
from bondstone.cli.promise.init import init
from bondstone.cli.promise.tests import run_cases
from bondstone.terminal.output import Output, OutputFormat, emit, examples, fields, note, say, table

if TYPE_CHECKING:
    from bondstone.base.errors import Problem
    from bondstone.model.promise import Promise
    from bondstone.promise.bundle import Bundle
    from bondstone.promise.validation.before_publish import Checked
    from bondstone.store.revisions import RevisionInfo, Revisions

T = TypeVar("T")

app = typer.Typer(help="What the platform offers: promises, and their revisions.", no_args_is_help=True)

Folder = Annotated[
    Path, typer.Argument(metavar="DIR", help="the folder that holds promise.yaml", show_default=False)
]
RevisionArgument = Annotated[
    str, typer.Argument(metavar="NAME@VERSION", help="the revision, as in postgres@1.4.0", show_default=False)
]
Reason = Annotated[str, typer.Option("--reason", metavar="TEXT", help="why; people will read it")]


@app.command(epilog=examples("bond promise validate promises/postgres", "bond promise validate . -o json"))
def validate(directory: Folder, *, output: Output = OutputFormat.TABLE) -> None:
    """Check a promise and name every problem by file, line and column."""
    promise, bundle, warnings = _checked(directory)
    _warn(warnings, output)
    emit(
        {
            "promise": promise.name,
            "version": promise.version,
            "digest": bundle.digest,
            "warnings": [warning.model_dump() for warning in warnings],
        },
        output,
        lambda: say(f"{promise.name}@{promise.version} is valid"),
    )


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
    promise, bundle, warnings = _checked(directory)
    _warn(warnings, output)
    ref, new = _with_revisions(lambda revisions: revisions.publish_once(bundle, promise, by=context.actor()))
    emit(
        {
            "promise": ref.promise,
            "version": ref.version,
            "digest": ref.digest,
            "published": new,
            "warnings": [warning.model_dump() for warning in warnings],
        },
        output,
        lambda: say(f"{'published' if new else 'unchanged'} {ref} sha256:{ref.digest}"),
    )


@app.command("list", epilog=examples("bond promise list", "bond promise list --all -o json"))
def list_promises(
    *,
    every: Annotated[
        bool, typer.Option("--all", "-a", help="every revision, also deprecated and yanked ones")
    ] = False,
    output: Output = OutputFormat.TABLE,
) -> None:
    """List promises, each at the version a request would get."""
    from bondstone.store.revisions import chosen  # noqa: PLC0415 - see bondstone.cli.context

    async def read(revisions: Revisions) -> list[RevisionInfo]:
        found: list[RevisionInfo] = []
        for name in await revisions.names():
            infos = await revisions.list(name)
            found += infos if every else [chosen(infos) or infos[0]]
        return found

    infos = _with_revisions(read)
    rows = [[info.ref.promise, info.ref.version, info.status, info.title, info.owner] for info in infos]
    emit(
        [_listed(info) for info in infos],
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
        str, typer.Argument(metavar="NAME[@VERSION]", help="the promise, as in postgres", show_default=False)
    ],
    *,
    output: Output = OutputFormat.TABLE,
) -> None:
    """Show a promise: what it takes, what it gives, what it does, and its other versions."""
    from bondstone.store.revisions import chosen, parse_revision  # noqa: PLC0415 - see bondstone.cli.context

    promise_name, version = parse_revision(name)

    async def read(revisions: Revisions) -> tuple[RevisionInfo, Promise, Sequence[RevisionInfo]]:
        infos = await revisions.list(promise_name)
        if version or not infos:
            info = await (revisions.get(promise_name, version) if version else revisions.newest(promise_name))
        else:
            info = chosen(infos) or infos[0]
        return info, await revisions.promise(info.ref), infos

    info, promise, infos = _with_revisions(read)
    inputs = _inputs(promise)
    outputs = [
        {"name": key, "type": item.type, "secret": item.secret, "description": item.description}
        for key, item in promise.spec.outputs.items()
    ]
    steps = [
        {"id": step.id, "executor": step.executor, "needs": list(step.needs), "description": step.description}
        for step in promise.spec.steps
    ]
    document = {
        **_listed(info),
        "description": promise.spec.description,
        "labels": promise.metadata.labels,
        "inputs": inputs,
        "outputs": outputs,
        "steps": steps,
        "schema": promise.spec.inputs,
        "versions": [{"version": other.ref.version, "status": other.status} for other in infos],
    }
    emit(document, output, lambda: _show(info, promise, document))


@app.command(epilog=examples("bond promise deprecate postgres@1.3.0 --reason 'use 1.4.0: it keeps backups'"))
def deprecate(revision: RevisionArgument, *, reason: Reason, output: Output = OutputFormat.TABLE) -> None:
    """Warn whoever asks for a revision; it is no longer chosen by itself."""
    _mark(revision, reason, output, lambda revisions: revisions.deprecate)


@app.command(epilog=examples("bond promise yank postgres@1.3.1 --reason 'it opens the port to all'"))
def yank(revision: RevisionArgument, *, reason: Reason, output: Output = OutputFormat.TABLE) -> None:
    """Take no new services at a revision; those that stand on it stay."""
    _mark(revision, reason, output, lambda revisions: revisions.yank)


# Helpers ----------------------------------------------------------------------------------------------------


def _with_revisions(work: Callable[[Revisions], Awaitable[T]]) -> T:
    """Open the revisions of the platform and do one thing; neither Temporal nor the key ring is needed."""

    async def main() -> T:
        from bondstone.store.objects import Objects  # noqa: PLC0415 - see bondstone.cli.context
        from bondstone.store.revisions import Revisions  # noqa: PLC0415

        return await work(Revisions(await Objects.open(context.settings().store_url)))

    return context.run(main())


def _checked(directory: Path) -> tuple[Promise, Bundle, tuple[Problem, ...]]:
    """A promise that may be published, with its bundle and warnings; problems are raised."""
    from bondstone.documents.yaml_places import refuse  # noqa: PLC0415
    from bondstone.executors.registry import load_executors  # noqa: PLC0415 - see bondstone.cli.context
    from bondstone.promise.bundle import pack  # noqa: PLC0415
    from bondstone.promise.validation.before_publish import validate as check  # noqa: PLC0415

    found: Checked = check(directory, load_executors())
    if found.promise is None:
        raise refuse(_placed(found.problems, directory), str(directory))
    return found.promise, pack(directory), tuple(_placed(found.warnings, directory))


def _warn(warnings: Sequence[Problem], output: OutputFormat) -> None:
    """Note warnings for people; programs find them in the result."""
    for warning in warnings if output is OutputFormat.TABLE else ():
        note(f"warning: {warning}")


def _placed(problems: Sequence[Problem], directory: Path) -> Iterator[Problem]:
    """Problems with paths as the person who typed the command would write them."""
    for problem in problems:
        inside = problem.file and (directory / problem.file).exists()
        yield problem.changed(file=str(directory / problem.file)) if inside else problem


def _mark(
    revision: str,
    reason: str,
    output: OutputFormat,
    verb: Callable[[Revisions], Callable[[str, str, str, str], Awaitable[RevisionInfo]]],
) -> None:
    from bondstone.base.errors import InvalidInput  # noqa: PLC0415 - see bondstone.cli.context
    from bondstone.store.revisions import parse_revision  # noqa: PLC0415

    name, version = parse_revision(revision)
    if not version:
        raise InvalidInput("say which version", hint=f"as in {name}@1.4.0; bond promise list --all shows them")
    info = _with_revisions(lambda revisions: verb(revisions)(name, version, reason, context.actor()))
    emit(_listed(info), output, lambda: say(f"{info.status} {info.ref}: {info.reason}"))


def _listed(info: RevisionInfo) -> dict[str, Any]:
    """A revision as programs read it."""
    return {
        "promise": info.ref.promise,
        "version": info.ref.version,
        "digest": info.ref.digest,
        "status": info.status,
        "reason": info.reason,
        "title": info.title,
        "owner": info.owner,
        "published_at": info.published_at,
        "published_by": info.published_by,
    }


def _inputs(promise: Promise) -> list[dict[str, Any]]:
    """The declared inputs, nested ones by their dotted path."""
    from bondstone.promise.schema import fields as declared  # noqa: PLC0415 - see bondstone.cli.context
    from bondstone.promise.schema import walk  # noqa: PLC0415

    required = set(promise.spec.inputs.get("required", ()))
    return [
        {
            "name": item.path,
            "type": item.schema.get("type", "any"),
            "required": item.path in required and "default" not in item.schema,
            "default": item.schema.get("default"),
            "secret": item.secret,
            "values": item.schema.get("enum", []),
            "title": item.schema.get("title", ""),
            "description": item.schema.get("description", ""),
        }
        for item in walk(declared(promise))
    ]


def _show(info: RevisionInfo, promise: Promise, document: Mapping[str, Any]) -> None:
    fields(
        {
            "promise": str(info.ref),
            "title": info.title,
            "description": promise.spec.description.strip(),
            "owner": info.owner,
            "status": f"{info.status}: {info.reason}" if info.reason else info.status,
            "digest": f"sha256:{info.ref.digest}",
            "published": info.published_at,
            "by": info.published_by,
            "other versions": [
                item["version"] if item["status"] == "active" else f"{item['version']} ({item['status']})"
                for item in document["versions"]
                if item["version"] != info.ref.version
            ],
        }
    )
    if document["inputs"]:
        say()
        table(["input", "type", "", "default", "description"], map(_input_row, document["inputs"]))
    if document["outputs"]:
        say()
        rows = [
            [item["name"], item["type"], "secret" if item["secret"] else "", item["description"]]
            for item in document["outputs"]
        ]
        table(["output", "type", "", "description"], rows)
    say()
    table(
        ["step", "executor", "needs", "description"],
        [[item["id"], item["executor"], item["needs"], item["description"]] for item in document["steps"]],
    )


def _input_row(item: Mapping[str, Any]) -> list[object]:
    marks = [word for word in ("required", "secret") if item[word]]
    kind = "|".join(map(str, item["values"])) if item["values"] else item["type"]
    return [item["name"], kind, ", ".join(marks), item["default"], item["description"] or item["title"]]
