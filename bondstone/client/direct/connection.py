"""What the verbs are carried out with: Temporal and the stores, each opened when first needed, and who asks."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from temporalio.client import Client

    from bondstone.base.settings import Settings
    from bondstone.store import Store
    from bondstone.store.objects import Objects
    from bondstone.store.policies import PolicySets
    from bondstone.store.revisions import Revisions


class Connection:
    """One platform's Temporal and stores.

    Promises and policies need neither Temporal nor the key ring, but a store that was set up: what is put where no
    platform looks is published to nobody.

    Args:
        settings: Where they are.
        temporal: A connection that is open already.
        store: Stores that are open already.
        quiet: Keep what the Temporal SDK's native core prints off standard error.
        for_others: It serves callers over the network: nothing that they send is run here.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        temporal: Client | None = None,
        store: Store | None = None,
        quiet: bool = False,
        for_others: bool = False,
    ) -> None:
        self.settings = settings
        self.for_others = for_others
        self._quiet = quiet
        self._temporal = temporal
        self._store = store
        self._objects: Objects | None = None
        self._opening = asyncio.Lock()

    async def temporal(self) -> Client:
        """The connection to Temporal.

        Raises:
            Unreachable: Temporal does not answer.
        """
        async with self._opening:
            return await self._open_temporal()

    async def store(self) -> Store:
        """Everything that is kept, with the keys to read it.

        Raises:
            Unreachable: Temporal does not answer; asked first, because without a platform there is no key ring.
            StoreError: the object store or the key ring cannot be opened.
        """
        async with self._opening:
            if self._store is None:
                from bondstone.store import Store  # noqa: PLC0415 - promises need no keys

                await self._open_temporal()
                self._store = await Store.open(self.settings)
            return self._store

    async def revisions(self) -> Revisions:
        """Published promises."""
        from bondstone.store.revisions import Revisions  # noqa: PLC0415 - many verbs need none

        return Revisions(await self._plain_objects()) if self._store is None else self._store.revisions

    async def policies(self) -> PolicySets:
        """Published policy sets."""
        from bondstone.store.policies import PolicySets  # noqa: PLC0415 - many verbs need none

        return PolicySets(await self._plain_objects()) if self._store is None else self._store.policies

    async def _plain_objects(self) -> Objects:
        async with self._opening:
            if self._objects is None:
                self._objects = await _open_platform(self.settings.store_url)
            return self._objects

    async def _open_temporal(self) -> Client:
        if self._temporal is None:
            from bondstone.temporal.connection import connect, silence_core  # noqa: PLC0415 - half a second

            if self._quiet:
                silence_core()
            self._temporal = await _attesting(await connect(self.settings), self.settings)
        return self._temporal


@dataclass(frozen=True)
class Caller:
    """A person or program that asks."""

    connection: Connection
    """To the platform."""
    by: str
    """Who asks: recorded with every change."""
    expected_state: str = ""
    """`state_digest` of the service that is to be changed: it refuses the change in any other state; empty for any
    state."""

    @property
    def settings(self) -> Settings:
        """What the connection was made with."""
        return self.connection.settings


async def _attesting(temporal: Client, settings: Settings) -> Client:
    """The connection, attesting what it asks where attestations are demanded and the keys are here.

    Without the keys it attests nothing: workers then refuse its changes, in words.
    """
    if settings.attestation != "required" or not settings.attestation_key_file.exists():
        return temporal
    from bondstone.identity.attestor import Attestor  # noqa: PLC0415 - most platforms of one person demand none
    from bondstone.store.signing import Signer  # noqa: PLC0415
    from bondstone.temporal.attesting import attesting_client  # noqa: PLC0415

    signer = await asyncio.to_thread(Signer.load, settings.attestation_key_file)
    return attesting_client(temporal, Attestor.local(signer))


async def _open_platform(url: str) -> Objects:
    """The object store of a platform; never makes one."""
    from bondstone.base.errors import Unreachable  # noqa: PLC0415 - many verbs need none of these
    from bondstone.store.object_keys import KEY_IDS  # noqa: PLC0415
    from bondstone.store.objects import Objects, directory_of  # noqa: PLC0415

    directory = directory_of(url)
    if directory is None or await asyncio.to_thread(directory.exists):
        objects = await Objects.open(url)
        if await objects.list(KEY_IDS):
            return objects
    raise Unreachable(
        "there is no platform: nothing was ever set up in this object store",
        where=url,
        hint="start one with `bond up`, or name the store of yours with BOND_STORE (`bond setup` prepares it)",
    )
