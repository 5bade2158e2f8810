"""What must be true of a campaign whatever was killed, checked from what it left behind. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from bondstone.base.canonical import canonical, digest
from bondstone.model.campaign.report import CampaignReport
from bondstone.model.campaign.run import CampaignDescription, LedgerBatch, TargetRecord
from bondstone.model.campaign.state import CampaignState
from bondstone.model.ledger import LedgerRecord
from bondstone.model.service import OperationStatus
from bondstone.store.campaigns import latest

RULES: Final = ("effects", "operations", "report", "slots", "budget")


@dataclass(frozen=True)
class Left:
    """What a campaign left behind."""

    refusing: frozenset[str]
    """Targets that could not succeed."""
    targets: frozenset[str]
    versions: Mapping[str, Sequence[str]]
    """What the tool did to each service, in order."""
    wanted: tuple[str, str]
    """The version before the campaign, and the one it leads to."""
    ended: CampaignDescription
    report: CampaignReport
    ledger: Sequence[LedgerBatch]
    state: CampaignState | None
    """How its machine ended."""
    operations: Mapping[str, Sequence[LedgerRecord]]
    """The campaign's operations on each service, from the services' own ledgers."""
    at_once: int
    max_failures: int


def broken(left: Left) -> dict[str, list[str]]:
    """What is wrong, in words, by rule; no rule is left out."""
    return {
        "effects": list(_effects(left)),
        "operations": list(_operations(left)),
        "report": list(_report(left)),
        "slots": list(_slots(left)),
        "budget": list(_budget(left)),
    }


def _effects(left: Left) -> Iterator[str]:
    """Each target's effect exactly once, and none on those that refuse."""
    before, after = left.wanted
    for service in sorted(left.targets):
        wanted = [before] if service in left.refusing else [before, after]
        if (versions := list(left.versions.get(service, ()))) != wanted:
            yield f"{service} was brought to {versions}, not to {wanted}"


def _operations(left: Left) -> Iterator[str]:
    """One operation for each target, with the end it must have."""
    for service in sorted(left.targets):
        wanted = OperationStatus.FAILED if service in left.refusing else OperationStatus.SUCCEEDED
        if (statuses := [record.status for record in left.operations.get(service, ())]) != [wanted]:
            yield f"{service} has operations that ended {statuses}, not one that ended {wanted}"


def _report(left: Left) -> Iterator[str]:
    """Report, ledger and the services' own ledgers say the same; no batch of the ledger is missing or changed."""
    previous = ""
    for batch in left.ledger:
        if batch.previous != previous:
            yield f"batch {batch.number} of the ledger does not follow what is before it"
        previous = digest(canonical(batch.model_dump(mode="json", exclude={"state"})))
    records = latest(left.ledger)
    if (counted := Counter(str(record.outcome) for record in records.values())) != left.report.counts:
        yield f"the ledger counts {dict(counted)}, the report {left.report.counts}"
    if left.ended.counts != left.report.counts:
        yield f"the campaign ended with {left.ended.counts}, the report says {left.report.counts}"
    if {record.service for record in records.values()} != left.targets:
        yield f"the ledger knows {len(records)} targets of {len(left.targets)}"
    for target in left.report.targets:
        record = records.get(target.target)
        reported = (target.service, target.outcome, target.operation)
        if record is None or reported != (record.service, record.outcome, record.operation_id):
            yield f"the report says {reported}, the ledger {record}"
        done = [f"{each.service}/op/{each.operation}" for each in left.operations.get(target.service, ())]
        if done != [target.operation]:
            yield f"the report says {target.operation}, the service's ledger {done}"


def _slots(left: Left) -> Iterator[str]:
    """Nothing runs, or is taken to run, at the end."""
    if left.ended.running or left.ended.flights:
        yield f"{left.ended.running} targets are taken to run"
    if left.state is None or left.state.flights or any(left.state.group_flights.values()):
        yield "the machine has flights, or did not keep its end"


def _budget(left: Left) -> Iterator[str]:
    """At each start there was room: among those that may run at once, and, as the budget is strict, in it."""
    records = sorted(latest(left.ledger).values(), key=lambda record: (_began(record), record.target))
    for index, record in enumerate(records):
        now = _began(record)
        running = sum(other.ended_at > now for other in records[:index])
        failed = sum(other.ended_at <= now and other.outcome != "succeeded" for other in records)
        if running >= left.at_once or failed + running > left.max_failures:
            yield f"{record.service} started beside {running} that ran, after {failed} failures"
    if (failures := left.report.failures) > left.max_failures:
        yield f"{failures} failures, of {left.max_failures} in the budget"


def _began(record: TargetRecord) -> datetime:
    return record.started_at or record.ended_at
