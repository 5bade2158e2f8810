"""`bond up`, `down`, `status` and `config`: the embedded platform."""

from __future__ import annotations

import typer

app = typer.Typer()


@app.command()
def up() -> None:
    """Start the embedded platform."""


@app.command()
def down() -> None:
    """Stop."""
