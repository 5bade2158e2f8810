"""Deterministic code only: what Temporal replays."""

from __future__ import annotations

from bondstone.workflows.campaign.scheduled import ScheduledCampaign
from bondstone.workflows.campaign.workflow import Campaign
from bondstone.workflows.decommission import Decommission
from bondstone.workflows.patch import Patch
from bondstone.workflows.provision import Provision
from bondstone.workflows.reconcile import Reconcile
from bondstone.workflows.rollback import Rollback
from bondstone.workflows.service import Service
from bondstone.workflows.update import Update
from bondstone.workflows.upgrade import Upgrade

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
