"""The ledger in the object store: neither Temporal nor a key is needed. `Bondstone.ledger`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from typing_extensions import override

from bondstone.client.documents.ledger import LedgerAnchor, LedgerBreak, LedgerVerification
from bondstone.client.ledger import Ledger
from bondstone.model.attestation import PublicKeys
from bondstone.store import ledger_verification
from bondstone.store.ledger_export import export
from bondstone.store.objects import Objects
from bondstone.store.signing import PlatformKeys

if TYPE_CHECKING:
    from bondstone.client.direct.connection import Caller


class DirectLedger(Ledger):
    """The ledger in the object store.

    Args:
        caller: Who asks, and by which connection.
    """

    def __init__(self, caller: Caller) -> None:
        self._store = caller.settings.store_url

    @override
    async def verify(self, chain: str = "") -> LedgerVerification:
        platform = PlatformKeys(await Objects.open(self._store))
        keys = PublicKeys(attestation=await platform.all("attestation"), permit=await platform.all("permit"))
        return await self.verify_by(keys, chain)

    async def verify_by(self, keys: PublicKeys, chain: str = "") -> LedgerVerification:
        """As `verify`, by public keys that were kept elsewhere than in the object store.

        Args:
            keys: Of the platform.
            chain: As there.

        Returns:
            As there.

        Raises:
            StoreError: the object store cannot be read.
        """
        objects = await Objects.open(self._store)
        result = await ledger_verification.verify(objects, keys, chain=chain)
        return LedgerVerification(
            chains=result.chains,
            records=result.records,
            signed=result.signed,
            attested=result.attested,
            approvals=result.approvals,
            anchored=result.anchored,
            breaks=tuple(
                LedgerBreak(chain=each.chain, record=each.record, why=each.why) for each in result.breaks
            ),
        )

    @override
    async def anchor(self) -> LedgerAnchor:
        made = await ledger_verification.anchor(await Objects.open(self._store))
        return LedgerAnchor(at=made.at, digest=made.digest, chains=len(made.heads))

    @override
    async def export(self, chain: str) -> bytes:
        return await export(await Objects.open(self._store), chain)
