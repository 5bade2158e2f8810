"""The ledger over the HTTP API. `Bondstone.ledger`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from typing_extensions import override

from bondstone.client.documents.ledger import LedgerAnchor, LedgerVerification
from bondstone.client.ledger import Ledger

if TYPE_CHECKING:
    from bondstone.client.http.transport import Transport


class HttpLedger(Ledger):
    """The ledger over the HTTP API.

    Args:
        transport: Connections to the API.
    """

    def __init__(self, transport: Transport) -> None:
        self._http = transport

    @override
    async def verify(self, chain: str = "") -> LedgerVerification:
        return LedgerVerification.model_validate(await self._http.get("/ledger/verification", {"chain": chain}))

    @override
    async def anchor(self) -> LedgerAnchor:
        return LedgerAnchor.model_validate(await self._http.post("/ledger/anchors"))

    @override
    async def export(self, chain: str) -> bytes:
        return (await self._http.send("GET", "/ledger/export", query={"chain": chain})).body
