"""From a manifest and a fleet to a frozen campaign."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import pytest
from obstore.store import MemoryStore

from bondstone.activities.campaign import selection
from bondstone.activities.campaign.selection import freeze, read
from bondstone.base.errors import AlreadyExists, CampaignInvalid, Refused
from bondstone.campaign.decider import decide, new_campaign
from bondstone.campaign.fleet import FleetService
from bondstone.model.campaign.events import Abort, AttemptAccepted, AttemptFinished, PageLoaded, TargetKey, Tick
from bondstone.model.campaign.run import CampaignInput, FreezeCall, Frozen, LedgerBatch, Linked
from bondstone.model.campaign.state import Calendar, CampaignState
from bondstone.model.service import OperationKind, OperationStatus
from bondstone.store import Store
from bondstone.store.crypto import KeyRing
from bondstone.store.objects import Objects

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)

MANIFEST = """\
apiVersion: bondstone.dev/v1
kind: Campaign
metadata: {name: fix, owner: platform, reason: CVE, change: CHG-1}
spec:
  operation: update
  promise: postgres
  inputs: {size: large}
  order: name
  start_rate: 60/m
  on_failure: rollback_wave
  per: {label: region, max_concurrent: 2}
  target: {timeout: 1h, retries: 1, busy: skip}
  waves:
    - {name: canary, count: 1, max_failures: 0, soak: 30m}
    - {name: rest, rest: true, gate: {approval: {roles: [sre], count: 2}}}
"""

STRATEGY = """\
apiVersion: bondstone.dev/v1
kind: Strategy
metadata: {name: nightly, reason: hygiene}
spec:
  operation: reconcile
  promise: postgres
  waves: [{name: all, rest: true}]
"""


def row(name: str, **fields: Any) -> FleetService:
    known: dict[str, Any] = {
        "id": f"payments/{name}",
        "promise": "postgres",
        "version": "1.0.0",
        "phase": "ready",
        "health": "healthy",
        "labels": {"region": "eu"},
    }
    return FleetService(**known | fields)


class Scene:
    """A store, and a fleet that visibility shows."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.store = Store(Objects(MemoryStore()), KeyRing.generate())
        self.fleet: Sequence[FleetService] = [row("a"), row("b"), row("c")]

        async def fleet(_client: object, _store: Store) -> Sequence[FleetService]:
            return self.fleet

        monkeypatch.setattr(selection, "fleet", fleet)

    async def freeze(
        self, name: str = "fix", *, run_id: str = "1", source: str = MANIFEST, **start: Any
    ) -> Frozen:
        campaign_input = CampaignInput(source=source, file="fix.yaml", requested_by="ada", **start)
        call = FreezeCall(name=name, run_id=run_id, start=campaign_input, at=NOW)
        return await freeze(self.store, None, call)  # type: ignore[arg-type] - the fleet is faked


@pytest.fixture
def scene(monkeypatch: pytest.MonkeyPatch) -> Scene:
    return Scene(monkeypatch)


async def test_a_manifest_and_a_fleet_become_rules_in_numbers(scene: Scene) -> None:
    frozen = await scene.freeze()
    rules = frozen.rules
    assert (rules.campaign, rules.requested_by, rules.size) == ("fix", "ada", 3)
    assert [(wave.name, wave.size, wave.max_failures, wave.soak_seconds) for wave in rules.waves] == [
        ("canary", 1, 0, 1800),
        ("rest", 2, None, 0),
    ]
    [need] = rules.waves[1].needs
    assert (need.roles, need.count, need.allow_requester) == (("sre",), 2, False)
    assert (rules.start_count, rules.start_period_seconds, rules.max_concurrent_per_group) == (60, 60, 2)
    assert (rules.timeout_seconds, rules.retries, rules.busy, rules.has_calendar) == (3600, 1, "skip", True)
    job = frozen.job
    assert (job.operation, job.inputs, job.owner) == (OperationKind.UPDATE, {"size": "large"}, "platform")
    assert (job.reason, job.change) == ("CVE", "CHG-1")
    targets = await scene.store.campaigns.targets("fix")
    assert [(target.service, target.group) for target in targets] == [
        ("payments/a", "eu"),
        ("payments/b", "eu"),
        ("payments/c", "eu"),
    ]
    assert rules.targets_digest


async def test_frozen_is_frozen(scene: Scene) -> None:
    first = await scene.freeze()
    scene.fleet = [row("d")]
    assert await scene.freeze() == first
    with pytest.raises(AlreadyExists):
        await scene.freeze(run_id="2")


async def test_what_is_refused_does_not_take_the_name(scene: Scene) -> None:
    scene.fleet = [row("a", promise="mysql")]
    with pytest.raises(CampaignInvalid) as refused:
        await scene.freeze()
    [problem] = refused.value.problems
    assert (problem.file, problem.message) == ("fix.yaml", "the campaign selects no service")
    assert problem.line > 0
    scene.fleet = [row("a")]
    assert (await scene.freeze(run_id="2")).rules.size == 1


async def test_a_service_that_has_not_been_provisioned_is_no_target(scene: Scene) -> None:
    scene.fleet = [row("a"), row("b", phase="provisioning", version="")]
    assert (await scene.freeze()).rules.size == 1


async def test_the_run_of_a_schedule_is_named_by_its_workflow(scene: Scene) -> None:
    name = "nightly-2026-11-24T01:00:00Z"
    frozen = await scene.freeze(name, source=STRATEGY, schedule="nightly")
    assert (frozen.rules.campaign, frozen.job.reason) == (name, "hygiene")
    assert await scene.store.campaigns.names() == [name]
    header = await scene.store.campaigns.header(name)
    again = read(FreezeCall(name=name, run_id="1", start=header.start, at=header.at))
    assert again.spec.operation == "reconcile"


async def test_a_strategy_that_does_nothing_cannot_start(scene: Scene) -> None:
    with pytest.raises(CampaignInvalid, match="does not say what to do"):
        await scene.freeze(source=STRATEGY.replace("  operation: reconcile\n  promise: postgres\n", ""))


async def ended(scene: Scene) -> CampaignState:
    """A campaign whose first target failed, and whose others were not attempted."""
    frozen = await scene.freeze(source=MANIFEST.replace("gate: {approval: {roles: [sre], count: 2}}", "soak: 1m"))
    keys = tuple(TargetKey(team="payments") for _ in range(3))
    state = new_campaign(frozen.rules)
    abort = Abort(request_id="a", by="ada")
    answers = [AttemptAccepted(target=0, attempt=1, operation=1), abort]
    for event in (Tick(), Calendar(), PageLoaded(page=0, targets=keys), *answers):
        state, _ = decide(state, event, NOW)
    state, _ = decide(state, AttemptFinished(target=0, attempt=1, status=OperationStatus.FAILED), NOW)
    assert "".join(state.pages) == "FNN"
    return state


async def test_a_linked_retry_takes_what_failed_as_it_stood_at_first(scene: Scene) -> None:
    state = await ended(scene)
    linked = Linked(campaign="fix", verb="retry", which="failed")
    with pytest.raises(Refused, match="has not ended"):
        await scene.freeze("again", linked=linked)
    await scene.store.campaigns.record(LedgerBatch(campaign="fix", number=1, state=state))
    scene.fleet = [row("a", version="1.0.1"), row("b"), row("c")]
    frozen = await scene.freeze("again", linked=linked)
    assert frozen.rules.size == 1
    [target] = await scene.store.campaigns.targets("again")
    assert (target.service, target.version) == ("payments/a", "1.0.0")


async def test_a_linked_rollback_names_what_it_undoes_and_rolls_back_no_rollback(scene: Scene) -> None:
    state = await ended(scene)
    await scene.store.campaigns.record(LedgerBatch(campaign="fix", number=1, state=state))
    frozen = await scene.freeze("back", linked=Linked(campaign="fix", verb="rollback", which="failed"))
    assert (frozen.job.operation, frozen.job.undoes) == (OperationKind.ROLLBACK, "fix")
    assert (frozen.rules.size, frozen.rules.on_failure) == (1, "pause")


WHOLE_PLATFORM = """\
apiVersion: bondstone.dev/v1
kind: Campaign
metadata: {name: drift, owner: platform, reason: drift}
spec:
  operation: reconcile
  waves: [{name: all, rest: true}]
"""
"""As it could be written before a campaign over everything had to say so."""


async def test_what_was_accepted_before_a_rule_continues_under_it(scene: Scene) -> None:
    call = FreezeCall(
        name="drift", run_id="1", start=CampaignInput(source=WHOLE_PLATFORM, requested_by="ada"), at=NOW
    )
    assert read(call).metadata.name == "drift"  # what a running campaign asks its calendar by
    frozen = await scene.freeze("nightly-20261124", source=WHOLE_PLATFORM, schedule="nightly")
    assert frozen.rules.size == 3


async def test_a_new_campaign_over_everything_says_so_even_when_the_sdk_starts_it(scene: Scene) -> None:
    with pytest.raises(CampaignInvalid, match="says so"):
        await scene.freeze("drift", source=WHOLE_PLATFORM)
