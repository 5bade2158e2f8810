"""The executor `service`: parts, which are services that another service is made of."""

from __future__ import annotations

from bondstone.activities.service.executor import ServiceExecutor

__all__ = ["ServiceExecutor"]
