"""Encryption of what Temporal keeps: arguments, results, heartbeats, failures, queries and updates.

With a payload key ring, everything leaves a process sealed; the active key seals, every key of the ring opens.
What arrives in plain passes: histories from before, and what the `temporal` command sends. Search attributes and
workflow ids are never sealed: Temporal has to read them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from temporalio.api.common.v1 import Payload
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.converter import DataConverter, DefaultFailureConverterWithEncodedAttributes, PayloadCodec

from bondstone.base.errors import KeyMissing
from bondstone.base.settings import Settings
from bondstone.store.crypto import KeyRing

ENCODING: Final = b"binary/bondstone-sealed"
"""What the metadata of a sealed payload calls it."""

_ASSOCIATED: Final = "temporal payload"
"""What a payload is sealed as: an object of the store put in its place does not open."""


class SealedPayloads(PayloadCodec):
    """Seals and opens payloads.

    Args:
        keys: With none, nothing is sealed, and what is sealed cannot be read.
    """

    def __init__(self, keys: KeyRing | None) -> None:
        self._keys = keys

    async def encode(self, payloads: Sequence[Payload]) -> list[Payload]:
        """Seal them, all metadata of theirs included."""
        keys = self._keys
        if keys is None:
            return list(payloads)
        return [
            Payload(
                metadata={"encoding": ENCODING},
                data=keys.seal(payload.SerializeToString(), key=_ASSOCIATED),
            )
            for payload in payloads
        ]

    async def decode(self, payloads: Sequence[Payload]) -> list[Payload]:
        """Open what is sealed.

        Raises:
            KeyMissing: it was sealed with a key that is not here.
            ObjectCorrupt: it was changed.
        """
        return [self._opened(payload) for payload in payloads]

    def _opened(self, payload: Payload) -> Payload:
        if payload.metadata.get("encoding") != ENCODING:
            return payload
        if self._keys is None:
            raise KeyMissing(
                "Temporal's payloads are encrypted, and this process has no keys for them",
                where="payload",
                hint="name the platform's payload key ring with BOND_PAYLOAD_KEYS",
            )
        return Payload.FromString(self._keys.unseal(payload.data, key=_ASSOCIATED))


def data_converter(settings: Settings) -> DataConverter:
    """What clients, workers and replayers of a platform convert with.

    Raises:
        SettingsInvalid: the payload key ring cannot be read.
    """
    keys = KeyRing.load(settings.payload_keys) if settings.payload_keys else None
    converter = replace(pydantic_data_converter, payload_codec=SealedPayloads(keys))
    if keys is None:
        return converter
    # Messages and stack traces of failures may quote what they are about.
    return replace(converter, failure_converter_class=DefaultFailureConverterWithEncodedAttributes)
