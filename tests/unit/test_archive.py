"""What is put away at a service's end, and what a new one may adopt: the activities against a real store."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
from temporalio.exceptions import ApplicationError
from temporalio.testing import ActivityEnvironment

from bondstone.activities.archive import ArchiveActivities
from bondstone.base.errors import AlreadyExists, InvalidInput, NotFound, ObjectCorrupt, ObjectMissing, Refused
from bondstone.base.models import Manifest
from bondstone.base.process_identity import Holder
from bondstone.base.settings import Settings
from bondstone.client.direct.states import push, stage
from bondstone.executors.protocol import Executor
from bondstone.executors.registry import load_executors
from bondstone.model.service import ServiceId
from bondstone.model.step import AdoptCall, PutAway, PutAwayCall
from bondstone.store import Store
from bondstone.store.state.fence import LeaseTerms
from bondstone.store.state.log import StateLog

SERVICE = ServiceId(team="payments", name="orders")
OTHER = ServiceId(team="payments", name="others")
EXECUTORS = load_executors()


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
    completed: PutAway = await ActivityEnvironment().run(ArchiveActivities(store, EXECUTORS).put_away, call)
    return completed


async def adopt(store: Store, states: dict[str, str]) -> int:
    call = AdoptCall(service=SERVICE, operation=1, states=states)
    count: int = await ActivityEnvironment().run(ArchiveActivities(store, EXECUTORS).adopt, call)
    return count


async def current(store: Store, step: str) -> bytes | None:
    return (await store.state(SERVICE, step).read()).payload


@pytest.mark.parametrize("kept", ["archive", "erase"])
async def test_a_state_that_still_holds_something_is_archived_whatever_the_promise_says(store, kept):
    await push(store, SERVICE, "main", state(), by="ada")
    await push(store, SERVICE, "backup", state("dump", "copy"), by="ada")
    result = await put_away(store, state=kept)
    assert await current(store, "main") is None
    assert await current(store, "backup") is None
    backup, *others = result.retained
    assert "what still stands: thing.dump, thing.copy" in backup
    assert len(others) == (1 if kept == "archive" else 0)
    key = backup.rpartition("(")[2].rstrip(")")
    assert await store.sealed.get(key) == state("dump", "copy")
    assert await put_away(store, state=kept) == result, "tried again, it says the same"


@pytest.mark.parametrize("damaged", ["state/payments/orders/z", "secrets/payments/orders/inputs/token"])
async def test_nothing_is_put_away_while_some_of_it_cannot_be_read(store, damaged):
    ref = await store.secrets.put(SERVICE, "inputs/token", "canary")
    for step in ("a", "z"):
        await push(store, SERVICE, step, state("thing"), by="ada")
    intact = {info.key: await store.objects.get(info.key) for info in await store.objects.list(damaged)}
    for key in intact:
        await store.objects.put(key, b"damaged")
    assert intact
    with pytest.raises(ApplicationError):
        await put_away(store, secrets="archive")
    for key, data in intact.items():
        await store.objects.put(key, data)
    assert [await current(store, step) for step in ("a", "z")] == [state("thing")] * 2
    assert await store.secrets.reveal(ref) == "canary"
    assert len((await put_away(store, secrets="archive")).retained) == 3, "mended, it goes on"


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
    assert "bond state push --force" in caught.value.hint
    with pytest.raises(ObjectMissing):
        await push(store, SERVICE, "main", state("a", "b", serial=2), by="ada", reason="lost")
    with pytest.raises(InvalidInput, match="needs a reason"):
        await push(store, SERVICE, "main", state("a", "b", serial=2), by="ada", force=True)
    pushed = await push(store, SERVICE, "main", state("a", "b", serial=2), by="ada", force=True, reason="lost")
    assert pushed.replaced_unreadable
    assert await current(store, "main") == state("a", "b", serial=2)


@pytest.fixture
def quick_leases(monkeypatch):
    """An entry that cannot be read is waited for a whole term: make it a short one."""
    terms = LeaseTerms(term_seconds=1.5, renew_seconds=0.1, stop_seconds=1, poll_seconds=0.05)
    monkeypatch.setattr(
        Store, "state", lambda self, service, step: StateLog(self.sealed, service, step, terms=terms)
    )


@pytest.mark.usefixtures("quick_leases")
async def test_a_newest_state_that_cannot_be_read_can_be_replaced_and_the_log_is_whole_again(store):
    await push(store, SERVICE, "main", state("a"), by="ada")
    log = store.state(SERVICE, "main")
    newest = (await log.entries())[-1].position
    await store.objects.put(f"state/{SERVICE}/main/{newest:08}", b"garbage")
    with pytest.raises(ObjectCorrupt) as caught:
        await push(store, SERVICE, "main", state("a", "b", serial=2), by="ada")
    assert "bond state push --force" in caught.value.hint
    pushed = await push(store, SERVICE, "main", state("a", "b", serial=2), by="ada", force=True, reason="bit rot")
    assert pushed.replaced_unreadable
    assert await current(store, "main") == state("a", "b", serial=2)
    entries = await log.entries()
    assert newest in entries[-1].fences, "whoever wrote it stays fenced"
    assert [entry.position for entry in entries if entry.unreadable] == [newest]
    async with await log.claim(Holder(attempt="later")) as claim:
        assert await claim.release(state("c", serial=3))


@pytest.mark.usefixtures("quick_leases")
async def test_a_state_whose_holder_lives_is_not_taken_from_under_it_because_its_entry_cannot_be_read(store):
    log = store.state(SERVICE, "main")
    async with await log.claim(Holder(attempt="alive")) as claim:
        position = await claim.append(state("a"))
        await store.objects.put(f"state/{SERVICE}/main/{position:08}", b"garbage")
        pushing = asyncio.create_task(
            push(store, SERVICE, "main", state("b", serial=2), by="ada", force=True, reason="bit rot")
        )
        await asyncio.wait({pushing}, timeout=3)  # two terms
        assert not pushing.done()
        assert await claim.release(state("a", "b", serial=5)), "it is still the holder's"
    assert (await asyncio.wait_for(pushing, 60)).changed


async def test_what_was_put_away_can_be_listed_and_read(store):
    await push(store, SERVICE, "main", state("a"), by="ada")
    await store.secrets.put(SERVICE, "inputs/password", "hunter2")
    await put_away(store, secrets="archive")
    await push(store, OTHER, "main", state("other"), by="ada")
    rows = await store.archive.list(SERVICE)
    assert [(item.kind, item.name.rpartition("/")[0]) for item in rows] == [
        ("secrets", "op-2/secrets/inputs/password"),
        ("state", "op-2/state"),
    ]
    assert json.loads(await store.archive.read(SERVICE, rows[0].name)) == "hunter2"
    assert await store.archive.read(SERVICE, "op-2/state/main") == state("a")
    for name in ("op-2/state/nope", "../../secrets/x", ""):
        with pytest.raises(NotFound):
            await store.archive.read(SERVICE, name)


async def test_the_last_life_of_a_name_is_the_one_that_is_found(store):
    for number in (9, 10):
        await push(store, SERVICE, "main", state(f"life{number}"), by="ada")
        call = PutAwayCall(service=SERVICE, operation=number, sequence=f"op-{number}")
        await ActivityEnvironment().run(ArchiveActivities(store, EXECUTORS).put_away, call)
    last = (await store.archive.last_states(SERVICE))["main"]
    assert last.name == "op-10/state/main"


class Shelf(Executor):
    """A third party's executor, whose states are lines of text."""

    kind = "shelf"
    section = Manifest

    def held(self, state: bytes) -> tuple[str, ...] | None:
        return tuple(state.decode().split()[1:]) if state.startswith(b"shelf") else None


@pytest.mark.parametrize(
    ("kept", "named"),
    [
        (b"shelf book/one book/two", "what still stands: book/one, book/two ("),
        (
            b"of some other tool",
            "what still stands: objects that no executor installed on the control worker can name (",
        ),
    ],
)
async def test_a_kept_state_is_described_by_the_executor_that_knows_it(store, kept, named):
    async with await store.state(SERVICE, "main").claim(Holder.me("made")) as claim:
        await claim.release(kept)
    activities = ArchiveActivities(store, {**EXECUTORS, "shelf": Shelf()})
    call = PutAwayCall(service=SERVICE, operation=2, sequence="op-2", state="erase")
    result: PutAway = await ActivityEnvironment().run(activities.put_away, call)
    assert named in result.retained[0]


@pytest.mark.parametrize(
    ("kind", "section", "keeps_state"),
    [
        ("terraform", {"module": "m", "backend": "own"}, True),
        ("terraform", {"module": "m"}, False),
        ("helm", {"chart": "c"}, False),
    ],
)
def test_an_executor_says_whether_its_tool_keeps_the_state(kind, section, keeps_state):
    assert EXECUTORS[kind].keeps_own_state(section) is keeps_state
