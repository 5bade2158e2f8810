"""`/api/v1/ledger`: the permanent record of what was done, verified and handed out."""

from __future__ import annotations

from typing import Annotated, Final

from fastapi import APIRouter, Query, status
from starlette.responses import Response

from bondstone.api.repeats import ApiRoute
from bondstone.api.session import Asking
from bondstone.base.names import NAME_PATTERN, SERVICE_PATTERN
from bondstone.client.documents.ledger import LedgerAnchor, LedgerVerification

router = APIRouter(prefix="/ledger", tags=["ledger"], route_class=ApiRoute)

CHAIN_PATTERN: Final = f"{SERVICE_PATTERN}|^campaign/{NAME_PATTERN.removeprefix('^')}"


@router.get("/verification")
async def verify_ledger(
    asking: Asking, chain: Annotated[str, Query(pattern=f"^$|{CHAIN_PATTERN}", description="Default: all")] = ""
) -> LedgerVerification:
    """Walk every chain, prove who asked and who approved, and name the first break of each."""
    asking.require("ledger.read")
    return await asking.bond.ledger.verify(chain)


@router.get("/export", response_class=Response)
async def export_ledger(asking: Asking, chain: Annotated[str, Query(pattern=CHAIN_PATTERN)]) -> Response:
    """Read one chain with what proves it, as a tar that holds an object store: `bond ledger verify` takes it."""
    asking.require("ledger.read")
    return Response(await asking.bond.ledger.export(chain), media_type="application/octet-stream")


@router.post("/anchors", status_code=status.HTTP_201_CREATED)
async def anchor_ledger(asking: Asking) -> LedgerAnchor:
    """Write down the last record of every chain: keep the digest elsewhere, and nothing is cut off unseen."""
    asking.require("ledger.anchor")
    return await asking.bond.ledger.anchor()
