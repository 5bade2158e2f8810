"""The key ring of Temporal's payloads: a file that every process has a copy of."""

from __future__ import annotations

from pathlib import Path

from bondstone.base.errors import SettingsInvalid
from bondstone.base.models import Document
from bondstone.base.settings import Settings
from bondstone.store.crypto import KeyRing


class PayloadKeys(Document):
    """What became of the ring: `bond codec add-key -o json` and `bond codec activate -o json`."""

    file: str
    key: str
    """Id of the key that was added or activated"""
    active: str
    """Id of the key that seals"""
    keys: list[str]
    """Ids of all keys: each opens what it once sealed"""


def add_key(settings: Settings) -> PayloadKeys:
    """Add a new key to the ring, or make the ring. The new key opens, and does not seal yet.

    Args:
        settings: Name the ring's file (`payload_keys`).

    Returns:
        The ring as it is now, without the keys themselves.

    Raises:
        SettingsInvalid: no file is named, or it cannot be read or written.
    """
    path = _ring_file(settings)
    if not path.exists():
        ring = KeyRing.load_or_create(path)
        return _document(ring, path, ring.active)
    ring, added = KeyRing.load(path).with_new_key()
    ring.write(path)
    return _document(ring, path, added)


def activate(settings: Settings, key: str) -> PayloadKeys:
    """Let another key of the ring seal. Processes notice when they are restarted.

    Args:
        settings: Name the ring's file (`payload_keys`).
        key: Its id.

    Returns:
        The ring as it is now, without the keys themselves.

    Raises:
        SettingsInvalid: no file is named, it cannot be read or written, or it has no such key.
    """
    path = _ring_file(settings)
    ring = KeyRing.load(path).with_active(key)
    ring.write(path)
    return _document(ring, path, key)


def _ring_file(settings: Settings) -> Path:
    if settings.payload_keys is None:
        raise SettingsInvalid("there is no payload key ring", hint="name its file with BOND_PAYLOAD_KEYS")
    return settings.payload_keys


def _document(ring: KeyRing, path: Path, key: str) -> PayloadKeys:
    return PayloadKeys(file=str(path), key=key, active=ring.active, keys=sorted(ring.keys))
