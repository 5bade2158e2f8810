"""Whether the process serves, for probes of containers and load balancers."""

from __future__ import annotations

from fastapi import APIRouter

from bondstone.base.models import Document

router = APIRouter()


class HealthDocument(Document):
    """The answer of a process that serves."""

    status: str = "ok"


@router.get("/healthz", include_in_schema=False)
async def health() -> HealthDocument:
    """Answer; needs no credential and says nothing about the platform."""
    return HealthDocument()
