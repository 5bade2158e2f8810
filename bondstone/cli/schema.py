"""`bond schema`: JSON Schemas of what people write, for editors."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bondstone.cli.session import with_platform
from bondstone.terminal.output import Output, OutputFormat, emit, examples, say

if TYPE_CHECKING:
    from bondstone.client.documents.promise import PromiseDocument

app = typer.Typer(help="JSON Schemas of what people write, for editors.", no_args_is_help=True)


@app.command(epilog=examples("bond schema show promise", "bond schema show service --promise queue@1.0.0"))
def show(
    kind: Annotated[
        str,
        typer.Argument(
            metavar="KIND",
            help="promise, promise-tests, promise-reference, service, campaign, strategy, schedule, freeze, "
            "policy-set or access",
            show_default=False,
        ),
    ],
    *,
    promise: Annotated[
        str, typer.Option("--promise", metavar="P[@V]", help="of a service of this promise: with its inputs")
    ] = "",
    output: Output = OutputFormat.JSON,
) -> None:
    """Print the JSON Schema of a kind of file. Only --promise asks the platform."""
    from bondstone.base.errors import InvalidInput  # noqa: PLC0415 - see bondstone.cli.session
    from bondstone.documents.yaml_places import did_you_mean  # noqa: PLC0415
    from bondstone.executors.editor_schemas import EDITOR_SCHEMAS, editor_schema  # noqa: PLC0415

    if kind not in EDITOR_SCHEMAS:
        raise InvalidInput(f"there is no schema of {kind!r}", hint=did_you_mean(kind, EDITOR_SCHEMAS))
    if promise and kind != "service":
        raise InvalidInput("--promise goes with the schema of services only")
    emit(_service_schemas([promise])[0][1] if promise else editor_schema(kind), output)


@app.command(
    epilog=examples("bond schema write .schemas", "bond schema write .schemas --promise queue --promise web-app")
)
def write(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="the folder to write to", show_default=False)],
    *,
    promise: Annotated[
        list[str],
        typer.Option("--promise", metavar="P[@V]", help="also of services of this promise; may be repeated"),
    ] = [],  # noqa: B006 - typer copies it
    output: Output = OutputFormat.TABLE,
) -> None:
    """Write the JSON Schemas of all files that people write, and say how editors find them."""
    from bondstone.executors.editor_schemas import EDITOR_SCHEMAS, as_text, editor_schema  # noqa: PLC0415

    schemas = [(kind, editor_schema(kind)) for kind in EDITOR_SCHEMAS]
    if promise:
        schemas += _service_schemas(promise)
    directory.mkdir(parents=True, exist_ok=True)
    files = []
    for name, schema in schemas:
        path = directory / f"{name}.json"
        path.write_text(as_text(schema), encoding="utf-8")
        files.append(str(path))

    def people() -> None:
        for file in files:
            say(file)
        say(f"Begin a file with: # yaml-language-server: $schema={directory}/service.json")

    emit({"files": files}, output, people)


def _service_schemas(promises: list[str]) -> list[tuple[str, dict[str, Any]]]:
    from bondstone.executors.editor_schemas import service_schema  # noqa: PLC0415

    async def read(bond: Any) -> list[PromiseDocument]:
        return [await bond.promises.get(*each.partition("@")[::2]) for each in promises]

    return [
        (f"service.{each.promise}", service_schema(each.promise, each.version, each.input_schema))
        for each in with_platform(read)
    ]
