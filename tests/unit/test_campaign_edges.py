"""What is around the decider: the calendar of a moment, what a service's state tells, the store of campaigns."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from obstore.store import MemoryStore

from bondstone.activities.campaign.activities import CALENDAR_SECONDS, calendar_at, seen_in
from bondstone.base import names
from bondstone.base.errors import AlreadyExists, Changed, NotFound
from bondstone.campaign.decider import decide, new_campaign
from bondstone.campaign.messages import open_questions, submission
from bondstone.campaign.view import describe
from bondstone.campaign.windows import Windows
from bondstone.model.campaign.events import (
    Abort,
    AttemptFinished,
    Found,
    LoadPage,
    Note,
    PageLoaded,
    Submit,
    TargetKey,
    Tick,
)
from bondstone.model.campaign.manifest import Window, WindowsSpec
from bondstone.model.campaign.run import (
    CampaignHeader,
    CampaignInput,
    FreezeRecord,
    Frozen,
    Job,
    LedgerBatch,
    LeftOut,
    TargetEntry,
    TargetRecord,
)
from bondstone.model.campaign.state import CampaignStatus, Rules, TargetOutcome, WaveRules
from bondstone.model.service import OperationKind, OperationStatus, Phase, ServiceId, ServiceState, Submission
from bondstone.store import Store
from bondstone.store.campaigns import latest
from bondstone.store.crypto import KeyRing
from bondstone.store.objects import Objects

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


def store() -> Store:
    return Store(Objects(MemoryStore()), KeyRing.generate())


def freeze(name: str = "xmas", **fields: Any) -> FreezeRecord:
    return FreezeRecord.model_validate({"name": name, "by": "ada", "begins_at": NOW - HOUR} | fields)


NIGHTS = Windows(WindowsSpec(allow=(Window(cron="0 22 * * *", duration="6h", time_zone="UTC"),)))
ALWAYS = Windows(WindowsSpec())


# The calendar --------------------------------------------------------------------------------------------


def test_without_windows_and_freezes_it_is_open_and_looked_at_again() -> None:
    result = calendar_at(NOW, ALWAYS, [], cancels=True)
    assert (result.open, result.until) == (True, NOW + timedelta(seconds=CALENDAR_SECONDS))
    assert (result.window_ends_at, result.frozen_teams) == (None, ())


def test_a_freeze_of_the_platform_closes_it_and_cancels_nothing() -> None:
    result = calendar_at(NOW, ALWAYS, [freeze()], cancels=True)
    assert not result.open
    assert result.window_ends_at is None


def test_a_freeze_of_a_team_holds_up_that_team() -> None:
    soon = NOW + timedelta(seconds=10)
    others = [freeze("later", team="shop", begins_at=soon), freeze(team="payments")]
    result = calendar_at(NOW, ALWAYS, others, cancels=False)
    assert (result.open, result.frozen_teams, result.until) == (True, ("payments",), soon)


def test_a_closed_window_opens_when_it_does() -> None:
    at = NOW.replace(hour=21, minute=59)
    result = calendar_at(at, NIGHTS, [], cancels=False)
    assert (result.open, result.until) == (False, NOW.replace(hour=22))


def test_the_end_of_a_window_is_known_where_what_runs_is_cancelled_then() -> None:
    at = NOW.replace(hour=23)
    end = NOW.replace(hour=4) + timedelta(days=1)
    assert calendar_at(at, NIGHTS, [], cancels=True).window_ends_at == end
    assert calendar_at(at, NIGHTS, [], cancels=False).window_ends_at is None


@pytest.mark.parametrize(
    ("change", "binds"), [("", True), ("CHG-1", True), ("EMG-17", False), ("EMG", False), ("EMGX-1", True)]
)
def test_a_freeze_exempts_a_class_of_changes(change: str, *, binds: bool) -> None:
    assert freeze(exempt=("EMG",)).binds(change) is binds


# What a service's state tells ----------------------------------------------------------------------------

SEEN = Found(target=0, attempt=1, what="silent")
SERVICE = ServiceState(service=ServiceId(team="payments", name="db"))


def entry(**fields: Any) -> Submission:
    known = {"request_id": "r", "target": 0, "attempt": 1, "reply_to": "campaign/c", "number": 4}
    return Submission.model_validate(known | fields)


DONE = entry(status=OperationStatus.SUCCEEDED)


@pytest.mark.parametrize(
    ("fields", "alive", "what"),
    [
        ({}, True, "unknown"),
        ({"submissions": (entry(),)}, True, "alive"),
        ({"submissions": (entry(status=OperationStatus.FAILED),)}, True, "ended"),
        (
            {"submissions": (entry(status=OperationStatus.SUCCEEDED),), "phase": Phase.DECOMMISSIONED},
            False,
            "ended",
        ),
        ({"phase": Phase.DECOMMISSIONED}, False, None),
        ({"submissions": (entry(),)}, False, "gone"),
    ],
    ids=["never heard of it", "runs", "failed", "did the decommission", "left by itself", "was terminated"],
)
def test_what_a_state_says_of_a_submission(fields: dict[str, Any], what: str | None, *, alive: bool) -> None:
    result = seen_in(SERVICE.changed(**fields), "r", SEEN, alive=alive)
    assert (result.what if result else None) == what


# Messages ------------------------------------------------------------------------------------------------

ENTRY = TargetEntry(service="payments/db", version="1.0.0", to="1.0.1")


def test_a_rollback_names_what_it_takes_back() -> None:
    job = Job(operation=OperationKind.PATCH, promise="postgres", reason="CVE")
    call = submission("c", "ada", job, Submit(target=3, attempt=2, rollback=True), ENTRY)
    assert call.request.kind is OperationKind.ROLLBACK
    assert (call.undoes, call.request.version) == ("campaign/c/3/", "")
    assert call.request.request_id == names.campaign_request_id("c", 3, 2) == "campaign/c/3/2"


@pytest.mark.parametrize(
    ("operation", "unit", "with_parts"),
    [("reconcile", "tree", True), ("reconcile", "service", False), ("patch", "tree", False)],
)
def test_only_a_reconcile_of_trees_asks_for_the_parts_too(operation: str, unit: Any, *, with_parts: bool) -> None:
    job = Job(operation=OperationKind(operation), promise="postgres", unit=unit)
    request = submission("c", "ada", job, Submit(target=0, attempt=1), ENTRY).request
    assert request.with_parts is with_parts, "the others take parts along by themselves"


def test_a_linked_rollback_takes_back_what_the_other_campaign_did() -> None:
    job = Job(operation=OperationKind.ROLLBACK, undoes="a")
    assert submission("b", "ada", job, Submit(target=0, attempt=1), ENTRY).undoes == "campaign/a/"


# The view ------------------------------------------------------------------------------------------------


def test_a_description_grows_with_the_campaign() -> None:
    start = CampaignInput(requested_by="ada", reason="CVE")
    assert not describe("c", start).frozen
    rules = Rules(campaign="c", requested_by="ada", waves=(WaveRules(name="one", size=2),), max_concurrent=1)
    frozen = Frozen(rules=rules, job=Job(operation=OperationKind.PATCH))
    state, _ = decide(new_campaign(rules), Tick(), NOW)
    assert open_questions(state) == [LoadPage(page=0)]
    state, _ = decide(state, PageLoaded(page=0, targets=(TargetKey(), TargetKey())), NOW)
    description = describe("c", start, frozen, state, service_of=lambda target: f"payments/db-{target}")
    assert description.status is CampaignStatus.RUNNING
    assert description.counts == {"running": 1, "waiting": 1}
    assert [(flight.target, flight.service) for flight in description.flights] == [(0, "payments/db-0")]
    assert [(wave.name, wave.status) for wave in description.waves] == [("one", "running")]


def test_every_wave_of_a_campaign_that_has_ended_is_done_or_was_not_attempted() -> None:
    waves = tuple(WaveRules(name=name, size=size) for name, size in (("empty", 0), ("one", 1), ("late", 1)))
    for ends, words in ((None, ["done", "done", "done"]), ("abort", ["done", "done", "not-attempted"])):
        state = new_campaign(Rules(campaign="cve", requested_by="ada", waves=waves, max_concurrent=1, page_size=2))
        keys = (TargetKey(), TargetKey())
        events: list[Any] = [Tick(), PageLoaded(page=0, targets=keys)]
        events += [Abort(request_id="r", by="ada")] if ends else []
        events += [AttemptFinished(target=0, attempt=1, status=OperationStatus.SUCCEEDED)]
        events += [PageLoaded(page=0, targets=keys)]
        events += [AttemptFinished(target=1, attempt=1, status=OperationStatus.SUCCEEDED)]
        for event in events:
            state, _ = decide(state, event, NOW)
        description = describe(
            "cve",
            CampaignInput(requested_by="ada"),
            Frozen(rules=state.rules, job=Job(operation=OperationKind.PATCH)),
            state,
        )
        assert description.status.ended
        assert [wave.status for wave in description.waves] == words


# The store -----------------------------------------------------------------------------------------------


def header(run_id: str = "1") -> CampaignHeader:
    return CampaignHeader(name="c", run_id=run_id, start=CampaignInput(requested_by="ada"), at=NOW)


async def test_a_name_is_taken_once() -> None:
    campaigns = store().campaigns
    assert not await campaigns.exists("c")
    await campaigns.begin(header())
    assert await campaigns.begin(header()) == header()
    assert await campaigns.names() == ["c"]
    with pytest.raises(AlreadyExists, match="started by ada"):
        await campaigns.begin(header("2"))
    with pytest.raises(NotFound):
        await campaigns.header("d")


async def test_targets_come_back_in_order_and_any_change_shows_in_the_digest() -> None:
    campaigns = store().campaigns
    targets = [TargetEntry(service=f"payments/db-{number}") for number in range(7)]
    left = [LeftOut(service="shop/web", kind="skipped", reason="compliant")]
    digest = await campaigns.put_targets("c", targets, left, page_size=3)
    assert await campaigns.targets("c") == targets
    assert await campaigns.page("c", 1) == tuple(targets[3:6])
    assert await campaigns.left_out("c") == tuple(left)
    changed = [*targets[:-1], targets[-1].changed(to="2")]
    assert await campaigns.put_targets("c", changed, left, page_size=3) != digest


async def test_the_ledger_is_a_chain_that_nobody_changes() -> None:
    result = store()
    batch = LedgerBatch(campaign="c", number=1, notes=(Note(what="pause", wave=0, at=NOW),))
    first = await result.campaigns.record(batch)
    assert await result.campaigns.record(batch) == first
    with pytest.raises(AlreadyExists):
        await result.campaigns.record(batch.changed(notes=()))
    target = TargetRecord(target=0, outcome=TargetOutcome.FAILED, ended_at=NOW)
    later = target.changed(outcome=TargetOutcome.SUCCEEDED)
    second = LedgerBatch(campaign="c", number=2, records=(target, later), previous=first.digest)
    await result.campaigns.record(second)
    ledger = await result.campaigns.ledger("c")
    assert [each.number for each in ledger] == [1, 2]
    assert latest(ledger) == {0: later}
    assert [each.number for each in await result.campaigns.ledger("c", after=1)] == [2]
    assert await result.campaigns.end("c") is None
    assert b'"previous"' in await result.objects.get(first.key)


async def test_freezes_are_listed_until_they_are_over() -> None:
    campaigns = store().campaigns
    await campaigns.create_freeze(freeze())
    with pytest.raises(AlreadyExists):
        await campaigns.create_freeze(freeze())
    await campaigns.create_freeze(freeze("past", ends_at=NOW))
    assert [each.name for each in await campaigns.freezes()] == ["past", "xmas"]
    assert [each.name for each in await campaigns.freezes(at=NOW)] == ["xmas"]
    await campaigns.put_freeze(freeze(ends_at=NOW))
    assert await campaigns.freezes(at=NOW) == []
    assert (await campaigns.freeze("xmas")).ends_at == NOW


async def test_of_two_who_change_a_freeze_at_once_one_is_refused_and_a_call_that_is_tried_again_is_not() -> None:
    campaigns = store().campaigns
    await campaigns.create_freeze(freeze())
    read = await campaigns.freeze("xmas")
    ours = await campaigns.put_freeze(read.changed(exempt=("EMG",)))
    assert await campaigns.put_freeze(read.changed(exempt=("EMG",))) == ours
    with pytest.raises(Changed, match="since you read it"):
        await campaigns.put_freeze(read.changed(exempt=("SEC",)))
    again = await campaigns.put_freeze(ours.changed(exempt=("SEC",)))
    assert await campaigns.freezes() == [await campaigns.freeze("xmas")] == [again]
    assert (again.changes, again.exempt) == (2, ("SEC",))
