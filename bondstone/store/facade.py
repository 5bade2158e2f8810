"""The stores of one platform, opened together."""

from __future__ import annotations

import asyncio

from bondstone.model.service import ServiceId
from bondstone.settings import Settings
from bondstone.store.crypto import KeyRing
from bondstone.store.ledger import Ledger
from bondstone.store.logs import Logs
from bondstone.store.objects import Objects
from bondstone.store.plans import Plans
from bondstone.store.policies import PolicySets
from bondstone.store.revisions import Revisions
from bondstone.store.sealed import SealedObjects
from bondstone.store.secrets import Secrets
from bondstone.store.statelog import StateLog


class Store:
    """Everything that is kept, under one object-store URL and one key ring.

    Args:
        objects: The object store.
        keys: What secrets, state, plans and logs are encrypted with.
    """

    def __init__(self, objects: Objects, keys: KeyRing) -> None:
        self.objects = objects
        self.sealed = SealedObjects(objects, keys)
        self.secrets = Secrets(self.sealed)
        self.plans = Plans(self.sealed)
        self.ledger = Ledger(objects)
        self.logs = Logs(self.sealed)
        self.revisions = Revisions(objects)
        self.policies = PolicySets(objects)

    @classmethod
    async def open(cls, settings: Settings, *, create_keys: bool = False) -> Store:
        """Open the store that the settings name.

        Args:
            settings: Where the objects and the key ring are.
            create_keys: Make the key ring when there is none. Only for whoever owns the platform (`bond up`).

        Raises:
            SettingsInvalid: when the URL or the key ring is not usable.
            StoreUnavailable: when the store does not answer.
        """
        objects = await Objects.open(settings.store_url)
        load = KeyRing.load_or_create if create_keys else KeyRing.load
        return cls(objects, await asyncio.to_thread(load, settings.key_file))

    def state(self, service: ServiceId, step: str) -> StateLog:
        """The state log of a step."""
        return StateLog(self.sealed, service, step)
