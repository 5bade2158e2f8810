"""`bond codec`: keys of Temporal's payloads, and the server that opens them for Temporal's UI."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from bondstone.cli import context
from bondstone.terminal.output import Output, OutputFormat, emit, examples, say

if TYPE_CHECKING:
    from bondstone.client.local.payload_keys import PayloadKeys

app = typer.Typer(help="Encryption of what Temporal keeps: keys, and a server for its UI.", no_args_is_help=True)


@app.command(
    epilog=examples(
        "BOND_CODEC_TOKEN=... bond codec serve",
        "temporal workflow show -w service/payments/orders --codec-endpoint http://127.0.0.1:8234 "
        '--codec-auth "Bearer $BOND_CODEC_TOKEN"',
    )
)
def serve() -> None:
    """Decrypt payloads for Temporal's UI and command. Callers need the token.

    Settings: payload_keys, codec_bind, codec_origin. The token is in BOND_CODEC_TOKEN.
    """
    sys.stdout.flush()
    os.execv(sys.executable, [sys.executable, "-m", "bondstone.workers.codec"])  # noqa: S606 - our own module, no shell


@app.command(epilog=examples("bond codec add-key", "bond codec activate k-1a2b3c4d"))
def add_key(output: Output = OutputFormat.TABLE) -> None:
    """Add a new key to the payload key ring, or make the ring.

    The new key opens, and does not seal yet: copy the ring to every process, restart it, then `activate` the key.
    """
    from bondstone.client.local import payload_keys  # noqa: PLC0415 - see bondstone.cli.app

    _show(payload_keys.add_key(context.settings()), output)


@app.command(epilog=examples("bond codec activate k-1a2b3c4d"))
def activate(
    key: Annotated[str, typer.Argument(help="id of a key in the ring")], output: Output = OutputFormat.TABLE
) -> None:
    """Let another key of the payload key ring seal from now on; processes notice when they are restarted."""
    from bondstone.client.local import payload_keys  # noqa: PLC0415 - see bondstone.cli.app

    _show(payload_keys.activate(context.settings(), key), output)


def _show(ring: PayloadKeys, output: OutputFormat) -> None:
    emit(ring, output, lambda: say(f"{ring.file}: {ring.key}; {ring.active} seals, {len(ring.keys)} open"))
