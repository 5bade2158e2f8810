"""What goes to and comes from the executor and control activities: small, by reference, no secrets."""

from __future__ import annotations

from typing import Any, Literal

from bondstone.base.models import Wire
from bondstone.model.attestation import Permit
from bondstone.model.plan import ChangeCounts, PlanRef
from bondstone.model.service import (
    AbandonCall,
    Dependant,
    Health,
    OperationKind,
    Options,
    RevisionRef,
    ServiceId,
    StepOutputs,
)


class StepCall(Wire):
    """Input of `<executor>.plan`, `.plan_destroy` and `.detect_drift`."""

    service: ServiceId
    labels: dict[str, str] = {}
    operation: int
    kind: OperationKind
    requested_by: str = "unknown"
    revision: RevisionRef
    step: str
    inputs: dict[str, Any] = {}
    """The service's inputs, secrets by reference."""
    outputs: dict[str, StepOutputs] = {}
    """Outputs of the steps that are done, by step id."""
    dry_run: bool = False
    """Nothing will be applied: a part is asked for a dry run of its own."""
    reconcile: Options | None = None
    """Of a drift check: how a part that the service owns is reconciled first; None where parts are left alone."""
    permit: Permit | None = None
    """Of the operation, where permits are demanded."""


class ApplyCall(StepCall):
    """Input of `<executor>.apply`: the same, and the one plan that may be applied."""

    plan: PlanRef
    apply_permit: Permit | None = None
    """For this very plan, where permits are demanded."""


class Applied(Wire):
    """What `<executor>.apply` returns."""

    outputs: StepOutputs = StepOutputs()
    counts: ChangeCounts = ChangeCounts()
    duration_seconds: float = 0
    log: str = ""
    failed_checks: tuple[str, ...] = ()
    """What the tool's own checks find wrong now."""
    warnings: tuple[str, ...] = ()
    """What is wrong with how it was applied, which stops nothing; bounded."""
    earlier_attempts: tuple[str, ...] = ()
    """Why attempts before the one that succeeded ended, the last ones, the first one first."""


class Drift(Wire):
    """What `<executor>.detect_drift` returns: addresses, and attributes with sensitive ones masked."""

    addresses: tuple[str, ...] = ()
    """The first hundred addresses whose reality differs from what was applied."""
    count: int = 0
    """How many differ in all."""
    counts: ChangeCounts = ChangeCounts()
    key: str = ""
    """Object that holds the whole report."""
    log: str = ""
    failed_checks: tuple[str, ...] = ()
    """What the tool's own checks find wrong now."""


class Progress(Wire):
    """What an executor activity heartbeats."""

    done: int = 0
    total: int = 0
    address: str = ""
    """What is being worked on."""
    note: str = ""
    """What it waits for, if it does."""


class PolicyCall(StepCall):
    """Input of `policy.check`: the plan whose document the policies are asked about."""

    plan: PlanRef
    before: RevisionRef | None = None
    before_inputs: dict[str, Any] = {}
    parents: tuple[Dependant, ...] = ()
    """Services that this one is a part of, as it knows them when the operation begins."""
    parts: dict[str, str] = {}
    """What the promise calls each part, to the part's `TEAM/NAME`."""


class CoverCall(Wire):
    """Input of `plan.covered`: may a new plan go on under the approval of an earlier one?"""

    approved: PlanRef
    new: PlanRef


class Cover(Wire):
    """What `plan.covered` returns."""

    covered: bool
    reasons: tuple[str, ...] = ()
    """What the new plan would do that nobody approved."""
    carried_out: ChangeCounts = ChangeCounts()
    """What the earlier plan would have done and the new one need not: it is done already."""


class OutputsCall(Wire):
    """Input of `promise.outputs`: evaluates the promise's outputs from those of the steps."""

    service: ServiceId
    labels: dict[str, str] = {}
    operation: int
    kind: OperationKind
    revision: RevisionRef
    inputs: dict[str, Any] = {}
    outputs: dict[str, StepOutputs] = {}
    permit: Permit | None = None


class ServiceOutputs(Wire):
    """What `promise.outputs` returns: the service's outputs, secrets by reference."""

    outputs: dict[str, Any] = {}


Probes = Literal["", "patch", "upgrade"]
"""Which probes of a revision: those of the service, or those that its patch or its upgrade has instead."""


class HealthCall(OutputsCall):
    """Input of `health.probe`."""

    probes: Probes = ""
    """Those of `spec.health`, of `spec.patch.health` or of `spec.upgrade.health`, of the revision named here."""

    service_outputs: dict[str, Any] = {}


class HealthReport(Wire):
    """What `health.probe` returns."""

    health: Health
    message: str = ""


class AdoptCall(Wire):
    """Input of `state.adopt`: states that somebody brought become those of a new service's steps."""

    service: ServiceId
    operation: int
    states: dict[str, str]
    """Step to the key of the sealed object that holds its state."""
    permit: Permit | None = None


class PutAwayCall(Wire):
    """Input of `service.put_away`: nothing of a service that is gone stays where the next one would find it."""

    service: ServiceId
    operation: int = 0
    """The decommission; 0 when the service is abandoned."""
    sequence: str
    """Names its place in the archive, and is never used twice by services of one name."""
    state: Literal["archive", "erase"] = "archive"
    """What to do with the last state of each step; one that still holds objects is archived anyway."""
    secrets: Literal["archive", "erase"] = "erase"
    permit: Permit | None = None
    """Of the decommission."""
    abandon: AbandonCall | None = None
    """What was asked, when the service is abandoned."""


class PutAway(Wire):
    """What `service.put_away` returns."""

    retained: tuple[str, ...] = ()
    """What is kept, and where, in words."""
