"""A fork is what Python would have started: command line, streams, descriptors, signals, session, exit status.

The process of the tests has threads and must not fork, so each test has a process of its own that does.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap

import psutil
import pytest

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="forks on Linux only")

HEAD = """
import asyncio, fcntl, gc, json, os, signal, sys, threading
from bondstone.base.forking import Start, can_fork, end_with, load, spawn

def start(run=None, **options):
    command = (sys.executable, "-m", "bondstone.workers.control", "one", "two")
    return spawn(Start(command, **{"environment": {"ONLY": "this"}, "output": 1, **options}), run)
"""


def program(code, *arguments):
    return [sys.executable, "-c", HEAD + textwrap.dedent(code), *arguments]


def ran(code, *arguments, status=0):
    done = subprocess.run(program(code, *arguments), capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == status, done.stdout + done.stderr
    return done.stdout


def test_it_has_its_own_command_line_streams_descriptors_signals_and_session(tmp_path):
    code = """
    log = open(sys.argv[1], "w")
    fcntl.flock(log, fcntl.LOCK_EX)
    reader, writer = os.pipe()

    def describe():
        held = {int(fd): os.readlink(f"/proc/self/fd/{fd}") for fd in os.listdir("/proc/self/fd")
                if os.path.exists(f"/proc/self/fd/{fd}")}
        json.dump({
            "argv": sys.argv, "environment": dict(os.environ), "parent": os.getppid(), "session": os.getsid(0),
            "pid": os.getpid(), "held": {fd: path for fd, path in held.items() if path != os.devnull},
            "handlers": [str(signal.getsignal(each)) for each in (signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1)],
            "interrupt": interrupt,
            "blocked": list(signal.pthread_sigmask(signal.SIG_BLOCK, ())), "collects": gc.isenabled(),
            "shown": open("/proc/self/cmdline").read().rstrip("\\0").split("\\0"),
            "name": open("/proc/self/comm").read().strip(), "writer": writer, "input": sys.stdin.read(),
        }, sys.stdout)
        return 7

    def run():
        global interrupt
        interrupt = signal.getsignal(signal.SIGINT) is signal.default_int_handler  # before asyncio has its own
        return asyncio.run(asyncio.to_thread(describe))

    async def main():
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, print)
        signal.signal(signal.SIGHUP, lambda *_: print)
        signal.signal(signal.SIGUSR1, signal.SIG_IGN)
        gc.disable()
        pid, reap = start(run, keep=(writer,))
        status = reap()
        print("\\n" + json.dumps([pid, os.getpid(), status]))

    asyncio.run(main())
    """
    # Room for the command line of the fork is what the parent's takes.
    lines = ran(code, str(tmp_path / "log"), "a longer command line than that of any worker of ours").splitlines()
    told, (pid, parent, status) = json.loads(lines[0]), json.loads(lines[1])
    assert status == 7
    assert (told["pid"], told["parent"], told["session"]) == (pid, parent, pid)
    assert told["argv"] == ["bondstone.workers.control", "one", "two"]
    assert told["environment"] == {"ONLY": "this"}
    assert told["handlers"] == ["0", "0", "1"]
    assert told["interrupt"]
    assert told["blocked"] == []
    assert told["collects"]
    assert told["shown"] == ["python", "-m", "bondstone.workers.control", "one", "two"]
    assert told["name"] == "control"
    assert told["input"] == ""
    assert str(told["writer"]) in told["held"]
    assert "log" not in {os.path.basename(path) for path in told["held"].values()}  # noqa: PTH119 - of a link
    of_the_parent = {fd for fd, path in told["held"].items() if path.startswith(("anon_inode", "socket", "pipe"))}
    # Its output, the end it was to keep, and what asyncio in the fork itself made.
    assert len(of_the_parent) <= 2 + 1 + 3


def test_the_lock_of_a_killed_parent_is_free_while_its_fork_lives(tmp_path):
    code = """
    log = open(sys.argv[1], "w")
    fcntl.flock(log, fcntl.LOCK_EX)

    def live():
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
        print(os.getpid(), flush=True)
        told = signal.sigtimedwait([signal.SIGTERM], 60)
        print("told to end" if told else "not told", flush=True)
        return 0

    pid, reap = start(live)
    reap()
    """
    with subprocess.Popen(program(code, str(tmp_path / "lock")), stdout=subprocess.PIPE, text=True) as parent:
        fork = psutil.Process(int(parent.stdout.readline()))
        lock = subprocess.run(["flock", "-n", str(tmp_path / "lock"), "true"], check=False)
        assert lock.returncode, "the parent holds it"
        fork.suspend()
        parent.kill()
        parent.wait()
        subprocess.run(["flock", "-n", str(tmp_path / "lock"), "true"], check=True)
        fork.resume()
        assert parent.stdout.readline() == "told to end\n"
        fork.wait(60)


@pytest.mark.parametrize(
    ("body", "status", "output"),
    [
        ("sys.exit(3)", 3, ""),
        ("sys.exit(None)", 0, ""),
        ("raise ValueError('no such thing')", 1, "ValueError: no such thing"),
        ("os.kill(os.getpid(), signal.SIGKILL)", -signal.SIGKILL, ""),
    ],
)
def test_it_ends_as_the_interpreter_would(body, status, output):
    text = ran(f"def run():\n    {body}\n_, reap = start(run)\nprint(reap())")
    assert text.splitlines()[-1] == str(int(status))
    assert output in text


@pytest.mark.parametrize("end", ["sys.stdout = None", "logging.shutdown = interrupt"])
def test_it_ends_in_any_case_and_never_continues_as_its_parent(end):
    code = f"""
    import logging

    def interrupt():
        raise KeyboardInterrupt

    def run():
        {end}
        return 3

    try:
        _, reap = start(run)
    except BaseException:
        os._exit(77)
    print(reap())
    """
    assert ran(code) == "3\n"


def test_a_process_without_standard_streams_forks():
    code = """
    text, sys.stdout = sys.stdout, None
    _, reap = start(lambda: 3)
    print(reap(), file=text, flush=True)
    """
    assert ran(code) == "3\n"


def test_its_end_is_noticed_where_signals_of_children_are_ignored():
    code = """
    from bondstone.workers.starting import Started
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)

    async def main():
        async with asyncio.timeout(60):
            print(await Started(*start(lambda: 3)).wait())

    asyncio.run(main())
    """
    assert ran(code) == "255\n"


def test_a_process_with_a_thread_starts_python_instead():
    code = """
    threading.Thread(target=threading.Event().wait, daemon=True).start()
    assert not can_fork()
    command = (sys.executable, "-m", "bondstone.workers.health")
    _, reap = spawn(Start(command, {"ONLY": "this"}, output=1), lambda: 9)
    print(reap())
    sys.stdout.flush()
    os._exit(0)
    """
    assert ran(code).splitlines() == ["BOND_HEALTH_FILE is not set", "1"]


def test_what_workers_are_made_of_starts_no_thread_and_loads_nothing_that_idle_ones_do_without():
    code = """
    from bondstone.workers.starting import preload
    for name in ("embedded", "control", "executor", "api"):
        preload([f"bondstone.workers.{name}"])
        assert f"bondstone.workers.{name}" in sys.modules
        assert can_fork(), name
    assert "bondstone.activities.terraform.executor" in sys.modules
    later = {"authlib", "cel_expr_python", "jinja2", "jsonschema_rs", "jwt", "markdown_it", "nh3"}
    assert not later & {name.partition(".")[0] for name in sys.modules}
    from temporalio.runtime import Runtime
    Runtime.prevent_default()  # refuses where there is one
    """
    ran(code)


NO_ANSWER = "a part of the platform's start ended without an answer"
APART = """
import asyncio, json, os, sys, threading
from bondstone.base.errors import BondError, StoreUnavailable
from bondstone.base.forking import can_fork
from bondstone.workers.starting import apart

def work():
    threading.Thread(target=threading.Event().wait, daemon=True).start()
    {body}

async def main():
    try:
        print(await apart(work))
    except BondError as error:
        print(error.code, error.message, error.hint)
    print(can_fork())

asyncio.run(main())
"""


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ("return [1, 'two']", "[1, 'two']"),
        ("raise StoreUnavailable('no room', hint='free some')", "STORE_UNAVAILABLE no room free some"),
        (
            "os._exit(4)",
            "OPERATION_FAILED a part of the platform's start ended without an answer (exit status 4) ",
        ),
    ],
)
def test_what_runs_apart_answers_and_leaves_nothing(body, told):
    done = subprocess.run(
        [sys.executable, "-c", APART.format(body=body)], capture_output=True, text=True, timeout=240, check=True
    )
    assert done.stdout.splitlines() == [told, "True"]


PREPARED = """
import asyncio, sys
from pathlib import Path
from bondstone.workers.embedded import Supervisor

asyncio.run(Supervisor(Path(sys.argv[1]), 0)._prepare())
with open("/proc/self/maps") as maps, open("/proc/self/mem", "rb") as memory, open(sys.argv[2], "wb") as dump:
    for line in maps:
        span, mode = line.split()[:2]
        if mode.startswith("rw"):
            first, end = (int(each, 16) for each in span.split("-"))
            memory.seek(first)
            dump.write(memory.read(end - first))
"""


def test_the_supervisor_has_no_key_in_memory_that_a_fork_could_read(tmp_path):
    data, dump = tmp_path / "data", tmp_path / "dump"
    data.mkdir(mode=0o700)
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("BOND_")},
        "BOND_ATTESTATION": "required",
        "BOND_PAYLOAD_KEYS": str(data / "payload-keys.json"),
    }
    subprocess.run(
        [sys.executable, "-c", PREPARED, str(data), str(dump)], env=environment, check=True, timeout=240
    )
    rings = sorted(data.glob("*keys*.json"))
    assert len(rings) == 3
    keys = [key for ring in rings for key in json.loads(ring.read_text())["keys"].values()]
    secrets = [(data / "api-token").read_text().strip(), *keys]
    memory = dump.read_bytes()
    assert b"bondstone.workers" in memory
    for secret in secrets:
        assert len(secret) > 20
        assert secret.encode() not in memory
        assert secret.encode("utf-16-le") not in memory
