"""Verifying the ledger: from the objects alone, without Temporal, workers or private keys.

Every chain is walked from its first record to its last: each record is readable, stands where its name says,
follows the one before by digest, and is signed by a control worker once records before it are. Every vote has the
API's attestation of that person, that plan digest and that time. The first break of a chain is named.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

from pydantic import ValidationError

from bondstone.base.canonical import canonical, digest
from bondstone.base.errors import BondError, ObjectCorrupt, ObjectMissing
from bondstone.base.models import Wire
from bondstone.model.attestation import (
    Attestable,
    Attestation,
    PublicKeys,
    acceptance_id,
    check_attestation,
    check_signature,
    check_vote_roles,
)
from bondstone.model.ledger import LedgerRecord
from bondstone.model.service import AbandonCall, CancelCall, LabelsCall, PauseCall, VoteCall
from bondstone.store import object_keys
from bondstone.store.ledger_signatures import fits
from bondstone.store.objects import Objects, segment
from bondstone.store.vouched import Vouched

_READS_AT_ONCE: Final = 16

CALLS: Final[dict[str, tuple[type[Attestable], str]]] = {
    "cancellation": (CancelCall, "service.cancel"),
    "pause": (PauseCall, "service.pause"),
    "resume": (PauseCall, "service.resume"),
    "abandon": (AbandonCall, "service.abandon"),
    "labels": (LabelsCall, "service.label"),
}
"""What is attested of each kind of record that is nothing but a person's request, and the verb of that."""


class Break(Wire):
    """Where a chain is not what it should be."""

    chain: str
    """`payments/orders-db`, or `campaign/cve-2026-1234`."""
    record: str = ""
    """Key of the object."""
    why: str


class Anchor(Wire):
    """The heads of all chains at one time: what is kept elsewhere shows later that nothing was cut off."""

    at: datetime
    heads: dict[str, str] = {}
    """Chain to the digest of its last record."""
    previous: str = ""
    """Digest of the anchor before."""

    @property
    def digest(self) -> str:
        """What to keep elsewhere."""
        return digest(canonical(self.model_dump(mode="json")))


@dataclass(slots=True)
class Verification:
    """What was found."""

    chains: int = 0
    records: int = 0
    signed: int = 0
    attested: int = 0
    """Records whose request, vote or verb is proved by an attestation."""
    approvals: int = 0
    """Votes that are proved."""
    breaks: list[Break] = field(default_factory=list)
    anchored: int = 0
    """Heads of the anchors that were found in their chains."""

    @property
    def whole(self) -> bool:
        """Whether nothing is broken."""
        return not self.breaks


async def verify(objects: Objects, keys: PublicKeys, *, chain: str = "") -> Verification:
    """Walk every chain, or one.

    Args:
        objects: The object store, or a copy of it.
        keys: Public keys of the platform. Whoever can write to the store can replace those in it: pass those that
            were kept elsewhere to be independent of that.
        chain: `TEAM/NAME` or `campaign/NAME`; empty for all.
    """
    verification = Verification()
    heads: dict[str, list[str]] = {}
    for name, records in (await chains(objects, chain)).items():
        verification.chains += 1
        walk = _Walk(name, keys, verification, Vouched(objects))
        heads[name] = await walk.over(objects, records)
    await _check_anchors(objects, heads, verification, only=chain)
    return verification


async def anchor(objects: Objects, *, now: datetime | None = None) -> Anchor:
    """Write down the heads of all chains, and return them to be kept elsewhere too."""
    infos = await objects.list(object_keys.LEDGER_ANCHORS)
    previous = Anchor.model_validate_json(await objects.get(infos[-1].key)).digest if infos else ""
    heads = {}
    for name, records in (await chains(objects, "")).items():
        heads[name] = digest(await objects.get(records[-1]))
    made = Anchor(at=now or datetime.now(UTC), heads=heads, previous=previous)
    await objects.put_if_absent(
        f"{object_keys.LEDGER_ANCHORS}/{len(infos) + 1:08}", made.model_dump_json().encode()
    )
    return made


async def chains(objects: Objects, only: str) -> dict[str, list[str]]:
    """Chain to the keys of its records, oldest first: by the index, and by what is there without being in it.

    Args:
        objects: The object store, or a copy of it.
        only: `TEAM/NAME` or `campaign/NAME`; empty for all.
    """
    grouped: dict[str, set[str]] = {}
    if not only.startswith("campaign/"):
        for info in await objects.list(f"{object_keys.LEDGER_INDEX}/{only}" if only else object_keys.LEDGER_INDEX):
            team, service, name = info.key.split("/")[1:]
            listed = f"{team}/{service}"
            grouped.setdefault(listed, set()).add(object_keys.ledger_record(listed, name))
        for info in await objects.list(object_keys.LEDGER):
            chain = "/".join(info.key.split("/")[4:6])
            if only in {"", chain}:
                grouped.setdefault(chain, set()).add(info.key)
    if not only or only.startswith("campaign/"):
        campaign = only.removeprefix("campaign/")
        for info in await objects.list(
            object_keys.campaign_ledger(campaign) if campaign else object_keys.CAMPAIGN_LEDGERS
        ):
            grouped.setdefault(f"campaign/{info.key.split('/')[1]}", set()).add(info.key)
    return {chain: sorted(keys, key=lambda key: key.rpartition("/")[2]) for chain, keys in sorted(grouped.items())}


class _Walk:
    """Over one chain, until it breaks."""

    def __init__(self, chain: str, keys: PublicKeys, verification: Verification, vouched: Vouched) -> None:
        self._chain = chain
        self._keys = keys
        self._found = verification
        self._vouched = vouched
        self._campaign = chain.startswith("campaign/")

    async def over(self, objects: Objects, keys: Sequence[str]) -> list[str]:
        """The digests of its records, up to the first break."""
        digests: list[str] = []
        signed = False
        for start in range(0, len(keys), _READS_AT_ONCE):
            batch = keys[start : start + _READS_AT_ONCE]
            for key, data in zip(
                batch, await asyncio.gather(*(_maybe(objects, key) for key in batch)), strict=True
            ):
                try:
                    stored = _parsed(key, data)
                    self._check_link(key, stored, digests)
                    signed = self._check_signature(stored, before=signed)
                    await self._check_content(stored)
                except (BondError, ValidationError) as error:
                    why = error.message if isinstance(error, BondError) else "its content is not valid"
                    self._found.breaks.append(Break(chain=self._chain, record=key, why=why))
                    return digests
                digests.append(digest(data or b""))
                self._found.records += 1
        return digests

    def _check_link(self, key: str, stored: Mapping[str, Any], digests: Sequence[str]) -> None:
        before = digests[-1] if digests else ""
        if stored.get("previous", "") != before:
            raise ObjectCorrupt(
                "it does not follow the record before it: one was removed, added or changed"
                if digests
                else "records before it are missing"
            )
        if self._campaign:
            return
        record = LedgerRecord.model_validate(stored)
        at = record.at.astimezone(UTC)
        name = f"{at:%Y%m%dT%H%M%S.%fZ}-{segment(record.sequence)}.json"
        if key.rpartition("/")[2] != name or str(record.service) != self._chain:
            raise ObjectCorrupt("its content does not match its name")

    def _check_signature(self, stored: Mapping[str, Any], *, before: bool) -> bool:
        """Whether the record is signed; one that is not must not come after one that is."""
        key_id = str(stored.get("key_id", ""))
        if not key_id:
            if before:
                raise ObjectCorrupt("it is not signed, and records before it are")
            return False
        key = self._keys.permit.get(key_id)
        if key is None:
            raise ObjectCorrupt(f"it is signed with {key_id}, which is not a key of the platform")
        if not fits(stored, key):
            raise ObjectCorrupt("its signature does not match: it was changed after it was written")
        self._found.signed += 1
        return True

    async def _check_content(self, stored: Mapping[str, Any]) -> None:
        """Prove who asked and who voted, where the platform demanded that."""
        if self._campaign:
            attestation = stored.get("attestation")
            if attestation is not None:
                check_signature(Attestation.model_validate(attestation), self._keys.attestation)
                self._found.attested += 1
            return
        record = LedgerRecord.model_validate(stored)
        if record.key_id:
            for call, target in _votes(record):
                self._prove_vote(call, target)
            await self._prove_request(record)

    def _prove_vote(self, vote: _Vote, target: str) -> None:
        attestation = check_attestation(
            vote.call, self._keys, verb=vote.verb, target=target, by=vote.call.by, now=None
        )
        check_vote_roles(attestation, vote.call.roles)
        self._found.approvals += 1

    async def _prove_request(self, record: LedgerRecord) -> None:
        attestation = record.attestation
        if attestation is None:
            return
        target = str(record.service)
        if record.kind == "operation":
            key = acceptance_id(attestation, str(record.call.get("request_id", "")))
            accepted = await self._vouched.accepted(key)
            if accepted is None:
                raise ObjectCorrupt("the request behind it is not in the store")
            if accepted.request.campaign:
                check_signature(attestation, self._keys.of(attestation))
            else:
                request = accepted.request
                check_attestation(request, self._keys, verb=request.verb, target=target, by=record.by, now=None)
        elif record.kind in CALLS and not attestation.target.startswith("campaign/"):
            model, verb = CALLS[record.kind]
            call = model.model_validate({**record.call, "attestation": attestation})
            target = f"{target}/op/{record.operation}" if record.kind == "cancellation" else target
            check_attestation(call, self._keys, verb=verb, target=target, by=record.by, now=None)
        elif record.kind == "state":
            signed = record.changed(previous="", key_id="", signature="")
            check_attestation(signed, self._keys, verb="state.push", target=target, by=record.by, now=None)
        else:
            check_signature(attestation, self._keys.of(attestation))
        self._found.attested += 1


@dataclass(frozen=True, slots=True)
class _Vote:
    call: VoteCall
    verb: str


def _votes(record: LedgerRecord) -> Iterator[tuple[_Vote, str]]:
    target = f"{record.service}/op/{record.operation}"
    for approval in record.approvals:
        for vote in approval.votes:
            call = VoteCall(
                step=approval.step,
                digest=approval.digest,
                by=vote.by,
                roles=vote.roles,
                comment=vote.comment,
                attestation=vote.attestation,
            )
            yield _Vote(call, "approval.approve" if vote.approve else "approval.reject"), target


async def _maybe(objects: Objects, key: str) -> bytes | None:
    try:
        return await objects.get(key)
    except ObjectMissing:
        return None


def _parsed(key: str, data: bytes | None) -> dict[str, Any]:
    if data is None:
        raise ObjectMissing("the record is in the index, and not in the store: it was removed", where=key)
    try:
        stored = json.loads(data)
        if not key.startswith(object_keys.CAMPAIGN_LEDGERS):
            LedgerRecord.model_validate(stored)
    except (ValueError, ValidationError):
        raise ObjectCorrupt("it cannot be read", where=key) from None
    return dict(stored)


async def _check_anchors(
    objects: Objects, heads: Mapping[str, Sequence[str]], verification: Verification, *, only: str
) -> None:
    """Every head that was ever anchored must still be in its chain."""
    broken = {each.chain for each in verification.breaks}
    previous = ""
    for info in await objects.list(object_keys.LEDGER_ANCHORS):
        made = Anchor.model_validate_json(await objects.get(info.key))
        if made.previous != previous:
            verification.breaks.append(
                Break(chain="anchors", record=info.key, why="it does not follow the anchor before")
            )
            return
        previous = made.digest
        for chain, head in made.heads.items():
            if chain in broken or (only and chain != only):
                continue
            if head in heads.get(chain, ()):
                verification.anchored += 1
            else:
                why = f"the record that was its last at {made.at:%Y-%m-%dT%H:%M:%SZ} is not in it: it was cut off"
                verification.breaks.append(Break(chain=chain, record=info.key, why=why))
                broken.add(chain)
