"""`bond backup`, `restore` and `doctor`: the data of a platform kept, put back, and looked over."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bondstone.cli import context
from bondstone.terminal.output import Output, OutputFormat, emit, examples, note, say, table

app = typer.Typer()

File = Annotated[Path, typer.Argument(metavar="FILE", help="the backup, as in bond.tar.gz", show_default=False)]


@app.command(
    epilog=examples(
        "bond backup bond-2026-11-29.tar.gz",
        "bond backup bond.tar.gz --without-keys     the key rings are kept elsewhere",
    )
)
def backup(
    file: File,
    *,
    without_keys: Annotated[
        bool, typer.Option("--without-keys", help="leave the key rings out; nothing can be read without them")
    ] = False,
    output: Output = OutputFormat.TABLE,
) -> None:
    """Write all of the embedded platform's data into one file, while it runs or not.

    What its services have made (by Terraform, by Helm) is not in it, and neither is an object store outside the
    data directory.
    """
    from bondstone.client.local.backup import back_up  # noqa: PLC0415 - see bondstone.cli.app

    document = back_up(context.settings(), file, keys=not without_keys)

    def people() -> None:
        say(f"{file}: {document.size >> 10} KiB, all of {document.data}")
        if document.keys:
            note("its key rings are in it: anybody who has the file can read everything")
        else:
            note(f"its key rings are not in it: keep {document.data}/keys.json elsewhere")

    emit(document, output, people)


@app.command(
    epilog=examples(
        "bond restore bond.tar.gz --data ./restored",
        "bond up --data ./restored --port 8300      beside the original, or instead of it",
    )
)
def restore(file: File, *, output: Output = OutputFormat.TABLE) -> None:
    """Make a data directory of a backup: the one of --data, which must be missing or empty.

    `bond up` on it continues what ran at the time of the backup. Run it beside the original only to look: both
    would manage the same infrastructure.
    """
    from bondstone.client.local import backup as backups  # noqa: PLC0415 - see bondstone.cli.app

    document = backups.restore(context.settings(), file)

    def people() -> None:
        data = document.data
        say(f"{data}: as of {document.at:%Y-%m-%d %H:%M:%SZ}")
        if not document.keys:
            note(f"no key rings were in it: put keys.json into {data} before `bond up`")
        note(f"start it with `bond up --data {data}`")

    emit(document, output, people)


@app.command(epilog=examples("bond doctor", "bond doctor -o json"))
def doctor(*, output: Output = OutputFormat.TABLE) -> None:
    """Look a platform over: database, disk, store, keys, access document, every ledger, and work that is stuck.

    Changes nothing. Exit code 1 when there is a problem.
    """
    from bondstone.client.direct.doctor import examine  # noqa: PLC0415 - see bondstone.cli.app

    findings = context.run(examine(context.settings(), quiet=True))

    def people() -> None:
        table(["check", "", "finding"], [[it.check, it.status, it.message] for it in findings])
        for hint in dict.fromkeys(it.hint for it in findings if it.hint):
            note(hint)

    emit(findings, output, people)
    if any(finding.status == "problem" for finding in findings):
        raise typer.Exit(1)
