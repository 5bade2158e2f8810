"""An attested argument for programs that send updates to Temporal themselves."""

from __future__ import annotations

from typing import Any, Final

from pydantic import ValidationError

from bondstone.base import names
from bondstone.base.errors import InvalidInput
from bondstone.base.settings import Settings
from bondstone.documents.yaml_places import did_you_mean
from bondstone.identity.attestor import Attestor
from bondstone.model import service
from bondstone.model.attestation import Attestable
from bondstone.model.campaign import events
from bondstone.model.campaign.run import CampaignInput
from bondstone.store.signing import Signer
from bondstone.temporal.attesting import attested

_OF_SERVICES: Final[dict[str, type[Any]]] = {
    names.UPDATE_REQUEST_OPERATION: service.Request,
    names.UPDATE_CANCEL_OPERATION: service.CancelCall,
    names.UPDATE_SET_LABELS: service.LabelsCall,
    names.UPDATE_PAUSE: service.PauseCall,
    names.UPDATE_RESUME: service.PauseCall,
    names.UPDATE_ABANDON: service.AbandonCall,
    names.UPDATE_APPROVE: service.VoteCall,
    names.UPDATE_REJECT: service.VoteCall,
}
"""Update to the model of its argument, of services and operations."""

_OF_CAMPAIGNS: Final[dict[str, type[Any]]] = {
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
"""The same of campaigns; `start` is the argument of their workflow."""


def attest(settings: Settings, workflow_id: str, update: str, argument: str) -> dict[str, Any]:
    """Sign the argument of an update with the keys of the data directory. It is good for five minutes.

    Args:
        settings: Name the file of the signing keys.
        workflow_id: Whom the update is for, as in `service/TEAM/NAME`.
        update: Its name; `start` to start a campaign.
        argument: JSON, as without attestation. It names who asks.

    Returns:
        The argument with its attestation, as JSON.

    Raises:
        InvalidInput: there is no such update, or this is not its argument.
        SettingsInvalid: there are no signing keys, or others may read them.
    """
    signer = Signer.load(settings.attestation_key_file)
    change = _change(workflow_id, update, argument)
    signed = attested(Attestor.local(signer), workflow_id, change, update=update)
    return signed.model_dump(mode="json", exclude_defaults=True)


def _change(workflow_id: str, update: str, argument: str) -> Attestable:
    known = _OF_CAMPAIGNS if workflow_id.startswith("campaign/") else _OF_SERVICES
    model = known.get(update)
    if model is None:
        raise InvalidInput(f"there is no update {update!r}", hint=did_you_mean(update, known))
    try:
        change: Attestable = model.model_validate_json(argument)
    except ValidationError as error:
        problems = "; ".join(f"{'.'.join(map(str, item['loc']))}: {item['msg']}" for item in error.errors()[:5])
        raise InvalidInput(f"this is not an argument of {update}: {problems}", where="--input") from None
    return change
