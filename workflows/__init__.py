"""Deterministic code only: what Temporal replays."""

from __future__ import annotations

from workflows.campaign import Campaign
from workflows.decommission import Decommission
from workflows.patch import Patch
from workflows.provision import Provision
from workflows.reconcile import Reconcile
from workflows.rollback import Rollback
from workflows.scheduled_campaign import ScheduledCampaign
from workflows.service import Service
from workflows.update import Update
from workflows.upgrade import Upgrade

ALL: list[type] = [
    Service,
    Provision,
    Update,
    Patch,
    Upgrade,
    Rollback,
    Reconcile,
    Decommission,
    Campaign,
    ScheduledCampaign,
]
"""Every workflow type that a control worker serves."""
