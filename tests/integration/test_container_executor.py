"""The container executor with a real engine: podman and runc, and an image from scratch."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import uuid
from pathlib import Path

import psutil
import pytest
from container_kit import Bench, shown

from bondstone.base.errors import InvalidInput, PlanStale, StepTimedOut, ToolFailed, ToolUnavailable
from harness.waiting import until

pytestmark = [pytest.mark.integration, pytest.mark.timeout(600)]

SECRET = "canary-of-a-container-9120"


@pytest.fixture
async def bench(tmp_path: Path, containers) -> Bench:
    name = f"thing-{uuid.uuid4().hex[:8]}"
    made = await Bench.open(tmp_path, containers.command, containers.image, containers.things.url, name)
    yield made
    assert containers.names() == [], "no container is left"
    left = [path for path in (tmp_path / "data").rglob("bond-*") if path.is_dir()]
    assert left == [], "no directory is left"


def made_thing(bench: Bench, containers):
    return containers.things.space(bench.service.name).get("thing")


def begun(bench: Bench, containers) -> int:
    return containers.things.begun.get(bench.service.name, 0)


async def test_a_thing_is_made_changed_looked_after_and_taken_down(bench: Bench, containers):
    planned = await bench.plan()
    assert (shown(planned), planned.document["partial"]) == ([("create", "thing")], False)
    assert planned.tool.startswith("podman ")
    assert made_thing(bench, containers) is None
    outcome = await bench.apply(planned)
    assert {name: output.value for name, output in outcome.outputs.items()} == {"colour": "blue", "version": "1"}
    assert made_thing(bench, containers) == {"colour": "blue", "version": "1"}
    assert (await bench.plan()).empty

    red = {"inputs": {"colour": "red"}}
    changed = await bench.plan(**red)
    assert shown(changed) == [("update", "thing")]
    assert (await bench.apply(changed, **red)).outputs["colour"].value == "red"
    assert (await bench.drift(**red)).changes == []
    made_thing(bench, containers)["colour"] = "pink"
    [drifted] = (await bench.drift(**red)).changes
    assert (drifted.before["colour"], drifted.after["colour"]) == ("red", "pink")

    gone = await bench.plan_destroy(**red)
    assert shown(gone) == [("delete", "thing")]
    await bench.apply(gone, **red)
    assert made_thing(bench, containers) is None
    assert bench.executor.held(json.dumps(await bench.record()).encode()) == ()
    assert (await bench.plan_destroy(**red)).empty


async def test_an_image_that_cannot_plan_has_a_plan_of_unknown_effect(bench: Bench, containers):
    only = {"actions": ("apply",)}
    planned = await bench.plan(**only)
    assert [(change.action, change.unknown) for change in planned.changes] == [("create", ("effect",))]
    assert planned.document["partial"] is True
    await bench.apply(planned, **only)
    assert (await bench.plan(**only)).empty, "it is told the same"
    assert not (await bench.plan(**only, inputs={"colour": "red"})).empty
    assert not (await bench.drift(**only)).changes
    gone = await bench.plan_destroy(**only)
    assert shown(gone) == [("forget", "container")]
    await bench.apply(gone, **only)
    assert made_thing(bench, containers) is not None


async def test_secrets_are_files_and_in_no_command_line_inspection_or_log(
    bench: Bench, containers, tmp_path: Path
):
    section = {
        "files": {"key": SECRET},
        "outputs": {"key": {"sensitive": True}},
        "secrets": (SECRET,),
        "inputs": {"slow_seconds": 1},
    }
    applying = asyncio.create_task(bench.provision(**section))
    await until(lambda: begun(bench, containers), "it has begun")
    [name] = containers.names()
    observed = containers.engine("inspect", name)
    observed += "".join(" ".join(process.info["cmdline"] or ()) for process in psutil.process_iter(["cmdline"]))
    assert (await applying).outputs["key"].value == SECRET
    assert "slow_seconds" not in observed
    assert SECRET not in observed + "\n".join(bench.log)
    for visible in ({"env": {"KEY": SECRET}}, {"command": (f"--key={SECRET}",)}):
        with pytest.raises(InvalidInput, match="would show a secret"):
            await bench.plan(**visible, secrets=(SECRET,))
    kept = [file for file in (tmp_path / "data").rglob("*") if file.is_file()]
    assert [file for file in kept if SECRET.encode() in file.read_bytes()] == []


@pytest.mark.parametrize(
    ("inputs", "section", "error", "words"),
    [
        ({"exit": 3}, {}, PlanStale, "its plan is stale: told to fail"),
        ({"exit": 75}, {}, ToolUnavailable, "for the moment: told to fail"),
        ({"exit": 4}, {}, ToolFailed, r"failed to apply \(exit code 4\): told to fail"),
        ({"memory_mib": 400}, {"memory_mib": 64}, ToolFailed, "exceeded its memory limit|was killed"),
        ({"slow_seconds": 300}, {"time": "2s"}, StepTimedOut, "not ended within 2 s"),
    ],
)
async def test_how_it_fails_is_said(bench: Bench, inputs, section, error, words):
    planned = await bench.plan(inputs=inputs, **section)
    with pytest.raises(error, match=words):
        await bench.apply(planned, inputs=inputs, **section)


async def test_a_cancel_stops_the_container(bench: Bench, containers):
    planned = await bench.plan(inputs={"slow_seconds": 300})
    applying = asyncio.create_task(bench.apply(planned))
    await until(lambda: begun(bench, containers), "it has begun")
    applying.cancel()
    with pytest.raises(asyncio.CancelledError):
        await applying
    assert made_thing(bench, containers) is None


async def killed_worker(bench: Bench, containers, planned, tmp_path: Path) -> None:
    (tmp_path / "plan").write_bytes(planned.artefact)
    script = str(Path(__file__).with_name("container_victim.py"))
    told = [str(tmp_path), containers.command, containers.image, containers.things.url, bench.service.name]
    victim = await asyncio.create_subprocess_exec(
        sys.executable, script, *told, str(planned.position), start_new_session=True
    )
    await until(lambda: begun(bench, containers), "it has begun")
    os.killpg(victim.pid, signal.SIGKILL)
    await victim.wait()


async def test_the_container_of_a_killed_worker_is_waited_for_and_nothing_is_done_twice(
    bench: Bench, containers, tmp_path: Path
):
    planned = await bench.plan(inputs={"slow_seconds": 4})
    await killed_worker(bench, containers, planned, tmp_path)
    outcome = await bench.apply(planned)
    assert outcome.outputs["colour"].value == "blue"
    assert (begun(bench, containers), made_thing(bench, containers)["colour"]) == (1, "blue")
    assert any("waiting for it" in line for line in bench.log)
    # an answer that got lost is given again, and runs nothing
    assert (await bench.apply(planned)).outputs["colour"].value == "blue"
    assert begun(bench, containers) == 1


@pytest.mark.parametrize("killed", ["container", "engine"])
async def test_a_killed_container_or_engine_is_said_and_nothing_is_run_again_unasked(
    bench: Bench, containers, killed
):
    planned = await bench.plan(inputs={"slow_seconds": 300})
    applying = asyncio.create_task(bench.apply(planned))
    await until(lambda: begun(bench, containers), "it has begun")
    [name] = containers.names()
    if killed == "container":
        os.kill(int(containers.engine("inspect", name, "--format={{.State.Pid}}")), signal.SIGKILL)
    else:
        os.kill(int(containers.engine("inspect", name, "--format={{.State.ConmonPid}}")), signal.SIGKILL)
        os.kill(int(containers.engine("inspect", name, "--format={{.State.Pid}}")), signal.SIGKILL)
    with pytest.raises(ToolFailed, match=r"was killed during apply|failed to apply"):
        await applying
    assert (begun(bench, containers), made_thing(bench, containers)) == (1, None)
    await bench.provision()
    assert made_thing(bench, containers)["colour"] == "blue"


async def test_a_container_is_locked_up(bench: Bench, containers):
    applying = asyncio.create_task(bench.provision(inputs={"slow_seconds": 2}, memory_mib=64, network="pool"))
    await until(lambda: begun(bench, containers), "it has begun")
    [name] = containers.names()
    pid = containers.engine("inspect", name, "--format={{.State.Pid}}").strip()
    status = await asyncio.to_thread(Path("/proc", pid, "status").read_text)
    lines = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    [inspected] = json.loads(containers.engine("inspect", name))
    host, mounts = inspected["HostConfig"], {each["Destination"]: each["RW"] for each in inspected["Mounts"]}
    await applying
    assert mounts == {"/bond/input": False, "/bond/output": True}, "nothing else of the host is there"
    assert (lines["CapEff"], lines["CapBnd"], lines["NoNewPrivs"]) == ("0" * 16, "0" * 16, "1")
    assert lines["Uid"].split() == ["65534"] * 4
    assert (host["Memory"], host["ReadonlyRootfs"], host["PidsLimit"]) == (64 << 20, True, 256)
    with pytest.raises(ToolUnavailable, match="dial tcp"):
        await bench.plan(network="none")
