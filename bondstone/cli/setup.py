"""`bond setup`: what a platform on servers of one's own needs once."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated

import typer

from bondstone.cli import context
from bondstone.terminal.output import Output, OutputFormat, emit, examples, fields, say

app = typer.Typer()


@app.command(
    epilog=examples(
        "bond setup                          with TEMPORAL_ADDRESS, BOND_STORE and BOND_KEYS set",
        "bond setup --retention-days 90      keep closed workflows for longer",
    )
)
def setup(
    *,
    retention_days: Annotated[
        int, typer.Option(min=1, max=3650, help="how long Temporal keeps closed workflows of a new namespace")
    ] = 30,
    output: Output = OutputFormat.TABLE,
) -> None:
    """Prepare Temporal and the store for workers that run elsewhere than in `bond up`.

    Makes what is missing of the namespace, its search attributes and the key ring, and refuses a store that cannot
    put an object only if it is absent. Safe to run again: it changes nothing that is there.
    """
    from bondstone.client.direct.setup import set_up  # noqa: PLC0415 - see bondstone.cli.app

    done = context.run(set_up(context.settings(), retention=timedelta(days=retention_days)))

    def show() -> None:
        say("The platform is set up; workers may start.")
        fields(
            {
                "  Temporal": done.address,
                "  namespace": done.namespace,
                "  store": done.store,
                "  key ring": f"{done.keys} (active: {done.active_key})",
            }
        )

    emit(done, output, show)
