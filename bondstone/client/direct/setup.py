"""What a platform on servers of one's own needs once, before its workers start: `bond setup`.

Everything here may be done again at any time, and by several at once.
"""

from __future__ import annotations

import asyncio
import time
from datetime import timedelta
from typing import Final

from pydantic import BaseModel, ConfigDict
from temporalio.client import Client
from temporalio.service import RPCError

from bondstone.base.errors import Unreachable
from bondstone.base.names import SA_TEAM
from bondstone.base.settings import Settings
from bondstone.store import Store
from bondstone.store.crypto import KeyRing
from bondstone.store.signing import Signer
from bondstone.temporal.connection import connect, ensure_namespace, ensure_search_attributes, reason

PATIENCE_SECONDS: Final = 120
"""How long to wait for a Temporal that starts at the same time, and until all of it knows a new namespace."""

_PAUSE_SECONDS: Final = 0.5


class SetUp(BaseModel):
    """What is there now."""

    model_config = ConfigDict(frozen=True)

    address: str
    namespace: str
    store: str
    keys: str
    active_key: str


async def set_up(settings: Settings, *, retention: timedelta) -> SetUp:
    """Make the namespace with its search attributes, and the key rings; look whether the store is one to stand on.

    Args:
        settings: Of the platform.
        retention: How long Temporal keeps closed workflows of a namespace that is made now.

    Raises:
        Unreachable: Temporal does not serve in time.
        StoreError, SettingsInvalid: the store or the key ring cannot be used.
    """
    if settings.payload_keys:
        await asyncio.to_thread(KeyRing.load_or_create, settings.payload_keys)
    client = await _namespace(settings, retention)
    store = await Store.open(settings, create_keys=True)
    await store.objects.require_put_if_absent()
    if settings.attestation == "required":
        door = await asyncio.to_thread(Signer.load, settings.attestation_key_file, create=True)
        await store.platform_keys.register("attestation", door)
        permits = await asyncio.to_thread(Signer.load, settings.permit_key_file, create=True)
        await store.platform_keys.register("permit", permits)
    return SetUp(
        address=client.service_client.config.target_host,
        namespace=client.namespace,
        store=settings.store_url,
        keys=str(settings.key_file),
        active_key=store.active_key,
    )


async def _namespace(settings: Settings, retention: timedelta) -> Client:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            client = await connect(settings)
            await ensure_namespace(client, retention)
            await ensure_search_attributes(client)
            await client.count_workflows(f"{SA_TEAM} = 'nobody'")
        except (Unreachable, RPCError) as error:
            if time.monotonic() > deadline:
                if isinstance(error, Unreachable):
                    raise
                raise Unreachable("Temporal answers, but is not ready", where=reason(str(error))) from error
            await asyncio.sleep(_PAUSE_SECONDS)
        else:
            return client
