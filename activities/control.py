"""All activities of the control queue."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from temporalio.client import Client

from bondstone.activities.archive import ArchiveActivities
from bondstone.activities.campaign.activities import CampaignActivities
from bondstone.activities.executors import executor_activities
from bondstone.activities.health import HealthActivities
from bondstone.activities.ledger import RecordActivities
from bondstone.activities.plans import PlanActivities
from bondstone.activities.policy import PolicyActivities
from bondstone.activities.promise import PromiseActivities
from bondstone.activities.schedules import ScheduleActivities
from bondstone.activities.service import ServiceExecutor
from bondstone.base.names import SERVICE_EXECUTOR
from bondstone.base.settings import Settings
from bondstone.executors.registry import load_executors
from bondstone.store import Store


def control_activities(client: Client, store: Store, settings: Settings) -> list[Callable[..., Any]]:
    """The activities that a control worker registers beside its workflows."""
    promise = PromiseActivities(store)
    records = RecordActivities(store)
    policy = PolicyActivities(store, settings)
    plans = PlanActivities(store)
    health = HealthActivities(store)
    archive = ArchiveActivities(store, load_executors())
    schedules = ScheduleActivities(store, client)
    campaigns = CampaignActivities(store, client, health)
    parts = executor_activities(store, settings, {SERVICE_EXECUTOR: ServiceExecutor(client, store)})
    return [
        *parts,
        promise.resolve,
        promise.outputs,
        policy.check,
        plans.covered,
        health.probe,
        records.record,
        archive.adopt,
        archive.put_away,
        campaigns.freeze,
        campaigns.page,
        campaigns.calendar,
        campaigns.describe,
        campaigns.probe,
        campaigns.record,
        schedules.record,
    ]
