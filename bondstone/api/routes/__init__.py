"""The endpoints of `/api/v1`, one module for each noun or for those that go together."""

from __future__ import annotations

from bondstone.api.routes import (
    campaigns,
    ledger,
    notifications,
    operations,
    platform,
    policies,
    promises,
    refusals,
    schedules,
    services,
)

ROUTERS = (
    services.router,
    operations.router,
    promises.router,
    policies.router,
    campaigns.router,
    schedules.router,
    notifications.router,
    ledger.router,
    refusals.router,
    platform.router,
)
