"""Supervision of one process: ready, restarted with backoff, ended."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import textwrap

import psutil
import pytest

from bondstone.base.errors import OperationFailed
from bondstone.workers import child as children
from bondstone.workers.child import Child, Command
from harness.waiting import until

READY = """
import os, time
print("hello", flush=True)
with os.fdopen(int(os.environ["BOND_READY_FD"]), "w") as pipe:
    pipe.write('{"ready": true}\\n{"versions": {"tool": "1.2"}}\\n')
"""
SLEEP = READY + "time.sleep(60)\n"


@pytest.fixture
def messages():
    return []


@pytest.fixture
def make(tmp_path, messages):
    def _make(code, **options):
        command = Command("thing", (sys.executable, "-c", textwrap.dedent(code)), dict(os.environ), **options)
        return Child(command, tmp_path, lambda: None, messages.append)

    return _make


async def running(child):
    task = asyncio.create_task(child.keep_running())
    ready = asyncio.create_task(child.ready.wait())
    await asyncio.wait([task, ready], return_when=asyncio.FIRST_COMPLETED, timeout=120)
    assert child.ready.is_set()
    return task


async def test_a_process_is_ready_when_it_says_so_and_may_say_more(make, tmp_path):
    child = make(SLEEP)
    task = await running(child)
    await until(lambda: child.versions)
    assert child.versions == {"tool": "1.2"}
    assert child.state.status == "running"
    assert child.state.alive
    await child.stop(5)
    await task
    assert not child.state.alive
    assert "hello" in (tmp_path / "thing.log").read_text()


async def test_a_process_with_a_port_is_ready_when_it_listens(make):
    code = "import socket, time; s = socket.create_server(('127.0.0.1', {port})); time.sleep(60)"
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    child = make(code.format(port=port), port=port)
    task = await running(child)
    await child.stop(5)
    await task


async def test_one_that_dies_is_started_again_and_said(make, messages):
    child = make(SLEEP)
    task = await running(child)
    first = child.state.pid
    os.kill(first, signal.SIGKILL)
    await until(lambda: child.state.pid != first and child.state.status == "running")
    assert child.state.restarts == 1
    assert messages == ["thing ended (killed by SIGKILL); starting it again in 0.2 s", "thing runs again"]
    await child.stop(5)
    await task


async def test_the_pause_doubles_while_it_keeps_dying(make, messages, monkeypatch):
    monkeypatch.setattr(children, "FIRST_BACKOFF_SECONDS", 0.1)
    monkeypatch.setattr(children, "MAX_BACKOFF_SECONDS", 0.2)
    child = make(READY)
    task = asyncio.create_task(child.keep_running())
    await until(lambda: sum("starting it again" in text for text in messages) == 3)
    pauses = [text.rpartition("in ")[2] for text in messages if "starting it again" in text]
    assert pauses == ["0.1 s", "0.2 s", "0.2 s"]
    await child.stop(5)
    await task


async def test_one_that_was_never_ready_is_not_started_again_but_shown(make):
    child = make("import sys; sys.exit('no such thing')")
    with pytest.raises(OperationFailed, match="thing did not start: exit status 1\n    no such thing") as caught:
        await child.keep_running()
    assert caught.value.where.endswith("thing.log")


async def test_one_that_could_not_start_for_a_passing_reason_is_tried_again(make, tmp_path):
    tried = tmp_path / "tried"
    code = f"""
import pathlib, sys
tried = pathlib.Path({str(tried)!r})
if not tried.exists():
    tried.touch()
    sys.exit("address already in use")
"""
    child = make(code + SLEEP, passing="already in use")
    task = await running(child)
    await child.stop(5)
    await task


async def test_a_passing_reason_that_does_not_pass_is_shown(make, tmp_path):
    began = tmp_path / "began"
    child = make(
        f"import sys\nopen({str(began)!r}, 'a').write('.')\nsys.exit('address already in use')",
        passing="already in use",
    )
    with pytest.raises(OperationFailed, match=r"did not start: exit status 1\n.*address already in use"):
        await child.keep_running()
    assert began.read_text() == "..."


async def test_a_program_that_is_not_there_is_said_in_words(make, tmp_path):
    child = Child(Command("thing", ("/no/such/program",), {}), tmp_path, lambda: None, lambda _text: None)
    with pytest.raises(OperationFailed, match="cannot be started: No such file"):
        await child.keep_running()


async def test_one_that_does_not_end_is_ended_after_the_grace(make, messages):
    child = make("import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)" + SLEEP)
    task = await running(child)
    await child.stop(0.2)
    await task
    assert not child.state.alive
    assert "did not end within" in messages[-1]


async def test_a_log_that_grew_too_long_is_moved_aside_while_it_is_written(make, tmp_path, monkeypatch):
    monkeypatch.setattr(children, "LOG_BYTES", 3)
    child = make(
        READY + "import sys; sys.stdin.read(); time.sleep(0.2); print('later', flush=True); time.sleep(60)"
    )
    task = await running(child)
    await until(lambda: "hello" in (tmp_path / "thing.log").read_text())
    child.bound_log()
    assert (tmp_path / "thing.log.1").read_text() == "hello\n"
    await until(lambda: (tmp_path / "thing.log").read_text() == "later\n")
    await child.stop(5)
    await task


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="parent-death signals are Linux's")
def test_children_end_with_a_supervisor_that_is_killed(tmp_path):
    code = """
    import asyncio, os, sys
    from pathlib import Path
    from bondstone.workers.child import Child, Command
    async def main():
        command = Command("thing", (sys.executable, "-c", "import time; time.sleep(60)"), dict(os.environ))
        child = Child(command, Path(sys.argv[1]), lambda: print(child.state.pid, flush=True), print)
        await child.keep_running()
    asyncio.run(main())
    """
    supervisor = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code), str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    pid = int(supervisor.stdout.readline())
    orphan = psutil.Process(pid)
    supervisor.kill()
    supervisor.communicate()
    orphan.wait(60)
