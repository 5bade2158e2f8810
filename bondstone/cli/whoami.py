"""`bond whoami`: who asks, and on which platform."""

from __future__ import annotations

import os

import typer

from bondstone.cli import context
from bondstone.terminal.output import Output, OutputFormat, emit, examples, fields

app = typer.Typer()


@app.command(epilog=examples("bond whoami", "bond --as grace whoami -o jsonpath='{.name}'"))
def whoami(*, output: Output = OutputFormat.TABLE) -> None:
    """Show the name that changes are recorded under, where it comes from, and which platform is asked."""
    settings = context.settings()
    source = "--as" if context.options.actor else "BOND_AS" if os.environ.get("BOND_AS") else "operating system"
    identity = {
        "name": context.actor(),
        "source": source,
        "proven": False,
        "context": context.options.context or None,
        "platform": settings.api or settings.temporal_address or str(settings.data),
        "attestation": settings.attestation,
    }
    emit(
        identity,
        output,
        lambda: fields(
            {
                "name": identity["name"],
                "from": f"{source}, as asserted",
                "context": identity["context"],
                "platform": identity["platform"],
            }
        ),
    )
