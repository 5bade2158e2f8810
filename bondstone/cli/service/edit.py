"""`bond service edit`: the inputs of a service in an editor; what was changed becomes an update."""

from __future__ import annotations

import os
import shlex
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import typer

from bondstone.cli.operation_options import Ask, DryRun, accepted
from bondstone.cli.session import Reason, RequestId, ServiceArgument, Wait, with_platform
from bondstone.terminal.output import Output, OutputFormat, as_yaml, examples, note

if TYPE_CHECKING:
    from bondstone.client import Bondstone, Operation

app = typer.Typer()
"""Its command stands in the group of `bondstone.cli.service.commands`."""

_HEAD: Final = """\
# The inputs of {service}, at {revision}. Save and close: what you changed becomes an update.
# A line that you remove goes back to its default. Secrets are changed with `bond service update --secret`.
"""


@app.command(epilog=examples("bond service edit payments/orders", "EDITOR=nano bond service edit a/b --dry-run"))
def edit(
    service: ServiceArgument,
    *,
    dry_run: DryRun = False,
    ask: Ask = False,
    reason: Reason = "",
    request_id: RequestId = "",
    wait: Wait = False,
    output: Output = OutputFormat.TABLE,
) -> None:
    """Change inputs in an editor, that of VISUAL or EDITOR; only what was changed is sent."""
    from bondstone.base.errors import BondError, InvalidInput  # noqa: PLC0415 - see bondstone.cli.session
    from bondstone.cli.inputs import read_mapping  # noqa: PLC0415

    document = with_platform(lambda bond: bond.services.get(service))
    with tempfile.NamedTemporaryFile(  # 0600
        "w", suffix=".yaml", prefix="bond-edit-", delete=False, encoding="utf-8"
    ) as file:
        file.write(_HEAD.format(service=service, revision=document.revision))
        file.write(as_yaml(document.inputs) + "\n" if document.inputs else "{}\n")
    path = Path(file.name)
    editor = os.environ.get("VISUAL") or os.environ.get("EDITOR") or "vi"
    try:
        done = subprocess.run([*shlex.split(editor), str(path)], check=False)  # noqa: S603 - the person's own editor
    except OSError as error:
        raise InvalidInput(
            f"the editor {editor!r} cannot be started: {error.strerror}", hint="set EDITOR"
        ) from None
    if done.returncode:
        raise InvalidInput(f"the editor ended with status {done.returncode}; nothing was changed")
    try:
        changes = difference(document.inputs, read_mapping(str(path)))
        if not changes:
            path.unlink()
            note("nothing was changed")
            return

        async def send(bond: Bondstone) -> Operation:
            return await bond.services.update(
                service, changes, reason=reason, request_id=request_id or None, dry_run=dry_run, ask=ask
            )

        accepted(send, wait=wait, output=output, dry_run=dry_run)
    except BondError:
        note(f"what you wrote is kept in {path}")
        raise
    except typer.Exit:
        path.unlink()
        raise
    path.unlink()


def difference(before: Mapping[str, Any], after: Mapping[str, Any], where: str = "") -> dict[str, Any]:
    """What an update has to say to lead from one to the other: objects are merged, null is the default.

    Raises:
        InvalidInput: a secret was written into the file.
    """
    from bondstone.base.errors import InvalidInput  # noqa: PLC0415 - see bondstone.cli.session
    from bondstone.base.redact import MASK  # noqa: PLC0415

    changes: dict[str, Any] = {}
    for name in {**before, **after}:
        old, new = before.get(name), after.get(name)
        path = f"{where}{name}"
        if old == MASK and name in after and new not in {MASK, None}:
            raise InvalidInput(
                f"{path} is a secret; an editor leaves copies of what is typed",
                hint=f"change it with `bond service update … --secret {path}`",
            )
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            if inner := difference(old, new, f"{path}."):
                changes[name] = inner
        elif old != new:
            changes[name] = new
    return changes
