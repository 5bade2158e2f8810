"""Signatures of ledger records, over the bytes that an auditor finds: no model of ours is needed to check one."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from typing import Any, Final, TypeVar

from bondstone.base.canonical import canonical
from bondstone.model.campaign.run import LedgerBatch
from bondstone.model.ledger import LedgerRecord
from bondstone.store.signing import Signer

DOMAIN: Final = b"bondstone ledger v1\n"

Record = TypeVar("Record", LedgerRecord, LedgerBatch)


def sign_record(record: Record, signer: Signer) -> Record:
    """A record with the signature of a control worker."""
    named = record.changed(key_id=signer.key_id, signature="")
    stored = named.model_dump(mode="json", exclude={"state"})  # of a batch; it is kept beside the ledger
    return named.changed(signature=signer.signature(signed_content(stored)))


def signed_content(stored: Mapping[str, Any]) -> bytes:
    """What is signed of a stored record: all but the signature, as canonical JSON."""
    return DOMAIN + canonical({name: value for name, value in stored.items() if name != "signature"})


def fits(stored: Mapping[str, Any], key: bytes) -> bool:
    """Whether the signature of a stored record is by this key."""
    from cryptography.exceptions import InvalidSignature  # noqa: PLC0415 - only who verifies
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey  # noqa: PLC0415

    try:
        signature = base64.b64decode(str(stored.get("signature", "")), validate=True)
        Ed25519PublicKey.from_public_bytes(key).verify(signature, signed_content(stored))
    except (InvalidSignature, ValueError, binascii.Error):
        return False
    return True
