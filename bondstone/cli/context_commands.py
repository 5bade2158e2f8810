"""`bond context`: several platforms, each by a name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from bondstone.base.contexts import Contexts, contexts_file, read_contexts, write_contexts
from bondstone.cli import completion, context
from bondstone.terminal.output import Output, OutputFormat, emit, examples, fields, note, say, table

app = typer.Typer(help="Platforms by name: one is in use, `--context` names another.", no_args_is_help=True)

Name = Annotated[
    str, typer.Argument(metavar="NAME", help="the context", show_default=False, autocompletion=completion.contexts)
]


@app.command("list", epilog=examples("bond context list", "bond context list -o json"))
def list_(*, output: Output = OutputFormat.TABLE) -> None:
    """List the contexts; the one in use is marked."""
    rows = _rows(read_contexts())
    emit(
        rows,
        output,
        lambda: table(
            ["", "context", "platform"],
            [["*" if row["current"] else " ", row["name"], row["platform"]] for row in rows],
            empty="no context is known: bond context add NAME",
        ),
    )


@app.command(epilog=examples("bond context use prod"))
def use(name: Name, *, output: Output = OutputFormat.TABLE) -> None:
    """Use a platform from now on, wherever no other one is named."""
    contexts = read_contexts()
    contexts.get(name)
    write_contexts(replace(contexts, current=name))
    emit(_row(contexts, name, current=True), output, lambda: say(f"context {name} is in use"))
    if variable := context.winning_variable():
        note(f"{variable} is set, and wins: unset it, or name the context with --context {name}")


@app.command(
    epilog=examples(
        "bond context add here --data ./platform --use",
        "bond context add prod --api https://bond.example.org",
        "bond context add prod --temporal temporal.example:7233 --namespace bond "
        "--store s3://bond-prod --keys prod-keys.json",
    )
)
def add(
    name: Name,
    *,
    api: Annotated[str, typer.Option("--api", metavar="URL", help="the platform's HTTP API")] = "",
    temporal: Annotated[str, typer.Option("--temporal", metavar="HOST:PORT", help="its Temporal")] = "",
    namespace: Annotated[str, typer.Option("--namespace", metavar="NAME", help="in that Temporal")] = "",
    ui: Annotated[str, typer.Option("--ui", metavar="URL", help="of Temporal, for links")] = "",
    store: Annotated[str, typer.Option("--store", metavar="URL", help="its object store")] = "",
    keys: Annotated[Path | None, typer.Option("--keys", metavar="FILE", help="its key ring")] = None,
    payload_keys: Annotated[
        Path | None, typer.Option("--payload-keys", metavar="FILE", help="the key ring of Temporal's payloads")
    ] = None,
    use_it: Annotated[bool, typer.Option("--use", help="use it from now on")] = False,
    output: Output = OutputFormat.TABLE,
) -> None:
    """Remember a platform under a name, or replace what is remembered.

    An embedded platform is named by its directory: `--data DIR`, else the user's own.
    """
    from bondstone.base.errors import InvalidInput  # noqa: PLC0415 - see bondstone.cli.session
    from bondstone.base.names import check_name  # noqa: PLC0415

    check_name("context", name)
    values = {
        "api": api,
        "temporal_address": temporal,
        "temporal_namespace": namespace,
        "temporal_ui": ui,
        "store": store,
        "keys": str(keys.absolute()) if keys else "",
        "payload_keys": str(payload_keys.absolute()) if payload_keys else "",
        "data": str(context.options.typed_data.absolute()) if context.options.typed_data else "",
    }
    values = {key: value for key, value in values.items() if value}
    if not values:
        raise InvalidInput("say which platform", where=name, hint="--data DIR, --api URL, or --temporal HOST:PORT")
    contexts = read_contexts()
    known = {**contexts.known, name: values}
    changed = Contexts(current=name if use_it or not contexts.known else contexts.current, known=known)
    write_contexts(changed)
    used = changed.current == name
    emit(
        _row(changed, name, current=used),
        output,
        lambda: say(f"context {name} is {_platform(values)}{', and in use' if used else ''}"),
    )


@app.command(epilog=examples("bond context remove prod"))
def remove(name: Name, *, output: Output = OutputFormat.TABLE) -> None:
    """Forget a context; the platform itself is not touched."""
    contexts = read_contexts()
    contexts.get(name)
    known = {each: values for each, values in contexts.known.items() if each != name}
    write_contexts(Contexts(current="" if contexts.current == name else contexts.current, known=known))
    emit({"name": name, "removed": True}, output, lambda: say(f"context {name} is removed"))


@app.command(epilog=examples("bond context show", "bond context show prod -o json"))
def show(
    name: Annotated[
        str, typer.Argument(metavar="[NAME]", help="the context; else the one in use", show_default=False)
    ] = "",
    *,
    output: Output = OutputFormat.TABLE,
) -> None:
    """Show a context: where its platform is."""
    from bondstone.base.errors import NotFound  # noqa: PLC0415 - see bondstone.cli.session

    contexts = read_contexts()
    chosen = name or context.options.context
    if not chosen and contexts.current and (variable := context.winning_variable()):
        raise NotFound(
            f"{variable} names the platform, so the context {contexts.current} is not in use",
            hint=f"unset {variable}, or name it: bond context show {contexts.current}",
        )
    if not chosen:
        raise NotFound("no context is in use", hint="bond context use NAME, or name it: bond context show NAME")
    values = contexts.get(chosen)
    shown = {"context": chosen, **values, "in use": chosen == context.options.context, "file": contexts_file()}
    emit(_row(contexts, chosen, current=chosen == contexts.current), output, lambda: fields(shown))


def _rows(contexts: Contexts) -> list[dict[str, object]]:
    return [_row(contexts, name, current=name == contexts.current) for name in sorted(contexts.known)]


def _row(contexts: Contexts, name: str, *, current: bool) -> dict[str, object]:
    values = contexts.known[name]
    return {"name": name, "current": current, "platform": _platform(values), "settings": dict(values)}


def _platform(values: Mapping[str, str]) -> str:
    """Where a platform is, in a word."""
    return next((values[key] for key in ("api", "temporal_address", "data") if values.get(key)), "elsewhere")
