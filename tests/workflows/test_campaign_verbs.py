"""Every verb twice, late, out of order and at once, on a real server: done once, or refused in words."""

from __future__ import annotations

import asyncio
import uuid
from typing import Any

import pytest
from campaign_fakes import TO, WITHIN_SECONDS, CampaignPlatform, Fleet
from fakes import serving
from temporalio.client import Client

from bondstone.base import names
from bondstone.base.errors import BondError, InvalidInput, NotFound, Refused, Unreachable
from bondstone.base.settings import Settings
from bondstone.client.direct.client import DirectClient
from bondstone.client.direct.connection import Connection
from bondstone.model.campaign.events import (
    Abort,
    Approve,
    CampaignVerb,
    NextWave,
    Note,
    Pause,
    Reject,
    Resume,
    Retry,
    RollbackTargets,
    SetConcurrency,
    Skip,
)
from bondstone.model.campaign.run import CampaignDescription, CampaignHeader, CampaignInput
from bondstone.model.campaign.state import CampaignStatus, WaveRules
from bondstone.model.service import Need
from harness.waiting import until, until_async

HOUR = 3600
SRE = (Need(roles=("sre",)),)


async def told(fleet: Fleet) -> list[Note]:
    """What people did, as the ledger has it."""
    batches = await fleet.platform.store.campaigns.ledger(fleet.name)
    return [note for batch in batches for note in batch.notes if note.by]


async def twice(fleet: Fleet, kind: type[CampaignVerb], **fields: Any) -> CampaignDescription:
    """The same request again is answered again; as another request of somebody else it is told apart."""
    verb = {"request_id": f"{kind.__name__}-{uuid.uuid4().hex[:6]}", "by": "grace", "reason": "because"} | fields
    first = await fleet.verb(kind, **verb)
    await fleet.verb(kind, **verb)
    with pytest.raises(InvalidInput, match="the request id"):
        await fleet.verb(Abort if kind is not Abort else Pause, request_id=verb["request_id"])
    return first


async def refused(fleet: Fleet, words: str, kind: type[CampaignVerb], **fields: Any) -> None:
    with pytest.raises((Refused, InvalidInput, NotFound), match=words):
        await fleet.verb(kind, **fields)


async def test_each_verb_has_its_time_and_is_done_once_and_recorded_once(temporal: Client) -> None:
    platform = CampaignPlatform(holding=asyncio.Event())
    fleet = await Fleet.of(temporal, platform, [1, 2, 1], max_concurrent=1)
    assert platform.rules is not None
    assert platform.holding is not None
    waves = (
        WaveRules(name="canary", size=1, soak_seconds=HOUR),
        WaveRules(name="half", size=2, needs=SRE),
        WaveRules(name="rest", size=1, needs=SRE),
    )
    platform.rules = platform.rules.changed(waves=waves)
    async with serving(temporal, platform):
        await fleet.start()
        await platform.until_applying(1)
        digest = (await fleet.description()).targets_digest
        vote = {"digest": digest, "roles": ("sre",)}

        # Out of order: what has no place yet says so, and leaves no trace.
        await refused(fleet, "no wave is soaking", NextWave)
        await refused(fleet, "waits for no approval", Approve, wave="half", **vote)
        await refused(fleet, "waits for no approval", Reject, wave="no-such", reason="no", **vote)
        await refused(fleet, "not paused", Resume)
        await refused(fleet, "there is no target to retry", Retry)
        await refused(fleet, "has started", Skip, target=0)
        await refused(fleet, "no target 99", Skip, target=99)
        await refused(fleet, "not possible", SetConcurrency, max_concurrent=0)

        await twice(fleet, Pause)
        await refused(fleet, "grace has paused it already", Pause, by="eve")
        await twice(fleet, Resume)
        await refused(fleet, "not paused", Resume)
        assert (await twice(fleet, SetConcurrency, max_concurrent=2)).max_concurrent == 2
        await twice(fleet, Skip, target=3)
        await refused(fleet, "not waiting any more: skipped", Skip, target=3)

        platform.holding.set()
        await fleet.until(lambda observed: observed.status is CampaignStatus.SOAKING)
        await twice(fleet, NextWave)
        await fleet.until(lambda observed: observed.waiting_for is not None)
        await refused(fleet, "no wave is soaking", NextWave)  # late: that soak is over
        await refused(fleet, "waits for no approval", Approve, wave="canary", **vote)  # late: that wave is over
        await refused(fleet, "needs a reason", Reject, wave="half", **vote)
        platform.holding.clear()
        await twice(fleet, Approve, wave="half", **vote)
        await refused(fleet, "waits for no approval|approved already", Reject, wave="half", reason="no", **vote)

        await platform.until_applying(2)
        await twice(fleet, Abort)
        await refused(fleet, "being aborted", Pause)
        await refused(fleet, "being aborted already", Abort)
        await refused(fleet, "being aborted", Approve, wave="rest", **vote)
        await twice(fleet, Abort, running="cancel")  # from draining to cancelling: once
        result = await fleet.result()
        with pytest.raises(NotFound):
            await fleet.verb(Pause)
    assert result.status is CampaignStatus.ABORTED
    assert result.counts == {"succeeded": 1, "failed": 2, "skipped": 1}
    assert [(note.what, note.by, note.reason) for note in await told(fleet)] == [
        (what, "grace", "because")
        for what in ("pause", "resume", "set-concurrency", "skip", "next-wave", "approve", "abort", "abort")
    ]


@pytest.mark.parametrize(
    ("kind", "which", "counts"),
    [
        (Retry, "failed", {"succeeded": 2, "skipped": 1, "waiting": 1}),
        (Retry, "not-started", {"failed": 1, "succeeded": 1, "waiting": 2}),
        (Retry, "all", {"succeeded": 3, "waiting": 1}),
        (RollbackTargets, "failed", {"rolled-back": 1, "succeeded": 1, "skipped": 1, "waiting": 1}),
        (RollbackTargets, "wave", {"rolled-back": 2, "skipped": 1, "waiting": 1}),
        (RollbackTargets, "all", {"rolled-back": 2, "skipped": 1, "not-attempted": 1}),
    ],
)
async def test_retry_and_rollback_are_done_once_however_often_they_come(
    temporal: Client, kind: type[CampaignVerb], which: str, counts: dict[str, int]
) -> None:
    platform = CampaignPlatform()
    fleet = await Fleet.of(temporal, platform, [3, 1], max_failures=0)
    assert platform.rules is not None
    waves = (WaveRules(name="one", size=3), WaveRules(name="two", size=1, needs=SRE))
    platform.rules = platform.rules.changed(waves=waves, max_concurrent=1, max_failures=0)
    platform.failing.add(fleet.services[1])
    async with serving(temporal, platform):
        platform.holding = asyncio.Event()
        await fleet.start()
        await platform.until_applying(1)
        await fleet.verb(Skip, target=2, by="eve")
        platform.holding.set()
        await fleet.until(lambda observed: observed.status is CampaignStatus.PAUSED)
        platform.failing.clear()
        verb = {"which": which, "request_id": "once", "by": "grace", "reason": "OPS-1"}
        await asyncio.gather(*(fleet.verb(kind, **verb) for _ in range(4)))
        observed = await fleet.until(lambda observed: not observed.running and observed.counts == counts)
        if not observed.status.ended:
            await fleet.verb(kind, **verb)
            assert (await fleet.description()).counts == counts
            await fleet.verb(Abort)
        await fleet.result()
    once = [note for note in await told(fleet) if note.request_id == "once"]
    assert [(note.by, note.reason) for note in once] == [("grace", "OPS-1")]


async def test_of_people_who_say_the_same_at_once_one_is_heard_and_the_others_are_told(temporal: Client) -> None:
    platform = CampaignPlatform(holding=asyncio.Event())
    fleet = await Fleet.of(temporal, platform, [1, 1], max_concurrent=1)
    assert platform.rules is not None
    assert platform.holding is not None
    waves = (WaveRules(name="one", size=1), WaveRules(name="two", size=1, needs=SRE))
    platform.rules = platform.rules.changed(waves=waves)
    people = [f"p{number}" for number in range(5)]

    async def all_say(kind: type[CampaignVerb], **fields: Any) -> list[BondError]:
        request = (fleet.verb(kind, by=person, **fields) for person in people)
        answers = await asyncio.gather(*request, return_exceptions=True)
        assert sum(isinstance(answer, CampaignDescription) for answer in answers) == 1
        return [answer for answer in answers if isinstance(answer, Refused)]

    async with serving(temporal, platform):
        await fleet.start()
        await platform.until_applying(1)
        digest = (await fleet.description()).targets_digest
        assert len(await all_say(Pause)) == 4
        assert len(await all_say(Resume)) == 4
        assert len(await all_say(Skip, target=1)) == 4
        assert len(await all_say(Retry, which="not-started")) == 4
        platform.holding.set()
        await fleet.until(lambda observed: observed.waiting_for is not None)
        assert len(await all_say(Approve, wave="two", digest=digest, roles=("sre",))) == 4
        result = await fleet.result()
    assert result.counts == {"succeeded": 2}
    heard = ["pause", "resume", "skip", "retry", "approve"]
    assert [note.what for note in await told(fleet)] == heard
    assert {note.by for note in await told(fleet)} <= set(people)


async def test_verbs_hold_across_runs_and_each_is_done_once(temporal: Client) -> None:
    platform = CampaignPlatform(holding=asyncio.Event(), continue_after=1)
    fleet = await Fleet.of(temporal, platform, [6, 2], max_concurrent=2)
    assert platform.holding is not None
    sent = {
        SetConcurrency: {"max_concurrent": 3},
        Skip: {"target": 7},
        Pause: {},
        Resume: {},
    }
    answered: dict[type[CampaignVerb], int] = dict.fromkeys(sent, 0)

    async def insist(kind: type[CampaignVerb], **fields: Any) -> None:
        """Say it again and again, under one id, until the campaign is over."""

        async def is_over() -> bool:
            try:
                await fleet.verb(kind, request_id=f"once-{kind.__name__}", reason="why", **fields)
            except NotFound:
                return True
            except Refused as error:
                assert kind is Resume, error  # noqa: PT017 - not paused yet
            else:
                answered[kind] += 1
            return False

        await until_async(is_over, "the campaign ends", seconds=WITHIN_SECONDS, not_yet=(Unreachable,))

    async with serving(temporal, platform):
        await fleet.start()
        await fleet.until(lambda observed: observed.frozen)
        insisting = asyncio.gather(*(insist(kind, **fields) for kind, fields in sent.items()))
        await until(lambda: all(answered.values()), "each verb is answered", seconds=WITHIN_SECONDS)
        platform.holding.set()
        result = await fleet.result()
        await insisting
        versions = await fleet.versions()
        runs = len(await fleet.histories())
    assert result.counts == {"succeeded": 7, "skipped": 1}
    assert versions == [TO] * 7 + ["1.0.0"]
    assert runs >= 4
    notes = await told(fleet)
    assert sorted(note.what for note in notes) == ["pause", "resume", "set-concurrency", "skip"]
    assert len(platform.done()) == 7


async def test_after_the_end_a_request_starts_one_linked_campaign_however_often_it_comes(temporal: Client) -> None:
    platform = CampaignPlatform()
    fleet = await Fleet.of(temporal, platform, [1, 1], max_failures=0)
    platform.failing.add(fleet.services[0])
    bond = DirectClient(Connection(Settings(), temporal=temporal, store=platform.store), "grace")
    async with serving(temporal, platform):
        await fleet.start()
        await fleet.until(lambda observed: observed.status is CampaignStatus.PAUSED)
        header = {"name": fleet.name, "run_id": fleet.first_run_id, "start": CampaignInput(requested_by="ada")}
        at = (await fleet.description()).started_at
        await platform.store.campaigns.begin(CampaignHeader.model_validate({**header, "at": at}))
        await fleet.verb(Abort)
        await fleet.result()
        again = [bond.campaigns.retry(fleet.name, "all", reason="fixed", request_id="again") for _ in range(3)]
        started = await asyncio.gather(*again)
        later = await bond.campaigns.retry(fleet.name, "all", request_id="again")
        other = await bond.campaigns.retry(fleet.name, "all", request_id="other")
        for name in (started[0].name, other.name):
            handle = temporal.get_workflow_handle(names.campaign_workflow_id(name))
            await handle.terminate()
        with pytest.raises(Refused, match="has ended: aborted"):
            await bond.campaigns.pause(fleet.name)
    assert {entry.name for entry in (*started, later)} == {f"{fleet.name}-retry"}
    assert (later.requested_by, later.reason) == ("grace", "fixed")
    assert other.name == f"{fleet.name}-retry-2"
