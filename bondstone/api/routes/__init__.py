"""The endpoints of `/api/v1`, one module for each noun."""

from __future__ import annotations

from bondstone.api.routes import services

ROUTERS = (services.router,)
