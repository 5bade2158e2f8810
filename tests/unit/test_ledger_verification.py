"""`bond ledger verify`: each way of tampering is named at the record where it shows."""

import io
import json
import tarfile
from datetime import UTC, datetime, timedelta

import pytest
from obstore.store import MemoryStore

from bondstone.base.canonical import canonical
from bondstone.base.errors import NotFound
from bondstone.identity.access import Access, permissions_of
from bondstone.identity.attestor import Attestor
from bondstone.model.attestation import PublicKeys
from bondstone.model.identity import Principal, Roles
from bondstone.model.ledger import LedgerRecord
from bondstone.model.service import Approval, Need, ServiceId, Vote, VoteCall
from bondstone.store.crypto import KeyRing
from bondstone.store.ledger import LedgerStore
from bondstone.store.ledger_export import export
from bondstone.store.ledger_signatures import sign_record
from bondstone.store.ledger_verification import anchor, verify
from bondstone.store.objects import Objects
from bondstone.store.signing import PlatformKeys, Signer

SERVICE = ServiceId(team="payments", name="orders")
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
API = Signer(KeyRing.generate())
CONTROL = Signer(KeyRing.generate())
STRANGER = Signer(KeyRing.generate())
KEYS = PublicKeys(attestation=API.public_keys(), permit=CONTROL.public_keys())
PLAN = "a" * 64


def attestor(signer: Signer = API, role: str = "approver:dba") -> Attestor:
    grace = Principal(subject="grace", means="oidc", grants=(Roles(roles=(role,), scope=None),))
    return Attestor(signer, grace, permissions_of(Access(), grace))


def vote(number: int = 1, *, signer: Signer = API, digest: str = PLAN, by: str = "grace") -> LedgerRecord:
    call = VoteCall(step="db", digest=digest, by="grace", roles=("dba",))
    attested = attestor(signer).attest(
        call, verb="approval.approve", target=f"{SERVICE}/op/{number}", by="grace", roles=("dba",)
    )
    approval = Approval(
        step="db",
        digest=PLAN,
        needs=(Need(roles=("dba",)),),
        votes=(Vote(by=by, roles=("dba",), approve=True, at=NOON, attestation=attested.attestation),),
        status="approved",
        asked_at=NOON,
    )
    return LedgerRecord(
        kind="approval",
        service=SERVICE,
        sequence=f"op-{number}-db-approval-1",
        at=NOON + timedelta(hours=number),
        by=by,
        operation=number,
        approvals=(approval,),
    )


class Chain:
    """A chain that is written as control workers write it."""

    def __init__(self) -> None:
        self.objects = Objects(MemoryStore())
        self.ledger = LedgerStore(self.objects)

    async def add(self, record: LedgerRecord, signer: Signer | None = CONTROL) -> str:
        record = record.changed(previous=await self.ledger.last_digest(SERVICE))
        entry = await self.ledger.record(sign_record(record, signer) if signer else record)
        return entry.key

    async def why(self) -> str:
        [broken] = (await verify(self.objects, KEYS)).breaks
        return broken.why


@pytest.fixture
async def chain() -> Chain:
    made = Chain()
    for number in range(1, 4):
        await made.add(vote(number))
    return made


async def test_a_whole_ledger_is_whole_and_every_vote_is_proved(chain):
    verification = await verify(chain.objects, KEYS)
    assert verification.whole, verification.breaks
    assert (verification.chains, verification.records, verification.signed, verification.approvals) == (1, 3, 3, 3)


async def test_what_was_changed_after_it_was_signed_is_named(chain):
    key = await chain.add(vote(4))
    stored = json.loads(await chain.objects.get(key))
    await chain.objects.put(key, canonical({**stored, "reason": "something else"}))
    assert "signature does not match" in await chain.why()


async def test_a_record_by_a_stranger_is_named(chain):
    await chain.add(vote(4), STRANGER)
    assert "not a key of the platform" in await chain.why()


async def test_an_unsigned_record_after_signed_ones_is_named(chain):
    await chain.add(vote(4), None)
    assert "not signed" in await chain.why()


@pytest.mark.parametrize(
    ("forged", "words"),
    [
        (vote(4, signer=STRANGER), "not a key of this platform"),
        (vote(4, digest="b" * 64), "other arguments"),
        (vote(4, by="mallory"), "its attestation is of grace"),
    ],
)
async def test_a_vote_that_nobody_gave_is_named_although_the_record_is_signed(chain, forged, words):
    await chain.add(forged)
    assert words in await chain.why()


async def test_a_vote_of_another_operation_proves_nothing(chain):
    other = vote(1)
    await chain.add(other.changed(operation=4, sequence="op-4-db-approval-1", at=NOON + timedelta(hours=9)))
    assert "not for approval.approve of payments/orders/op/4" in await chain.why()


async def test_the_first_records_cannot_be_cut_off_nor_the_last_ones_once_they_are_anchored(chain):
    keys = [info.key for info in await chain.objects.list("ledger")]
    index = [info.key for info in await chain.objects.list("ledger-index")]
    made = await anchor(chain.objects, now=NOON)
    await chain.add(vote(4))
    verification = await verify(chain.objects, KEYS)
    assert verification.whole
    assert verification.anchored == 1
    content = await chain.objects.get(keys[0])
    await chain.objects.delete(keys[0], index[0])
    assert "records before it are missing" in await chain.why()
    await chain.objects.put(keys[0], content)
    last = [info.key for info in await chain.objects.list("ledger")][2:]
    await chain.objects.delete(*last, *[info.key for info in await chain.objects.list("ledger-index")])
    assert "cut off" in await chain.why()
    again = await anchor(chain.objects, now=NOON)
    assert again.previous == made.digest
    infos = await chain.objects.list("ledger-anchors")
    await chain.objects.delete(infos[0].key)
    assert "does not follow the anchor before" in await chain.why()


async def test_keys_that_were_kept_elsewhere_do_not_believe_those_in_the_store(chain):
    elsewhere = PublicKeys(attestation=API.public_keys(), permit=STRANGER.public_keys())
    [broken] = (await verify(chain.objects, elsewhere)).breaks
    assert "not a key of the platform" in broken.why


async def test_the_same_record_signed_by_a_newer_key_is_the_same_record(chain):
    record = vote(4).changed(previous=await chain.ledger.last_digest(SERVICE))
    first = await chain.ledger.record(sign_record(record, CONTROL))
    assert await chain.ledger.record(sign_record(record, STRANGER)) == first


async def test_an_exported_chain_verifies_from_its_tar_alone_and_a_changed_byte_breaks_it(chain, tmp_path):
    objects = chain.objects
    before = await verify(objects, KEYS, chain=str(SERVICE))
    with tarfile.open(fileobj=io.BytesIO(await export(objects, str(SERVICE)))) as archive:
        archive.extractall(tmp_path, filter="data")
    elsewhere = await Objects.open(tmp_path.as_uri())
    result = await verify(elsewhere, KEYS, chain=str(SERVICE))
    assert result == before
    assert result.records >= 2
    first = min(tmp_path.glob("ledger/*/*/*/*/*/*.json"))
    first.write_text(first.read_text().replace("grace", "eve"))
    assert (await verify(elsewhere, KEYS, chain=str(SERVICE))).breaks
    with pytest.raises(NotFound):
        await export(objects, "payments/nothing")


async def test_a_key_that_left_its_ring_is_known_until_its_public_half_is_deleted() -> None:
    objects = Objects(MemoryStore())
    old, new = API, STRANGER
    await PlatformKeys(objects).register("attestation", old)
    await PlatformKeys(objects).register("attestation", new)
    assert old.key_id in await PlatformKeys(objects).knowing("attestation", old.key_id)
    await objects.delete(f"platform-keys/attestation/{old.key_id}")
    assert set(await PlatformKeys(objects).knowing("attestation", old.key_id)) == {new.key_id}
