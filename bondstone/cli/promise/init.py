"""`bond promise init`: a promise made from a module, a chart or a kind that exists."""

from __future__ import annotations

import re
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bondstone.base.errors import InvalidInput
from bondstone.terminal.output import Output, OutputFormat, emit, say, table

if TYPE_CHECKING:
    from bondstone.executors.scaffold import Draft, InputDifference

SOURCES = {
    "terraform": "bondstone.activities.terraform.scaffold",
    "helm": "bondstone.activities.helm.scaffold",
    "crd": "bondstone.activities.kubernetes.scaffold",
    "xrd": "bondstone.activities.kubernetes.scaffold",
    "ansible": "bondstone.activities.ansible.scaffold",
    "kratix": "bondstone.activities.kratix.scaffold",
    "kratix-platform": "bondstone.activities.kratix.scaffold:platform_draft",
}
"""What a promise can be made from, and the module whose `draft(path)`, or named function, reads it."""


def init(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="the folder to write", show_default=False)],
    *,
    source: Annotated[
        str,
        typer.Option(
            "--from",
            metavar="KIND:PATH",
            help=f"its source; KIND is one of {', '.join(SOURCES)}",
            show_default=False,
        ),
    ],
    name: Annotated[
        str,
        typer.Option("--name", metavar="NAME", help="of the promise; default: the folder's", show_default=False),
    ] = "",
    update: Annotated[
        bool,
        typer.Option("--update", help="take a newer module or chart into the promise in DIR, as a new version"),
    ] = False,
    output: Output = OutputFormat.TABLE,
) -> None:
    """Make a promise from a Terraform module, a Helm chart, a CRD, an XRD, an Ansible role or a Kratix promise.

    What could not be translated is listed, here and in the promise's README. With `--update` the inputs of both
    versions are compared, and the version is raised as the differences require.
    """
    draft = _reader(source)
    if update:
        _update(directory, draft, output)
        return
    from bondstone.executors.scaffold import write_promise  # noqa: PLC0415 - heavy

    name = name or re.sub(r"[^a-z0-9]+", "-", directory.resolve().name.lower()).strip("-")
    files = write_promise(directory, name, draft)
    document: dict[str, Any] = {
        "promise": name,
        "directory": str(directory),
        "files": [str(file) for file in files],
        "inputs": len(draft.inputs.get("properties", {})),
        "outputs": len(draft.outputs),
        "untranslated": list(draft.untranslated),
    }

    def people() -> None:
        say(f"wrote {directory}: {document['inputs']} inputs, {document['outputs']} outputs")
        for line in draft.untranslated:
            say(f"  not translated: {line}")
        say(f"Next: edit {directory / 'promise.yaml'}, then `bond promise test {directory}`.")

    emit(document, output, people)


def _reader(source: str) -> Draft:
    kind, colon, path = source.partition(":")
    if kind not in SOURCES or not colon or not path:
        raise InvalidInput(
            f"{source!r} is not KIND:PATH with a known KIND",
            hint=f"as in --from terraform:modules/database; KIND is one of {', '.join(SOURCES)}",
        )
    if not Path(path).exists():
        raise InvalidInput(
            f"{path} does not exist", hint="a path on this machine is needed; nothing is downloaded"
        )
    module, _, function = SOURCES[kind].partition(":")
    read: Callable[[Path], Draft] = getattr(import_module(module), function or "draft")
    return read(Path(path))


def _update(directory: Path, draft: Draft, output: OutputFormat) -> None:
    from bondstone.executors.scaffold import kept, update_promise  # noqa: PLC0415 - heavy

    before, after, changes = update_promise(directory, draft)
    stays = kept(directory, draft)

    def people() -> None:
        table(
            ["input", "what", "needs"],
            [[change.path, change.what, change.bump] for change in changes],
            empty="the inputs are the same",
        )
        for line in stays:
            say(f"  {line}")
        say(f"{directory}: {before} is now {after}")

    emit(
        {
            "directory": str(directory),
            "from": before,
            "to": after,
            "differences": [_document(change) for change in changes],
            "untranslated": list(draft.untranslated),
            "kept": stays,
        },
        output,
        people,
    )


def _document(change: InputDifference) -> dict[str, str]:
    return {"input": change.path, "what": change.what, "bump": change.bump}
