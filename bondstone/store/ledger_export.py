"""One chain of the ledger with all that proves it, to be verified where the platform is not."""

from __future__ import annotations

import asyncio
import io
import json
import tarfile
from collections.abc import Mapping
from typing import Any, Final

from bondstone.base.errors import NotFound, Refused
from bondstone.model.attestation import Attestation, acceptance_id
from bondstone.store import object_keys, signing, vouched
from bondstone.store.ledger_verification import chains
from bondstone.store.objects import Objects

MAX_RECORDS: Final = 20_000
_READS_AT_ONCE: Final = 16


async def export(objects: Objects, chain: str) -> bytes:
    """A tar that holds an object store: the records of a chain, what they rest on, all anchors, the public keys.

    Args:
        objects: The object store.
        chain: `TEAM/NAME` or `campaign/NAME`.

    Raises:
        NotFound: the ledger has no such chain.
        Refused: it is longer than `MAX_RECORDS`.
    """
    keys = (await chains(objects, chain)).get(chain, []) if chain else []
    if not keys:
        raise NotFound(f"the ledger has no record of {chain or 'nothing'}", hint="name TEAM/NAME or campaign/NAME")
    if len(keys) > MAX_RECORDS:
        raise Refused(
            f"the chain has more than {MAX_RECORDS} records", where=chain, hint="copy the object store instead"
        )
    limit = asyncio.Semaphore(_READS_AT_ONCE)

    async def read(key: str) -> tuple[str, bytes]:
        async with limit:
            return key, await objects.get(key)

    held = dict(await asyncio.gather(*map(read, keys)))
    beside = {f"{vouched.PREFIX}/requests/{name}" for data in held.values() if (name := _request(data))}
    prefixes = [object_keys.LEDGER_ANCHORS, signing.PREFIX]
    if not chain.startswith("campaign/"):
        prefixes.append(f"{object_keys.LEDGER_INDEX}/{chain}")
    beside |= {info.key for prefix in prefixes for info in await objects.list(prefix)}
    held |= dict(await asyncio.gather(*map(read, sorted(beside))))
    return await asyncio.to_thread(_tar, held)


def _request(data: bytes) -> str:
    """The id under which the accepted request of a record is kept; empty where there is none."""
    record: Mapping[str, Any] = json.loads(data)
    if record.get("kind") != "operation" or not record.get("attestation"):
        return ""
    request = str(record.get("call", {}).get("request_id", ""))
    return acceptance_id(Attestation.model_validate(record["attestation"]), request)


def _tar(held: Mapping[str, bytes]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name, content in sorted(held.items()):
            member = tarfile.TarInfo(name)
            member.size, member.mode = len(content), 0o600
            archive.addfile(member, io.BytesIO(content))
    return out.getvalue()
