"""All that a control worker serves.

Not in the package itself: for each run the SDK's sandbox imports the workflow's module, and the package around it.
"""

from __future__ import annotations

from bondstone.workflows.campaign.scheduled import ScheduledCampaign
from bondstone.workflows.campaign.workflow import Campaign
from bondstone.workflows.notification import Notification
from bondstone.workflows.operations import (
    Decommission,
    Patch,
    Provision,
    Reconcile,
    Rollback,
    Update,
    Upgrade,
)
from bondstone.workflows.service import Service

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
    Notification,
]
"""Every workflow type that a control worker serves."""
