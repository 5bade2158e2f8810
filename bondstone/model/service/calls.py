"""Arguments of the updates and signals of a service, beside the request for an operation."""

from __future__ import annotations

from pydantic import Field

from bondstone.base.models import Wire
from bondstone.model.attestation import Attestable
from bondstone.model.service.kinds import ServiceId
from bondstone.model.service.requests import Conditional, Dependant, KeptManifest


class BindCall(Conditional):
    """Argument of the updates `bind` and `release`: a parent that begins or ends to use this service."""

    parent: Dependant
    requested_by: str = "unknown"


class PartChanged(Wire):
    """Argument of the signal `part_changed`: a part stands on something else now, or gives something else."""

    part: ServiceId
    operation: str
    """Id of the operation that changed it."""


class LabelsCall(Conditional):
    """Argument of the update `set_labels`: the labels to set, and the keys to remove."""

    set: dict[str, str] = {}
    remove: tuple[str, ...] = ()
    requested_by: str = "unknown"
    applied: KeptManifest | None = None
    """The manifest that asks, kept with the service."""


class VoteCall(Attestable):
    """Argument of the updates `approve` and `reject` of an operation."""

    step: str
    digest: str
    by: str
    roles: tuple[str, ...] = ()
    comment: str = ""


class PauseCall(Conditional):
    """Argument of the updates `pause` and `resume`."""

    requested_by: str = "unknown"
    reason: str = ""


class AbandonCall(Conditional):
    """Argument of the update `abandon`: forget the service, and destroy nothing."""

    requested_by: str = "unknown"
    reason: str = Field(min_length=1)


class CancelCall(Conditional):
    """Argument of the update `cancel_operation`."""

    number: int
    requested_by: str = "unknown"
    reason: str = ""
