"""`bond attest`: an attested argument for those who speak to Temporal themselves."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bondstone.cli import context
from bondstone.terminal.output import Output, OutputFormat, emit, examples, say

if TYPE_CHECKING:
    from bondstone.model.attestation import Attestable

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
    from bondstone.identity.attestor import Attestor  # noqa: PLC0415 - --help is fast
    from bondstone.store.signing import Signer  # noqa: PLC0415
    from bondstone.temporal.attesting import attested  # noqa: PLC0415

    settings = context.settings()
    signer = Signer.load(settings.attestation_key_file)
    signed = attested(Attestor.local(signer), workflow_id, _change(workflow_id, update, document), update=update)
    value = signed.model_dump(mode="json", exclude_defaults=True)
    emit(value, output, lambda: say(json.dumps(value, ensure_ascii=False)))


def _change(workflow_id: str, update: str, document: str) -> Attestable:
    from pydantic import ValidationError  # noqa: PLC0415 - --help is fast

    from bondstone.base.errors import InvalidInput  # noqa: PLC0415
    from bondstone.documents.yaml_places import did_you_mean  # noqa: PLC0415

    known = _of_campaigns() if workflow_id.startswith("campaign/") else _of_services()
    model = known.get(update)
    if model is None:
        raise InvalidInput(f"there is no update {update!r}", hint=did_you_mean(update, known))
    try:
        change: Attestable = model.model_validate_json(document)
    except ValidationError as error:
        problems = "; ".join(f"{'.'.join(map(str, item['loc']))}: {item['msg']}" for item in error.errors()[:5])
        raise InvalidInput(f"this is not an argument of {update}: {problems}", where="--input") from None
    return change


def _of_services() -> dict[str, type[Any]]:
    """Update to the model of its argument, of services and operations."""
    from bondstone.base import names  # noqa: PLC0415 - --help is fast
    from bondstone.model import service  # noqa: PLC0415

    return {
        names.UPDATE_REQUEST_OPERATION: service.Request,
        names.UPDATE_CANCEL_OPERATION: service.CancelCall,
        names.UPDATE_SET_LABELS: service.LabelsCall,
        names.UPDATE_PAUSE: service.PauseCall,
        names.UPDATE_RESUME: service.PauseCall,
        names.UPDATE_ABANDON: service.AbandonCall,
        names.UPDATE_APPROVE: service.VoteCall,
        names.UPDATE_REJECT: service.VoteCall,
    }


def _of_campaigns() -> dict[str, type[Any]]:
    """The same of campaigns; `start` is the argument of their workflow."""
    from bondstone.base import names  # noqa: PLC0415 - --help is fast
    from bondstone.model.campaign import events  # noqa: PLC0415
    from bondstone.model.campaign.run import CampaignInput  # noqa: PLC0415

    return {
        "start": CampaignInput,
        names.UPDATE_PAUSE: events.Pause,
        names.UPDATE_RESUME: events.Resume,
        names.UPDATE_ABORT: events.Abort,
        names.UPDATE_SUPERSEDE: events.Supersede,
        names.UPDATE_SKIP: events.Skip,
        names.UPDATE_SET_CONCURRENCY: events.SetConcurrency,
        names.UPDATE_NEXT_WAVE: events.NextWave,
        names.UPDATE_RETRY: events.Retry,
        names.UPDATE_ROLLBACK: events.RollbackTargets,
        names.UPDATE_APPROVE: events.Approve,
        names.UPDATE_REJECT: events.Reject,
    }
