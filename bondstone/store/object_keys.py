"""The keys of objects that more than one module reads or writes.

docs/reference/objects.md says what is under each. A family that one module alone reads and writes is a constant of
that module; `tests/unit/test_object_keys.py` refuses one that is spelt in two modules.
"""

from __future__ import annotations

from datetime import date
from typing import Final

from bondstone.model.service import ServiceId
from bondstone.store.objects import segment

REVISIONS: Final = "revisions"
REVISION_STATUS: Final = "revision-status"
CAMPAIGNS: Final = "campaigns"
FREEZES: Final = "freezes"
FREEZE_CHANGES: Final = "freeze-changes"
SECRETS: Final = "secrets"
LOGS: Final = "logs"
LEDGER: Final = "ledger"
LEDGER_INDEX: Final = "ledger-index"
CAMPAIGN_LEDGERS: Final = "ledger-campaigns"
LEDGER_ANCHORS: Final = "ledger-anchors"
KEY_IDS: Final = "key-ids"


def plans(service: ServiceId) -> str:
    """Where the plans of a service are."""
    return f"plans/{service.team}/{service.name}"


def plans_of_step(service: ServiceId, operation: int, step: str) -> str:
    """Where the plans of one step of an operation are, each by its digest."""
    return f"{plans(service)}/{operation:06}/{segment(step)}"


def states(service: ServiceId) -> str:
    """Where the state logs of a service are, one for each step."""
    return f"state/{service.team}/{service.name}"


def leases(service: ServiceId, step: str) -> str:
    """Where the leases of the claims on a step's state log are."""
    return f"leases/{service.team}/{service.name}/{segment(step)}"


def adoption(service: ServiceId) -> str:
    """Where the states that a new service is to adopt wait for it."""
    return f"adopt/{service.team}/{service.name}"


def archive(service: ServiceId) -> str:
    """Where what outlives the services of a name is kept."""
    return f"archive/{service.team}/{service.name}"


def secrets(service: ServiceId) -> str:
    """Where the secrets of a service are."""
    return f"{SECRETS}/{service.team}/{service.name}"


def logs(service: ServiceId, operation: int) -> str:
    """Where the logs of the steps of an operation are."""
    return f"{LOGS}/{service.team}/{service.name}/{operation:06}"


def drift_report(service: ServiceId, operation: int, step: str) -> str:
    """The whole report of one drift check of a step."""
    return f"drift/{service.team}/{service.name}/{operation}/{step}.json"


def ledger_index(service: ServiceId) -> str:
    """Where the names of the ledger records of a service are listed."""
    return f"{LEDGER_INDEX}/{service.team}/{service.name}"


def ledger_record(service: ServiceId | str, name: str) -> str:
    """One ledger record.

    Args:
        service: Whose, as `team/name` where a listing has it so.
        name: `<time>-<sequence>`, as the index has it; it begins with year, month and day.
    """
    return f"{LEDGER}/{name[:4]}/{name[4:6]}/{name[6:8]}/{service}/{name}.json"


def ledger_day(day: date) -> str:
    """Where the ledger records of a day are, by team and service."""
    return f"{LEDGER}/{day:%Y/%m/%d}"


def campaign(name: str) -> str:
    """Where the header, the targets and the end of a campaign are."""
    return f"{CAMPAIGNS}/{segment(name)}"


def campaign_ledger(name: str) -> str:
    """Where the batches of a campaign's ledger are."""
    return f"{CAMPAIGN_LEDGERS}/{segment(name)}"


def freeze(name: str) -> str:
    """One freeze, as it was declared."""
    return f"{FREEZES}/{segment(name)}"


def freeze_change(name: str, number: int) -> str:
    """One change of a freeze: the whole of it then."""
    return f"{FREEZE_CHANGES}/{segment(name)}/{number:06}"
