"""What is put away at a service's end, and what a new one may adopt: the activities against a real store."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from temporalio.exceptions import ApplicationError
from temporalio.testing import ActivityEnvironment

from activities.keeping import KeepingActivities
from bondstone.client.states import push, stage
from bondstone.errors import AlreadyExists, NotFound, ObjectMissing, Refused
from bondstone.model.service import ServiceId
from bondstone.model.step import AdoptCall, PutAway, PutAwayCall
from bondstone.settings import Settings
from bondstone.store import Store
from bondstone.store.holder import Holder

SERVICE = ServiceId(team="payments", name="orders")
OTHER = ServiceId(team="payments", name="others")


def state(*things: str, serial: int = 1) -> bytes:
    resources = [
        {"mode": "managed", "type": "thing", "name": name, "instances": [{"attributes": {}}]} for name in things
    ]
    return json.dumps({"version": 4, "serial": serial, "lineage": "one", "resources": resources}).encode()


@pytest.fixture
async def store(tmp_path: Path) -> Store:
    return await Store.open(Settings(data=tmp_path / "data"), create_keys=True)


async def put_away(store: Store, **how: str) -> PutAway:
    call = PutAwayCall(service=SERVICE, operation=2, sequence="op-2", **how)
    found: PutAway = await ActivityEnvironment().run(KeepingActivities(store).put_away, call)
    return found


async def adopt(store: Store, states: dict[str, str]) -> int:
    call = AdoptCall(service=SERVICE, operation=1, states=states)
    count: int = await ActivityEnvironment().run(KeepingActivities(store).adopt, call)
    return count


async def current(store: Store, step: str) -> bytes | None:
    return (await store.state(SERVICE, step).read()).payload


@pytest.mark.parametrize("kept", ["archive", "erase"])
async def test_a_state_that_still_holds_something_is_archived_whatever_the_promise_says(store, kept):
    await push(store, SERVICE, "main", state(), by="ada")
    await push(store, SERVICE, "backup", state("dump", "copy"), by="ada")
    found = await put_away(store, state=kept)
    assert await current(store, "main") is None
    assert await current(store, "backup") is None
    backup, *others = found.retained
    assert "what still stands: thing.dump, thing.copy" in backup
    assert len(others) == (1 if kept == "archive" else 0)
    key = backup.rpartition("(")[2].rstrip(")")
    assert await store.sealed.get(key) == state("dump", "copy")
    assert await put_away(store, state=kept) == found, "tried again, it says the same"


async def test_secrets_go_with_the_saved_plans_or_are_archived_with_them(store):
    ref = await store.secrets.put(SERVICE, "inputs/token", "canary")
    others = await store.secrets.put(OTHER, "inputs/token", "theirs")
    for name in ("artefact", "document", "changes"):
        await store.sealed.put(f"plans/{SERVICE}/000001/main/{'d' * 64}/{name}", b"[]")
    archived = await put_away(store, secrets="archive")
    assert archived.retained == ("1 secrets (archive/payments/orders/op-2/secrets), and the plans",)
    with pytest.raises(NotFound):
        await store.secrets.reveal(ref)
    assert len(await store.objects.list("plans")) == 3
    await put_away(store)
    assert [info.key.rpartition("/")[2] for info in await store.objects.list("plans")] == ["changes"]
    assert await store.secrets.reveal(others) == "theirs"


async def test_an_adopted_state_is_there_once_however_often_it_is_tried(store):
    keys = await stage(store, SERVICE, {"main": state("a")})
    assert await adopt(store, keys) == 1
    assert await current(store, "main") == state("a")
    await push(store, SERVICE, "main", state("a", "b", serial=2), by="ada")
    assert await adopt(store, keys) == 1
    assert await current(store, "main") == state("a", "b", serial=2)
    assert await store.objects.list("adopt") == []


async def test_a_step_that_has_a_state_adopts_no_other(store):
    await push(store, SERVICE, "main", state("a"), by="ada")
    with pytest.raises(ApplicationError) as caught:
        await adopt(store, await stage(store, SERVICE, {"main": state("b")}))
    assert caught.value.type == AlreadyExists.code
    assert await current(store, "main") == state("a")


async def test_only_what_was_brought_for_the_service_can_be_adopted(store):
    theirs = await stage(store, OTHER, {"main": state("theirs")})
    await store.sealed.put("archive/payments/others/op-1/state/main", state("theirs"))
    for key in (theirs["main"], "archive/payments/others/op-1/state/main", "adopt/payments/orders-x/1/main"):
        with pytest.raises(ApplicationError) as caught:
            await adopt(store, {"main": key})
        assert caught.value.type == Refused.code
    assert await current(store, "main") is None


async def test_a_state_that_was_lost_can_be_replaced(store):
    await push(store, SERVICE, "main", state("a"), by="ada")
    log = store.state(SERVICE, "main")
    async with await log.claim(Holder(attempt="later")) as claim:
        await claim.release()
    (lost,) = [entry for entry in await log.entries() if entry.carries_state]
    await store.objects.delete(f"state/{SERVICE}/main/{lost.position:08}")
    with pytest.raises(ObjectMissing) as caught:
        await log.read()
    assert "bond state push" in caught.value.hint
    await push(store, SERVICE, "main", state("a", "b", serial=2), by="ada")
    assert await current(store, "main") == state("a", "b", serial=2)
