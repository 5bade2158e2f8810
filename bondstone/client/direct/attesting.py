"""Attestations of a client that speaks to Temporal itself: possible for whoever holds the data directory."""

from __future__ import annotations

import asyncio

from temporalio.client import Client

from bondstone.base.settings import Settings


async def own_attestations(temporal: Client, settings: Settings) -> Client:
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
