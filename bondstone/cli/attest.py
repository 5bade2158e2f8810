"""`bond attest`: an attested argument for those who speak to Temporal themselves."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from bondstone.cli import context
from bondstone.terminal.output import Output, OutputFormat, emit, examples, say

app = typer.Typer()


@app.command(
    epilog=examples(
        'bond attest service/payments/orders pause --input \'{"requested_by": "ada"}\'',
        'bond attest service/payments/orders/op/3 approve --input "$VOTE"',
        'bond attest campaign/cve-2026-1234 start --input "$(cat campaign.json)"',
    )
)
def attest(
    workflow_id: Annotated[
        str, typer.Argument(metavar="WORKFLOW", help="whom it is for: service/TEAM/NAME, …", show_default=False)
    ],
    update: Annotated[
        str,
        typer.Argument(
            metavar="UPDATE", help="name of the update; `start` to start a campaign", show_default=False
        ),
    ],
    *,
    document: Annotated[
        str,
        typer.Option("--input", metavar="JSON", help="the argument, as without attestation", show_default=False),
    ],
    output: Output = OutputFormat.TABLE,
) -> None:
    """Sign an argument of an update with the keys of the data directory, and print it for `temporal --input`.

    It is good for five minutes, for this argument and this workflow. It names who asks as the argument does.
    """
    from bondstone.client.local.attesting import attest as sign  # noqa: PLC0415 - --help is fast

    signed = sign(context.settings(), workflow_id, update, document)
    emit(signed, output, lambda: say(json.dumps(signed, ensure_ascii=False)))
