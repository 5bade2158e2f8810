"""Signing keys of the platform, and their public halves.

A signing ring is a key ring file (`bondstone.store.crypto`) whose keys are Ed25519 seeds. Two processes sign: the
API (attestations) and control workers (permits, ledger records). Public keys are objects under
`platform-keys/<use>/<key id>`, written by whoever holds the ring and never removed: the ledger is verified by
them.
"""

from __future__ import annotations

import asyncio
import base64
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Literal, TypeVar

from pydantic import ValidationError

from bondstone.base.errors import ObjectCorrupt
from bondstone.base.models import Wire
from bondstone.model.attestation import Attestation, Permit, signed_bytes
from bondstone.store.crypto import KeyRing
from bondstone.store.objects import Objects

Use = Literal["attestation", "permit"]
PREFIX: Final = "platform-keys"
_AGAIN_SECONDS: Final = 5.0
"""An unknown key is looked for at most this often."""

Signed = TypeVar("Signed", Attestation, Permit)


class PublicKey(Wire):
    """The public half of a signing key."""

    key_id: str
    use: Use
    public: str
    """32 bytes in base64."""
    since: datetime


class Signer:
    """Signs statements with the active key of a ring.

    Args:
        ring: The private keys.
    """

    def __init__(self, ring: KeyRing) -> None:
        self._ring = ring

    @classmethod
    def load(cls, path: Path, *, create: bool = False) -> Signer:
        """Read a signing ring.

        Args:
            path: The file, mode 0600.
            create: Make it when there is none.

        Raises:
            SettingsInvalid: as `KeyRing.load`.
        """
        return cls(KeyRing.load_or_create(path) if create else KeyRing.load(path))

    @property
    def key_id(self) -> str:
        """Id of the key that signs."""
        return self._ring.active

    def sign(self, statement: Signed) -> Signed:
        """The statement with its signature."""
        named = statement.changed(key_id=self._ring.active, signature="")
        return named.changed(signature=self.signature(signed_bytes(named)))

    def signature(self, data: bytes) -> str:
        """The signature of some bytes by the active key, in base64."""
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey  # noqa: PLC0415 - slow import

        key = Ed25519PrivateKey.from_private_bytes(self._ring.keys[self._ring.active])
        return base64.b64encode(key.sign(data)).decode()

    def public_keys(self) -> dict[str, bytes]:
        """The public half of every key of the ring, by id."""
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey  # noqa: PLC0415 - slow import

        return {
            key_id: Ed25519PrivateKey.from_private_bytes(key).public_key().public_bytes_raw()
            for key_id, key in self._ring.keys.items()
        }


class PlatformKeys:
    """Public keys of one platform, as this process knows them.

    Args:
        objects: Where they are kept.
    """

    def __init__(self, objects: Objects) -> None:
        self._objects = objects
        self._known: dict[Use, dict[str, bytes]] = {}
        self._last_read: dict[Use, float] = {}
        self._lock = asyncio.Lock()

    async def register(self, use: Use, signer: Signer) -> None:
        """Make the public halves of a ring known; a second time changes nothing."""
        for key_id, public in signer.public_keys().items():
            key = PublicKey(
                key_id=key_id, use=use, public=base64.b64encode(public).decode(), since=datetime.now(UTC)
            )
            await self._objects.put_if_absent(f"{PREFIX}/{use}/{key_id}", key.model_dump_json().encode())

    async def all(self, use: Use) -> Mapping[str, bytes]:
        """Every public key of a use, read anew."""
        infos = await self._objects.list(f"{PREFIX}/{use}")
        known = self._known.setdefault(use, {})
        for info in infos:
            key_id = info.key.rsplit("/", 1)[1]
            if key_id not in known:
                known[key_id] = await self._read(info.key)
        self._last_read[use] = time.monotonic()
        return known

    async def knowing(self, use: Use, key_id: str) -> Mapping[str, bytes]:
        """The public keys of a use; the store is asked again when a key is not among them."""
        async with self._lock:
            known = self._known.get(use, {})
            if (
                key_id not in known
                and time.monotonic() - self._last_read.get(use, -_AGAIN_SECONDS) >= _AGAIN_SECONDS
            ):
                return await self.all(use)
        return known

    async def _read(self, key: str) -> bytes:
        try:
            public_key = PublicKey.model_validate_json(await self._objects.get(key))
            return base64.b64decode(public_key.public, validate=True)
        except (ValidationError, ValueError) as error:
            raise ObjectCorrupt("a public key of the platform cannot be read", where=key) from error
