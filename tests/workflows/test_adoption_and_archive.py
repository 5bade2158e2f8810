"""What a service begins with, and what is kept of it: adopted states, retained things."""

from __future__ import annotations

import pytest
from fakes import Caller, FakePlatform, raising, serving, spec
from temporalio.client import Client

from bondstone.base import names
from bondstone.base.errors import AlreadyExists, InvalidInput, ToolFailed
from bondstone.model.service import AbandonCall, DayTwo, OperationKind, OperationStatus
from bondstone.model.step import AdoptCall, PutAwayCall

KEPT = ("the last state of step main (archive/x)",)


async def test_what_a_decommission_keeps_is_in_its_record_and_in_the_ledger(temporal: Client) -> None:
    platform = FakePlatform(retained=KEPT, day_two=DayTwo(state_after="erase", secrets_after="archive"))
    async with serving(temporal, platform):
        caller = Caller(temporal)
        await caller.ended((await caller.request()).number)
        accepted = await caller.request(kind=OperationKind.DECOMMISSION, promise="")
        record = await caller.ended(accepted.number)
    assert record.status is OperationStatus.SUCCEEDED
    assert record.retained == platform.ledger[-1].retained == KEPT
    (call,) = [call for call in platform.calls if isinstance(call, PutAwayCall)]
    assert (call.state, call.secrets, call.sequence) == ("erase", "archive", f"op-{accepted.number}")


async def test_what_is_abandoned_keeps_its_state_and_secrets_and_leaves_none_to_the_next(temporal: Client) -> None:
    platform = FakePlatform(retained=KEPT)
    async with serving(temporal, platform):
        caller = Caller(temporal)
        await caller.ended((await caller.request()).number)
        await caller.update(names.UPDATE_ABANDON, AbandonCall(reason="kept by hand"), type(None))
    assert platform.log[-2].startswith("put away")
    assert platform.ledger[-1].retained == KEPT
    (call,) = [call for call in platform.calls if isinstance(call, PutAwayCall)]
    assert (call.state, call.secrets) == ("archive", "archive")


async def test_states_are_adopted_before_anything_is_planned_and_again_by_a_retry(temporal: Client) -> None:
    platform = FakePlatform(scripts={"apply main": [raising(ToolFailed("no"))]})
    states = {"main": "adopt/payments/x/1/main"}
    async with serving(temporal, platform):
        caller = Caller(temporal)
        await caller.ended((await caller.request(adopt=states)).number)
        assert platform.log[:3] == ["resolve", "adopt", "plan main"]
        accepted = await caller.request(promise="", retry=True)
        assert (await caller.ended(accepted.number)).status is OperationStatus.SUCCEEDED
        with pytest.raises(AlreadyExists, match="exists already"):
            await caller.request(adopt=states)
    adoptions = [call for call in platform.calls if isinstance(call, AdoptCall)]
    assert [call.states for call in adoptions] == [states, states]


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"adopt": {"nope": "adopt/x"}}, "which does not run"),
        ({"adopt": {"later": "adopt/x"}}, "which does not run"),
        ({"adopt": {"main": "adopt/x"}, "dry_run": True}, "cannot be a dry run"),
        ({"adopt": {"main": "adopt/x"}, "on_failure": "destroy"}, "nor destroy"),
        ({"adopt": {"main": "adopt/x"}, "kind": OperationKind.UPDATE}, "only the first request"),
    ],
)
async def test_an_adoption_that_cannot_be_is_refused(temporal: Client, fields: dict, words: str) -> None:
    platform = FakePlatform(steps=(spec("main"), spec("later", skip=True)))
    async with serving(temporal, platform):
        with pytest.raises(InvalidInput, match=words):
            await Caller(temporal).request(**fields)
    assert "adopt" not in platform.log
