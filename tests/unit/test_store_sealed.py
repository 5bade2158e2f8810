"""Keys, envelopes, secrets, plans: what is sealed opens only as itself, and only for whom it is meant."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bondstone.base.errors import (
    InvalidInput,
    KeyMissing,
    NotFound,
    ObjectCorrupt,
    ObjectMissing,
    Refused,
    SettingsInvalid,
)
from bondstone.base.process_identity import Holder
from bondstone.base.redact import plain_texts
from bondstone.base.settings import Settings
from bondstone.executors.protocol import Planned
from bondstone.model.plan import Change
from bondstone.model.secret import SecretRef
from bondstone.model.service import ServiceId
from bondstone.store import Store
from bondstone.store.crypto import KeyRing
from bondstone.store.objects import Objects

SERVICE = ServiceId(team="payments", name="orders")
NEIGHBOUR = ServiceId(team="payments", name="orders-db")
RING = KeyRing.generate()


@pytest.fixture
async def store(tmp_path: Path) -> Store:
    return await Store.open(Settings(data=tmp_path), create_keys=True)


@given(st.binary(max_size=100), st.integers(0, 200), st.integers(1, 255))
def test_an_object_that_was_changed_does_not_open(data: bytes, place: int, flip: int) -> None:
    sealed = RING.seal(data, key="a/b")
    assert RING.unseal(sealed, key="a/b") == data
    changed = bytearray(sealed)
    changed[place % len(sealed)] ^= flip
    with pytest.raises((ObjectCorrupt, KeyMissing)):
        RING.unseal(bytes(changed), key="a/b")
    with pytest.raises((ObjectCorrupt, KeyMissing)):
        RING.unseal(sealed[: place % len(sealed)], key="a/b")


def test_an_object_that_was_moved_does_not_open() -> None:
    with pytest.raises(ObjectCorrupt):
        RING.unseal(RING.seal(b"1", key="secrets/a"), key="secrets/b")


def test_a_new_active_key_still_opens_what_the_old_one_sealed() -> None:
    old = KeyRing.generate()
    new = KeyRing(active="new", keys={**old.keys, "new": b"n" * 32})
    sealed = old.seal(b"1", key="a")
    assert new.unseal(sealed, key="a") == b"1"
    assert new.unseal(new.seal(b"2", key="a"), key="a") == b"2"
    with pytest.raises(KeyMissing, match=old.active) as raised:
        KeyRing(active="new", keys={"new": b"n" * 32}).unseal(sealed, key="a")
    assert raised.value.hint


def test_a_key_ring_is_made_once_and_private(tmp_path: Path) -> None:
    path = tmp_path / "new" / "keys.json"
    ring = KeyRing.load_or_create(path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert KeyRing.load_or_create(path) == ring == KeyRing.load(path)
    assert [entry.name for entry in path.parent.iterdir()] == ["keys.json"]


def test_a_key_ring_that_others_can_read_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    KeyRing.load_or_create(path)
    path.chmod(0o640)
    with pytest.raises(SettingsInvalid, match="0640") as raised:
        KeyRing.load(path)
    assert "chmod 600" in raised.value.hint


@pytest.mark.parametrize(
    "content",
    ["", "{}", "[]", '{"version": 1, "active": "a", "keys": {"a": "aHVudGVyMjI="}}',
     '{"version": 2, "active": "hunter22", "keys": {"hunter22": "hunter22"}}'],
)  # fmt: skip
def test_a_broken_key_ring_is_said_without_its_content(tmp_path: Path, content: str) -> None:
    path = tmp_path / "keys.json"
    path.write_text(content)
    path.chmod(0o600)
    with pytest.raises(SettingsInvalid) as raised:
        KeyRing.load(path)
    assert "hunter22" not in str(raised.value)
    assert "aHVudGVy" not in str(raised.value)


def test_a_missing_key_ring_says_where_one_comes_from(tmp_path: Path) -> None:
    with pytest.raises(SettingsInvalid, match="no key ring") as raised:
        KeyRing.load(tmp_path / "keys.json")
    assert "bond up" in raised.value.hint


def test_a_key_ring_does_not_print_its_keys() -> None:
    ring = KeyRing(active="a", keys={"a": b"hunter22" * 4})
    assert "hunter22" not in repr(ring)


async def test_another_rings_store_is_refused_when_it_is_opened(tmp_path: Path) -> None:
    await Store.open(Settings(data=tmp_path), create_keys=True)
    (tmp_path / "keys.json").rename(tmp_path / "old.json")
    with pytest.raises(KeyMissing, match="key ring"):
        await Store.open(Settings(data=tmp_path), create_keys=True)
    assert not (tmp_path / "keys.json").exists()
    with pytest.raises(SettingsInvalid):
        await Store.open(Settings(data=tmp_path))
    await Store.open(Settings(data=tmp_path, keys=tmp_path / "old.json"))


# Secrets -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", ["p4ss", "", 7, None, {"a": [1, "ü\ud800"]}])
async def test_a_secret_comes_back_as_it_was(store: Store, value: object) -> None:
    ref = await store.secrets.put(SERVICE, "inputs/adminPassword", value)
    assert await store.secrets.reveal(ref, service=SERVICE) == value
    assert await store.secrets.reveal(ref) == value


async def test_a_new_value_gets_a_new_reference_and_the_old_one_stays(store: Store) -> None:
    one = await store.secrets.put(SERVICE, "inputs/x", "one")
    two = await store.secrets.put(SERVICE, "inputs/x", "two")
    assert one != two
    assert await store.secrets.put(SERVICE, "inputs/x", "one") == one
    assert await store.secrets.reveal(one) == "one"
    assert await store.secrets.put(NEIGHBOUR, "inputs/x", "one") != one


async def test_a_reference_of_another_service_is_refused(store: Store) -> None:
    ref = await store.secrets.put(NEIGHBOUR, "inputs/x", "one")
    with pytest.raises(Refused):
        await store.secrets.reveal(ref, service=SERVICE)


@pytest.mark.parametrize("key", ["state/a/b/c", "secrets/payments/orders/../orders-db/x", "/etc/passwd"])
async def test_a_reference_that_is_none_is_refused(store: Store, key: str) -> None:
    with pytest.raises((Refused, InvalidInput)):
        await store.secrets.reveal(SecretRef(key=key), service=SERVICE)
    with pytest.raises((Refused, InvalidInput)):
        await store.secrets.reveal(SecretRef(key=key))


async def test_erasing_takes_one_services_secrets(store: Store) -> None:
    refs = [await store.secrets.put(SERVICE, f"inputs/{name}", name) for name in "ab"]
    other = await store.secrets.put(NEIGHBOUR, "inputs/a", "a")
    assert await store.secrets.erase(SERVICE) == 2
    assert await store.secrets.reveal(other) == "a"
    with pytest.raises(NotFound):
        await store.secrets.reveal(refs[0])


async def test_what_is_not_json_is_refused_without_showing_it(store: Store) -> None:
    for value in (float("nan"), object(), {"a": {"hunter22"}}):
        with pytest.raises(InvalidInput) as raised:
            await store.secrets.put(SERVICE, "inputs/a", value)
        assert "hunter22" not in str(raised.value)


def test_the_texts_of_a_secret_are_found_in_its_tree() -> None:
    assert list(plain_texts({"a": ["x", 12, True, None, {"b": "y"}], "c": 1.5})) == ["x", "12", "y", "1.5"]


# Plans ---------------------------------------------------------------------------------------------------


def planned(artefact: bytes = b"\x00plan") -> Planned:
    return Planned(
        artefact=artefact,
        document={"resource_changes": [{"password": "hunter22"}]},
        changes=[Change(address="a.b", action="create", after={"x": 1}), Change(address="a.c", action="delete")],
        empty=False,
        position=4,
        tool="terraform 1.15.5",
    )


async def test_a_plan_comes_back_byte_for_byte(store: Store) -> None:
    ref = await store.plans.store(SERVICE, 7, "database", planned(), destroy=False, log="logs/x")
    assert await store.plans.artefact(ref) == b"\x00plan"
    assert await store.plans.document(ref) == planned().document
    assert await store.plans.changes(ref) == list(planned().changes)
    assert (ref.position, ref.tool, ref.log, str(ref.counts)) == (4, "terraform 1.15.5", "logs/x", "+1 ~0 ±0 -1")


async def test_a_plan_that_is_not_the_approved_one_is_not_handed_out(store: Store) -> None:
    ref = await store.plans.store(SERVICE, 7, "database", planned(), destroy=False, log="")
    await store.sealed.put(f"{ref.key}/artefact", b"another")
    with pytest.raises(ObjectCorrupt, match="not the one that was approved"):
        await store.plans.artefact(ref)
    await store.objects.delete(f"{ref.key}/artefact")
    with pytest.raises(ObjectMissing):
        await store.plans.artefact(ref)
    await store.sealed.put(f"{ref.key}/changes", b"{}")
    with pytest.raises(ObjectCorrupt):
        await store.plans.changes(ref)


# All of it -----------------------------------------------------------------------------------------------


async def test_no_secret_is_readable_in_any_file_of_the_store(store: Store, tmp_path: Path) -> None:
    canary = 'canary"<7f3a>\nline two of the canary'
    await store.secrets.put(SERVICE, "inputs/x", canary)
    plan = Planned(canary.encode(), {"v": canary}, (), empty=False, position=0, tool="t")
    await store.plans.store(SERVICE, 1, "db", plan, destroy=False, log="")
    async with store.logs.writer(SERVICE, 1, "db", "plan", "a1", [canary]) as log:
        log.write(f"said {canary}")
        log.write(json.dumps({"message": json.dumps(canary)}))
    async with await store.state(SERVICE, "db").claim(Holder.me("a1")) as claim:
        await claim.append(canary.encode())
        await claim.release()
    text = "\n".join([line async for line in store.logs.read(log.key)])
    kept = files_below(tmp_path)
    assert len(kept) > 8
    for form in ("canary", "7f3a"):
        assert form not in text
        assert not [name for name, content in kept.items() if form in name or form.encode() in content]


def files_below(directory: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in directory.rglob("*") if path.is_file()}


async def test_the_state_log_of_a_local_store(tmp_path: Path) -> None:
    store = await Store.open(Settings(data=tmp_path), create_keys=True)
    log = store.state(SERVICE, "db")
    assert (await log.read()).payload is None
    async with await log.claim(Holder.me("a1", "ann")) as claim:
        for number in range(100):
            await claim.append(b"state %d" % number)
        assert (await log.read()).holder == Holder.me("a1", "ann")
        position = await claim.release()
    snapshot = await log.read()
    assert (snapshot.position, snapshot.payload, snapshot.holder) == (position, b"state 99", None)
    assert [entry.kind for entry in await log.entries()] == ["claim", "state", "release"]
    assert "state 99" not in repr(snapshot)


async def test_a_corrupt_or_missing_state_is_an_error_not_an_older_state(store: Store) -> None:
    log = store.state(SERVICE, "db")
    for attempt in ("a1", "a2"):
        async with await log.claim(Holder.me(attempt)) as claim:
            await claim.append(attempt.encode())
            await claim.release()
    [*_, last, release] = [info.key for info in await store.objects.list("state")]
    good = await store.objects.get(last)
    await store.objects.put(last, b"BOND garbage")
    with pytest.raises(ObjectCorrupt):
        await log.read()
    await store.objects.delete(last)
    with pytest.raises(ObjectMissing, match="position 5") as raised:
        await log.claim(Holder.me("a3"))
    assert "bond state push" in raised.value.hint
    await store.objects.put(last, good)
    assert (await log.read()).payload == b"a2"
    await store.objects.put(release, b"")
    with pytest.raises(ObjectCorrupt):
        await log.read()


async def test_an_unknown_store_is_not_opened() -> None:
    with pytest.raises(SettingsInvalid):
        await Objects.open("gopher://x")
