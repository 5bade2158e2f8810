"""The typed search attributes that workflows set."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final

from temporalio.common import SearchAttributeKey, SearchAttributePair, SearchAttributeUpdate, TypedSearchAttributes

from bondstone.base import names
from bondstone.model.campaign.run import CampaignDescription
from bondstone.model.rows import BOUND_BY, MADE_FOR
from bondstone.model.service import OperationRecord, OperationStatus, ServiceState

_TEAM = SearchAttributeKey.for_keyword(names.SA_TEAM)
_SERVICE = SearchAttributeKey.for_keyword(names.SA_SERVICE)
_PROMISE = SearchAttributeKey.for_keyword(names.SA_PROMISE)
_REVISION = SearchAttributeKey.for_keyword(names.SA_REVISION)
_PHASE = SearchAttributeKey.for_keyword(names.SA_PHASE)
_HEALTH = SearchAttributeKey.for_keyword(names.SA_HEALTH)
_OPERATION = SearchAttributeKey.for_keyword(names.SA_OPERATION)
_CAMPAIGN = SearchAttributeKey.for_keyword(names.SA_CAMPAIGN)
_POOL = SearchAttributeKey.for_keyword(names.SA_POOL)
_LABELS = SearchAttributeKey.for_keyword_list(names.SA_LABELS)
_CHANGED_AT = SearchAttributeKey.for_datetime(names.SA_CHANGED_AT)
_CREATED_AT = SearchAttributeKey.for_datetime(names.SA_CREATED_AT)
_PARENTS = SearchAttributeKey.for_keyword_list(names.SA_PARENTS)
_NEXT_DUE = SearchAttributeKey.for_datetime(names.SA_NEXT_DUE)
_DRIFT = SearchAttributeKey.for_int(names.SA_DRIFT)

MAX_LIST_BYTES: Final = 2000
"""Temporal refuses the value of a search attribute above 2 KiB, and with it the workflow task."""


def of_service(state: ServiceState) -> list[SearchAttributeUpdate[Any]]:
    """What lists show of a service; unset where there is nothing to show."""
    revision = state.current.revision if state.current else None
    running = state.queue[0].record if state.queue else None
    pools = ",".join(sorted({step.pool for step in state.current.steps})) if state.current else ""
    labels = sorted(f"{key}={value}" for key, value in state.labels.items())
    parents = _parents(state)
    updates: list[SearchAttributeUpdate[Any]] = [
        _TEAM.value_set(state.service.team),
        _SERVICE.value_set(str(state.service)),
        _PHASE.value_set(state.phase),
        _HEALTH.value_set(state.condition),
        _PROMISE.value_set(revision.promise) if revision else _PROMISE.value_unset(),
        _REVISION.value_set(str(revision)) if revision else _REVISION.value_unset(),
        _OPERATION.value_set(running.id) if running else _OPERATION.value_unset(),
        _LABELS.value_set(labels) if labels else _LABELS.value_unset(),
        _POOL.value_set(pools) if pools else _POOL.value_unset(),
        _PARENTS.value_set(parents) if parents else _PARENTS.value_unset(),
        _time(_NEXT_DUE, state.next_due),
        _time(_CREATED_AT, state.created_at),
        _DRIFT.value_set(state.drift) if state.drift else _DRIFT.value_unset(),
    ]
    return updates


def of_operation(record: OperationRecord) -> TypedSearchAttributes:
    """What lists show of an operation."""
    pairs = [
        SearchAttributePair(_TEAM, record.service.team),
        SearchAttributePair(_SERVICE, str(record.service)),
        SearchAttributePair(_PROMISE, record.revision.promise),
        SearchAttributePair(_REVISION, str(record.revision)),
        SearchAttributePair(_OPERATION, record.id),
    ]
    if record.campaign:
        pairs.append(SearchAttributePair(_CAMPAIGN, record.campaign))
    return TypedSearchAttributes(pairs)


def of_campaign(shown: CampaignDescription) -> list[SearchAttributeUpdate[Any]]:
    """What lists show of a campaign."""
    job = shown.job
    updates: list[SearchAttributeUpdate[Any]] = [_CAMPAIGN.value_set(shown.name), _PHASE.value_set(shown.status)]
    if job is not None:
        texts = ((_TEAM, job.owner), (_PROMISE, job.promise), (_REVISION, job.to and f"{job.promise}@{job.to}"))
        updates += [key.value_set(value) for key, value in texts if value]
    return updates


def status_of_operation(status: OperationStatus, now: datetime) -> list[SearchAttributeUpdate[Any]]:
    """What lists show of an operation that waits for people, no longer does, or ended as Temporal cannot say."""
    return [_PHASE.value_set(status), changed_at(now)]


def changed_at(now: datetime) -> SearchAttributeUpdate[Any]:
    """When what lists show was last set: goes with every other update."""
    return _CHANGED_AT.value_set(now)


def _parents(state: ServiceState) -> list[str]:
    """Its parents, the one that it was made for first; as many as Temporal takes, which refuses longer values."""
    ordered = sorted(state.dependants, key=lambda each: (not each.owns, str(each.service)))
    shown = [f"{MADE_FOR if each.owns else BOUND_BY}{each.service}" for each in ordered]
    most = MAX_LIST_BYTES // (max(map(len, shown), default=0) + len('"",'))
    return shown[:most]


def _time(key: SearchAttributeKey[datetime], when: datetime | None) -> SearchAttributeUpdate[Any]:
    return key.value_set(when) if when else key.value_unset()
