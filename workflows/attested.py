"""Attestations as validators of updates see them: a forged or missing one is refused at the door.

Only validators call `check`: they run when an update arrives and never in a replay, so what it depends on besides
the update (the mode and the public keys of this worker) may differ between two runs of a workflow. It keeps the
workflows of honest people clean; what executors do rests on permits, which control activities issue.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from temporalio import workflow

from bondstone.base.errors import BondError
from bondstone.model.attestation import Attestable, PublicKeys, check_attestation, check_vote_roles
from bondstone.temporal.failures import to_failure


@dataclass(slots=True)
class Demand:
    """What this worker demands of updates; set by the process, see `bondstone.workers.control`."""

    required: bool = False
    keys: PublicKeys = field(default_factory=PublicKeys)


DEMAND = Demand()
"""Of this process."""


def demand(keys: PublicKeys, *, required: bool) -> None:
    """Demand attestations by these keys from now on, or none."""
    DEMAND.required = required
    DEMAND.keys = keys


def check(call: Attestable, *, verb: str, target: str, by: str, roles: tuple[str, ...] = ()) -> None:
    """Refuse an update without an attestation of just this; the update then leaves no trace.

    Args:
        call: The argument of the update.
        verb: What it does.
        target: What it does that to.
        by: Who it says it is from.
        roles: Of a vote: the roles that it says.
    """
    if not DEMAND.required:
        return
    try:
        attestation = check_attestation(call, DEMAND.keys, verb=verb, target=target, by=by, now=workflow.now())
        check_vote_roles(attestation, roles)
    except BondError as error:
        raise to_failure(error) from None
