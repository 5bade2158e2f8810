"""All activities of the control queue."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from temporalio.client import Client

from bondstone.activities.archive import ArchiveActivities
from bondstone.activities.attested import Checks
from bondstone.activities.campaign.activities import CampaignActivities
from bondstone.activities.executors import executor_activities
from bondstone.activities.health import HealthActivities
from bondstone.activities.ledger import RecordActivities
from bondstone.activities.notifications import NotificationActivities
from bondstone.activities.permits import PermitActivities
from bondstone.activities.plans import PlanActivities
from bondstone.activities.policy import PolicyActivities
from bondstone.activities.promise import PromiseActivities
from bondstone.activities.schedules import ScheduleActivities
from bondstone.activities.service import ServiceExecutor
from bondstone.base.names import SERVICE_EXECUTOR
from bondstone.base.settings import Settings
from bondstone.executors.registry import load_executors
from bondstone.identity.attestor import Attestor
from bondstone.store import Store
from bondstone.store.signing import Signer
from bondstone.temporal.announcing import Announcer
from bondstone.temporal.attesting import attesting_client


def control_activities(
    client: Client, store: Store, settings: Settings, signer: Signer | None = None
) -> list[Callable[..., Any]]:
    """The activities that a control worker registers beside its workflows.

    Args:
        client: The connection to Temporal.
        store: Everything that is kept.
        settings: Of the worker.
        signer: Signs permits and ledger records; None where attestations are not demanded.
    """
    checks = Checks.of(store, settings)
    promise = PromiseActivities(store, checks)
    announcer = Announcer(store, client)
    records = RecordActivities(store, checks, signer, announcer)
    notifications = NotificationActivities(store, client)
    policy = PolicyActivities(store, settings, checks)
    permits = PermitActivities(store, checks, signer, promise)
    plans = PlanActivities(store)
    health = HealthActivities(store, checks, probe_local=settings.probe_local)
    archive = ArchiveActivities(store, load_executors(), checks)
    schedules = ScheduleActivities(store, client)
    campaigns = CampaignActivities(store, client, health, checks, signer, announcer=announcer)
    asking = attesting_client(client, Attestor.for_parts(signer)) if signer else client
    parts = executor_activities(store, settings, {SERVICE_EXECUTOR: ServiceExecutor(asking, store)})
    return [
        *parts,
        promise.resolve,
        permits.accept,
        permits.labels,
        permits.operation,
        permits.apply,
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
        notifications.deliver,
    ]
