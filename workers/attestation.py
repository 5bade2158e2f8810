"""Signing keys of a worker process, and which attestations its validators accept."""

from __future__ import annotations

import asyncio
from typing import Final

import structlog

from bondstone.base.errors import BondError
from bondstone.base.settings import Settings
from bondstone.model.attestation import PublicKeys
from bondstone.store import Store
from bondstone.store.signing import Signer
from bondstone.workflows import attested

REFRESH_SECONDS: Final = 5.0
"""A public key that was added is known to validators after this time."""

log = structlog.get_logger(__name__)


async def open_signer(store: Store, settings: Settings) -> Signer | None:
    """The keys that permits are signed with, made known; None where attestations are not demanded.

    A worker that has the data directory of the API makes its public keys known too.

    Raises:
        SettingsInvalid: there is no ring of permits, or it is not usable.
    """
    required = settings.attestation == "required"
    attested.demand(PublicKeys(), required=required)
    if not required:
        return None
    signer = await asyncio.to_thread(Signer.load, settings.permit_key_file)
    await store.platform_keys.register("permit", signer)
    if settings.attestation_key_file.exists():
        door = await asyncio.to_thread(Signer.load, settings.attestation_key_file)
        await store.platform_keys.register("attestation", door)
    await _learn(store)
    return signer


async def keep_demanding(store: Store) -> None:
    """Learn public keys that are added while the worker runs."""
    while attested.DEMAND.required:
        await asyncio.sleep(REFRESH_SECONDS)
        try:
            await _learn(store)
        except BondError as error:
            log.warning("public keys cannot be read anew", error=error.message)


async def _learn(store: Store) -> None:
    known = store.platform_keys
    keys = PublicKeys(attestation=dict(await known.all("attestation")), permit=dict(await known.all("permit")))
    attested.demand(keys, required=True)
