"""Sealed objects: the same store, with every content encrypted for its key."""

from __future__ import annotations

from bondstone.store.crypto import KeyRing
from bondstone.store.objects import Objects


class SealedObjects:
    """Objects encrypted with the key ring. Names and sizes stay visible in the store, contents do not.

    Args:
        objects: Where they are kept.
        keys: What they are encrypted with.
    """

    def __init__(self, objects: Objects, keys: KeyRing) -> None:
        self.objects = objects
        self.keys = keys

    async def get(self, key: str) -> bytes:
        """The decrypted content.

        Raises:
            ObjectMissing: when there is no such object.
            ObjectCorrupt: when it does not decrypt.
            KeyMissing: when the key that sealed it is not in the ring.
        """
        return self.keys.unseal(await self.objects.get(key), key=key)

    async def put(self, key: str, data: bytes) -> None:
        """Encrypt and write, replacing what was there."""
        await self.objects.put(key, self.keys.seal(data, key=key))

    async def put_if_absent(self, key: str, data: bytes) -> bool:
        """Encrypt and write unless the key is taken; see `Objects.put_if_absent`."""
        return await self.objects.put_if_absent(key, self.keys.seal(data, key=key))
