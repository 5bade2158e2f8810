"""`bond up`, `down` and `status` as a person runs them: real processes, a real Temporal, real signals."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
from temporalio.client import Client, WorkflowExecutionStatus

from bondstone.activities.tooling import landlock
from bondstone.base.platform_file import Platform, lock_holder
from harness.waiting import wait_until

pytestmark = pytest.mark.integration

PATIENCE_SECONDS = 240
STATUS_FIELDS = {
    "healthy", "embedded", "status", "data", "since", "pid", "versions", "temporal", "ui", "api", "store",
    "processes", "queues", "problem", "sandbox",
}  # fmt: skip


def command(data, *arguments, python=sys.executable, fork=True):
    # In one word it starts Python, and so does the platform; in two, both are forks, see harness.warm_workers.
    module = ["-m", "bondstone.cli.app"] if fork else ["-mbondstone.cli.app"]
    return [python, *module, *arguments, "--data", str(data)]


def environment(**changes):
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("BOND_", "TEMPORAL_"))}
    return {**kept, "BOND_DRAIN_SECONDS": "2", **changes}


def bond(data, *arguments, expect=0, python=sys.executable, fork=True, **changes):
    done = subprocess.run(
        command(data, *arguments, python=python, fork=fork),
        capture_output=True,
        text=True,
        timeout=2 * PATIENCE_SECONDS,
        env=environment(**changes),
        check=False,
    )
    assert done.returncode == expect, done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    return done


def status(data, expect=0, *, fork=True):
    return json.loads(bond(data, "status", "-o", "json", expect=expect, fork=fork).stdout)


def get(url):
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:  # noqa: S310 - of the platform file
            return answer.status
    except urllib.error.HTTPError as refused:
        with refused:
            return refused.code


def error(done):
    return json.loads(done.stderr)["error"]


def process(data, name):
    return next(processe for processe in Platform.read(data).processes if processe.name == name)


@pytest.fixture
def data(tmp_path):
    """A data directory whose platform is gone after the test, however it went."""
    yield tmp_path / "platform"
    platform = Platform.read(tmp_path / "platform")
    if platform is not None and platform.alive:
        os.kill(platform.pid, signal.SIGTERM)
        os.kill(platform.pid, signal.SIGTERM)
    for left in platform.processes if platform else ():
        if left.alive:
            psutil.Process(left.pid).kill()


async def client_of(data):
    return await Client.connect(Platform.read(data).settings["temporal_address"])


async def start_something(data):
    client = await client_of(data)
    await client.start_workflow("Anything", id="kept", task_queue="nobody-polls-this")
    await client.start_workflow("Provision", id="service/shop/carts/op/3", task_queue="nobody-polls-this")
    await client.start_workflow("Campaign", id="campaign/cve-1", task_queue="nobody-polls-this")


async def is_still_there(data):
    description = await (await client_of(data)).get_workflow_handle("kept").describe()
    return description.status is WorkflowExecutionStatus.RUNNING


def test_up_status_down_and_up_again_on_the_same_data(data):
    up = bond(data, "up", "--detach", "--port", "0", fork=False)
    assert up.stdout.startswith("Bondstone is ready in ")
    assert "continue" not in up.stdout, "a new platform has nothing that could"
    platform = Platform.read(data)
    assert platform.settings["temporal_ui"] in up.stdout
    assert stat(data) == 0o700
    for name in ("keys.json", "platform.json", "temporal.db"):
        assert stat(data / name) == 0o600, name

    view = status(data, fork=False)
    assert view.keys() == STATUS_FIELDS
    assert view["healthy"] is True
    assert view["sandbox"].startswith("Landlock " if landlock.abi() else "none (this kernel")
    assert [row["name"] for row in view["processes"]][:2] == ["supervisor", "temporal"]
    assert {row["status"] for row in view["processes"]} == {"running"}
    assert {row["queue"]: row["workers"] > 0 for row in view["queues"]} == {
        "bond-control": True,
        "pool/default": True,
    }
    assert "Terraform" in view["versions"]["terraform"] or "OpenTofu" in view["versions"]["terraform"]
    assert "Server" in view["versions"]["temporal"]
    assert get(f"{platform.settings['api']}/healthz") == 200
    assert get(f"{platform.settings['api']}/api/v1/services") == 401
    assert stat(data / "api-token") == 0o600
    asyncio.run(start_something(data))

    busy = bond(data, "up", "--port", "0", "-o", "json", expect=4)
    assert error(busy)["code"] == "PLATFORM_BUSY"
    assert str(platform.pid) in error(busy)["message"]
    assert busy.stdout == ""

    down = bond(data, "down", fork=False)
    assert "stopped" in down.stdout
    assert not any(left.alive for left in platform.processes)
    assert status(data, expect=6)["status"] == "stopped"
    assert "no platform runs" in bond(data, "down").stderr

    again = bond(data, "up", "--detach", "--port", "0")
    assert asyncio.run(is_still_there(data))
    assert "2 continue where they stood:\n" in again.stdout
    assert "\n  shop/carts/op/3 (provision, running)\n" in again.stdout
    assert "\n  campaign cve-1\n" in again.stdout
    bond(data, "down")


def test_whatever_is_killed_comes_back_and_nothing_is_lost(data):
    bond(data, "up", "--detach", "--port", "0", fork=False)
    asyncio.run(start_something(data))
    for name in ("temporal", "executor", "control", "api"):
        before = process(data, name)
        os.kill(before.pid, signal.SIGKILL)
        wait_until(
            lambda name=name, before=before: (
                (now := process(data, name)).pid != before.pid and now.status == "running"
            ),
            f"{name} came back",
        )
        assert process(data, name).restarts == 1
    wait_until(lambda: bond_is_healthy(data), "healthy again")
    assert "starting it again" in (data / "log" / "supervisor.log").read_text()
    assert asyncio.run(is_still_there(data))

    before = Platform.read(data)
    if sys.platform.startswith("linux"):  # a process with threads would have started Python for them
        assert len(psutil.Process(before.pid).threads()) == 1
        names = {each.name: psutil.Process(each.pid).name() for each in before.processes}
        assert names == {name: name.partition("-")[0] for name in names}
        for name in ("control", "executor", "api"):
            command_line = " ".join(psutil.Process(process(data, name).pid).cmdline())
            assert f"-m bondstone.workers.{name}" in command_line
    port = before.settings["temporal_address"].rpartition(":")[2]
    os.kill(before.pid, signal.SIGKILL)
    bond(data, "up", "--detach", "--port", port)  # at once: the orphans may still be there
    assert process(data, "temporal").pid != before.processes[0].pid
    assert status(data)["healthy"] is True
    assert asyncio.run(is_still_there(data))
    assert not before.processes[0].alive
    bond(data, "down")
    wait_until(lambda: not any(left.alive for left in before.processes), "no orphan stays")


def bond_is_healthy(data):
    if Platform.read(data) is None:  # else another platform on the default port would answer
        return False
    done = subprocess.run(command(data, "status"), capture_output=True, env=environment(), check=False, timeout=60)
    return done.returncode == 0


@contextmanager
def interactive(data, *arguments, interrupts=signal.default_int_handler):
    """A command in the foreground, ended with all that it started; what Ctrl-C does is set, not inherited."""
    ours = signal.signal(signal.SIGINT, interrupts)  # ignored is inherited, a handler becomes the default
    try:
        process = subprocess.Popen(
            command(data, *arguments, fork=False),  # a fork would not inherit what Ctrl-C does
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment(),
        )
    finally:
        signal.signal(signal.SIGINT, ours)
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()  # its children end with it
            process.communicate()


def test_in_the_foreground_ctrl_c_stops_everything_in_order(data):
    # As a shell starts its background jobs, and as `nohup make test &` in CI does; the next test inherits nothing.
    with interactive(data, "up", "--port", "0", interrupts=signal.SIG_IGN) as running:
        out = "".join(
            iter(running.stdout.readline, "Next: `bond demo`, or `bond promise list`. Ctrl-C stops it.\n")
        )
        assert lock_holder(data) == running.pid
        children = Platform.read(data).processes
        running.send_signal(signal.SIGINT)
        _, err = running.communicate(timeout=PATIENCE_SECONDS)
    assert running.returncode == 0
    assert "http://127.0.0.1:" in out
    assert "stopping" in err
    assert not any(child.alive for child in children)
    log = [json.loads(line)["event"] for line in (data / "log" / "supervisor.log").read_text().splitlines()]
    assert log[-2:] == ["stopping", "stopped"]
    assert "stopped" in (data / "log" / "control.log").read_text()


def test_ctrl_c_while_starting_stops_too(data):
    with interactive(data, "up", "--port", "0") as running:
        wait_until(lambda: (platform := Platform.read(data)) and platform.processes, "something started")
        running.send_signal(signal.SIGINT)
        running.communicate(timeout=PATIENCE_SECONDS)
    assert running.returncode == 0
    assert not any(child.alive for child in Platform.read(data).processes)


@pytest.mark.parametrize("detach", [[], ["--detach"]])
def test_a_port_in_use_is_said_in_words(data, detach):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        if port > 64535:
            pytest.skip("the system chose a port that can have no UI beside it")
        done = bond(data, "up", "--port", str(port), *detach, expect=4)
    assert done.stderr.startswith(f"error[PLATFORM_BUSY]: port {port} for Temporal is in use by ")
    assert "--port N" in done.stderr


def test_a_missing_binary_is_said_in_words(data, tmp_path):
    # A virtual environment with everything but the temporal binary, and nothing else on PATH.
    real = Path(sys.prefix)
    (tmp_path / "venv" / "bin").mkdir(parents=True)
    shutil.copy(real / "pyvenv.cfg", tmp_path / "venv")
    (tmp_path / "venv" / "lib").symlink_to(real / "lib")
    python = tmp_path / "venv" / "bin" / "python"
    python.symlink_to(sys.executable)
    done = bond(data, "up", "-o", "json", expect=1, python=str(python), PATH=str(tmp_path))
    assert error(done)["code"] == "TOOL_UNAVAILABLE"
    assert "bondstone[local]" in error(done)["hint"]


def test_a_disk_without_room_is_said_in_words(tmp_path):
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", str(tmp_path)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("making a small disk needs root; the check itself has a unit test")
    try:
        done = bond(tmp_path / "platform", "up", "--port", "0", expect=6)
        assert done.stderr.startswith("error[STORE_UNAVAILABLE]: the disk has 1")
        assert "another disk" in done.stderr
    finally:
        subprocess.run(["umount", "-l", str(tmp_path)], check=True)


def test_a_worker_that_cannot_start_fails_the_start_with_its_reason(data):
    data.mkdir()
    (data / "keys.json").write_text("{}")
    (data / "keys.json").chmod(0o600)
    done = bond(data, "up", "--port", "0", "--detach", expect=1)
    assert "did not start: exit status 2" in done.stderr
    assert "the key ring file is not valid" in done.stderr
    assert not any(child.alive for child in Platform.read(data).processes)


def test_config_show_says_where_each_value_comes_from_and_masks_credentials(data):
    data.mkdir()
    (data / "platform.json").write_text(json.dumps({"settings": {"temporal_ui": "http://ui"}}))
    done = bond(
        data, "config", "show", "-o", "json", BOND_STORE="s3://key:c4nary@bucket/x", BOND_LOG_LEVEL="debug"
    )
    shown = json.loads(done.stdout)
    assert shown["store"] == {"value": "s3://***@bucket/x", "origin": "BOND_STORE"}
    assert shown["log_level"] == {"value": "debug", "origin": "BOND_LOG_LEVEL"}
    assert shown["data"]["origin"] == "--data"
    assert shown["pools"] == {"value": ["default"], "origin": "default"}
    assert "c4nary" not in bond(data, "config", "show", BOND_STORE="s3://key:c4nary@bucket/x").stdout


def stat(path):
    return path.stat().st_mode & 0o777
