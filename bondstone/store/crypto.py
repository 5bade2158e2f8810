"""Encryption at rest: a ring of AES-256-GCM keys in one file, and the envelope around every sealed object.

Envelope: `BOND`, version 1, length of the key id, key id, 12 bytes of nonce, ciphertext with its tag. The
associated data is the envelope's head and the object's key, so an object copied to another key does not open.
A nonce is random: one key is good for four billion objects (NIST SP 800-38D, 8.3).
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import os
import secrets
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from bondstone.base.errors import KeyMissing, ObjectCorrupt, SettingsInvalid
from bondstone.base.files import write_private

KEY_BYTES: Final = 32
_MAGIC: Final = b"BOND\x01"
_NONCE_BYTES: Final = 12
_MAX_RING_BYTES: Final = 1024 * 1024


@dataclass(frozen=True, slots=True)
class KeyRing:
    """Keys by id, and the one that seals. The others open what they once sealed.

    Args:
        active: Id of the key that seals.
        keys: 32 bytes each.
    """

    active: str
    keys: Mapping[str, bytes] = field(repr=False)

    @classmethod
    def generate(cls) -> KeyRing:
        """A ring of one new key."""
        key_id = f"k-{secrets.token_hex(4)}"
        return cls(active=key_id, keys={key_id: secrets.token_bytes(KEY_BYTES)})

    @classmethod
    def load(cls, path: Path) -> KeyRing:
        """Read a key ring file.

        Raises:
            SettingsInvalid: when there is none, others may read it, or its content is not valid.
        """
        data = _read_private(path)
        try:
            parsed = _RingFile.model_validate_json(data)
        except ValidationError as error:
            # The text of a validation error quotes its input: keys must not get into a message.
            places = ", ".join(".".join(map(str, item["loc"])) or item["type"] for item in error.errors()[:5])
            raise SettingsInvalid(
                f"the key ring file is not valid (at {places})",
                where=str(path),
                hint='it holds {"version": 1, "active": "ID", "keys": {"ID": "32 bytes in base64"}}',
            ) from None
        return cls(active=parsed.active, keys={key_id: _decode(key) for key_id, key in parsed.keys.items()})

    @classmethod
    def load_or_create(cls, path: Path) -> KeyRing:
        """Read a key ring file; make it first, mode 0600, when there is none. Safe against others doing the same.

        Raises:
            SettingsInvalid: as `load`.
        """
        if not path.exists():
            _write(path, cls.generate(), replace=False)
        return cls.load(path)

    def with_new_key(self) -> tuple[KeyRing, str]:
        """The same ring with one key more, which does not seal yet; and that key's id."""
        [(key_id, key)] = self.generate().keys.items()
        return KeyRing(active=self.active, keys={**self.keys, key_id: key}), key_id

    def with_active(self, key_id: str) -> KeyRing:
        """The same ring with another key that seals.

        Raises:
            SettingsInvalid: the ring has no such key.
        """
        if key_id not in self.keys:
            raise SettingsInvalid(
                f"the key ring has no key {key_id!r}", hint=f"it has {', '.join(sorted(self.keys))}"
            )
        return KeyRing(active=key_id, keys=self.keys)

    def write(self, path: Path) -> None:
        """Replace a key ring file, atomically; mode 0600.

        Raises:
            SettingsInvalid: it cannot be written.
        """
        _write(path, self, replace=True)

    def seal(self, data: bytes, *, key: str) -> bytes:
        """Encrypt the content of the object `key`."""
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM  # noqa: PLC0415 - see `unseal`

        key_id = self.active.encode()
        head = _MAGIC + bytes([len(key_id)]) + key_id
        nonce = secrets.token_bytes(_NONCE_BYTES)
        return head + nonce + AESGCM(self.keys[self.active]).encrypt(nonce, data, head + key.encode())

    def unseal(self, sealed: bytes, *, key: str) -> bytes:
        """Decrypt the content of the object `key`.

        Raises:
            ObjectCorrupt: when it is not an envelope, was changed, or was sealed for another object.
            KeyMissing: when the ring lacks the key that sealed it.
        """
        # Every command loads the ring, and few open or seal anything: they shall not wait for OpenSSL to load.
        from cryptography.exceptions import InvalidTag  # noqa: PLC0415
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM  # noqa: PLC0415

        if not sealed.startswith(_MAGIC):
            raise ObjectCorrupt(
                "the object is not encrypted as Bondstone writes it",
                where=key,
                hint="something else wrote or cut it; restore it from a backup of the store",
            )
        start = len(_MAGIC) + 1
        end = start + (sealed[len(_MAGIC)] if len(sealed) > len(_MAGIC) else 0)
        head, nonce, body = sealed[:end], sealed[end : end + _NONCE_BYTES], sealed[end + _NONCE_BYTES :]
        key_id = sealed[start:end].decode("ascii", "replace")
        secret = self.keys.get(key_id)
        if secret is None:
            raise KeyMissing(
                f"the object was encrypted with the key {key_id!r}, which is not in the key ring",
                where=key,
                hint="add that key to the key ring file (BOND_KEYS); without it the object cannot be read",
            )
        try:
            return AESGCM(secret).decrypt(nonce, body, head + key.encode())
        except (InvalidTag, ValueError) as error:
            raise ObjectCorrupt(
                "the object does not decrypt: it was changed or cut after it was written",
                where=key,
                hint="restore it from a backup of the store",
            ) from error

    def fingerprint(self, data: bytes, *, purpose: str) -> str:
        """A keyed digest, 32 hex digits: equal for equal data, and worthless to guess with for want of the key."""
        subkey = hmac.digest(self.keys[self.active], b"bondstone fingerprint\0" + purpose.encode(), hashlib.sha256)
        return hmac.digest(subkey, data, hashlib.sha256).hex()[:32]


class _RingFile(BaseModel):
    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    version: int = Field(ge=1, le=1)
    active: str
    keys: dict[str, str] = Field(min_length=1, max_length=1000)

    @model_validator(mode="after")
    def _check(self) -> _RingFile:
        if self.active not in self.keys:
            raise ValueError("`active` names a key that is not in the ring")
        for key_id, key in self.keys.items():
            if not _valid_id(key_id) or len(_decode(key)) != KEY_BYTES:
                raise ValueError("a key has a malformed id or is not 32 bytes in base64")
        return self


def _write(path: Path, ring: KeyRing, *, replace: bool) -> None:
    content = {
        "version": 1,
        "active": ring.active,
        "keys": {key_id: base64.b64encode(key).decode() for key_id, key in ring.keys.items()},
    }
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        # Where another process made the file meanwhile, that one is the ring.
        write_private(path, json.dumps(content, indent=2).encode(), create=not replace)
    except OSError as error:
        raise SettingsInvalid(
            f"the key ring file cannot be written: {error.strerror or error}",
            where=str(path),
            hint="choose another file with BOND_KEYS, or make its directory writable",
        ) from error


def _valid_id(key_id: str) -> bool:
    return key_id.isascii() and len(key_id) <= 64 and key_id.replace("-", "").replace("_", "").isalnum()  # noqa: PLR2004 - fits the length byte


def _decode(key: str) -> bytes:
    try:
        return base64.b64decode(key, validate=True)
    except (binascii.Error, ValueError):
        return b""


def _read_private(path: Path) -> bytes:
    """The content of a file that nobody but its owner can read."""
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            if os.name == "posix" and mode & (stat.S_IRWXG | stat.S_IRWXO):
                raise SettingsInvalid(
                    f"the key ring file may be read by others (mode {stat.S_IMODE(mode):04o})",
                    where=str(path),
                    hint=f"chmod 600 {path}; if it was exposed, add a new key to it and make that one active",
                )
            return file.read(_MAX_RING_BYTES)
    except FileNotFoundError as error:
        raise SettingsInvalid(
            "there is no key ring file",
            where=str(path),
            hint="`bond up` makes one; for a platform elsewhere copy its key ring here or name it with BOND_KEYS",
        ) from error
    except OSError as error:
        raise SettingsInvalid(
            f"the key ring file cannot be read: {error.strerror or error}", where=str(path), hint="set BOND_KEYS"
        ) from error
