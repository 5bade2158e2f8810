"""Commands as people use them all day: edit, wait, watch, events, top, open, output for programs, 80 columns."""

from __future__ import annotations

import asyncio
import json
import os
import pty
import queue
import re
import signal
import socket
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from platforms import PROMISES, LocalPlatform, publish, read_json, running

from harness.waiting import wait_until

pytestmark = pytest.mark.integration

LINE_SECONDS = 120
LONG = "payments-platform/orders-database-eu-central-1"

PROBED = """\
apiVersion: bondstone.dev/v1
kind: Promise
metadata: {name: probed, version: 1.0.0, labels: {tier: web}}
spec:
  inputs:
    type: object
    properties: {port: {type: integer}}
  steps: [{id: main, terraform: {module: terraform}}]
  health: [{http: "http://127.0.0.1:${inputs.port}/ready", every: 1s, within: 10m}]
"""


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalPlatform]:
    folder = tmp_path_factory.mktemp("daily")
    probed = folder / "probed"
    (probed / "terraform").mkdir(parents=True)
    (probed / "promise.yaml").write_text(PROBED)
    (probed / "terraform" / "main.tf").write_text('resource "terraform_data" "it" {}\n')
    with running(folder / "data") as platform:

        async def prepare() -> None:
            async with platform.client() as bond:
                await publish(bond, PROMISES / "patient")
                await publish(bond, probed)
                await (
                    await bond.services.request("patient", LONG, {"seconds": 0}, labels={"tier": "data"})
                ).wait()

        asyncio.run(prepare())
        yield platform


class Watched:
    """A command that stays: its lines as they come, and its end by Ctrl-C."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.lines: queue.Queue[str] = queue.Queue()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout
        for line in self.process.stdout:
            self.lines.put(line)

    def until(self, text: str) -> str:
        """The next line with a text in it."""
        while text not in (line := self.lines.get(timeout=LINE_SECONDS)):
            pass
        return line

    def interrupt(self) -> str:
        self.process.send_signal(signal.SIGINT)
        assert self.process.wait(60) == 130
        assert self.process.stderr
        return self.process.stderr.read()

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        self._reader.join()
        for stream in (self.process.stdout, self.process.stderr):
            if stream:
                stream.close()


@contextmanager
def staying(platform: LocalPlatform, *arguments: str) -> Iterator[Watched]:
    command = [sys.executable, "-m", "bondstone.cli.app", "--data", str(platform.data), *arguments]
    ours = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            env={**platform.environment, "PYTHONUNBUFFERED": "1"}, cwd=platform.data.parent,
        )  # fmt: skip
    finally:
        signal.signal(signal.SIGINT, ours)
    watched = Watched(process)
    try:
        yield watched
    finally:
        watched.close()


def on_a_terminal(platform: LocalPlatform, *arguments: str, columns: int = 80) -> list[str]:
    """What a command prints on a terminal of so many columns, without colours."""
    main, side = pty.openpty()
    environment = {**platform.environment, "COLUMNS": str(columns), "LINES": "50", "TERM": "xterm"}
    command = [sys.executable, "-m", "bondstone.cli.app", "--data", str(platform.data), *arguments]
    with subprocess.Popen(command, stdin=side, stdout=side, stderr=side, env=environment) as process:
        os.close(side)
        printed = b""
        while True:
            try:
                part = os.read(main, 65536)
            except OSError:  # the other side is closed
                break
            if not part:
                break
            printed += part
        process.wait(60)
    os.close(main)
    assert process.returncode == 0, printed
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]|\x1b\]8;;[^\x1b]*\x1b\\", "", printed.decode())
    return plain.replace("\r\n", "\n").splitlines()


def editor(folder: Path, program: str) -> str:
    """An editor that changes a file as a `sed` program says."""
    path = folder / "editor"
    path.write_text(f"#!/bin/sh\nexec sed -i -e '{program}' \"$1\"\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return str(path)


def test_edit_sends_what_was_changed_and_nothing_else(platform, tmp_path):
    shown = read_json(platform, "service-show", "service", "show", LONG)
    platform.environment["EDITOR"] = editor(tmp_path, "s/^size: small/size: medium/")
    done = read_json(platform, "operation-show", "service", "edit", LONG, "--wait")
    after = read_json(platform, "service-show", "service", "show", LONG)
    assert (done["kind"], done["status"]) == ("update", "succeeded")
    assert after["inputs"] == {**shown["inputs"], "size": "medium"}
    again = platform.bond("service", "edit", LONG)
    assert "nothing was changed" in again.stderr
    platform.environment["EDITOR"] = editor(tmp_path, "s/^seconds: .*/seconds: [/")
    broken = platform.bond("service", "edit", LONG, status=2)
    kept = re.search(r"what you wrote is kept in (\S+)", broken.stderr)
    assert kept
    assert "seconds: [" in Path(kept[1]).read_text()
    Path(kept[1]).unlink()
    platform.environment["EDITOR"] = "false"
    assert "ended with status 1; nothing was changed" in platform.bond("service", "edit", LONG, status=2).stderr


def test_a_probe_that_waits_says_what_it_waits_for_wherever_one_looks(platform):
    with socket.socket() as web:
        web.bind(("127.0.0.1", 0))  # nobody listens yet
        port = web.getsockname()[1]
        platform.bond("service", "request", "probed", "shop/probed", "--set", f"port={port}")
        probe = f"http http://127.0.0.1:{port}/ready: no answer"

        def waits() -> bool:
            document = read_json(platform, "operation-show", "operation", "show", "shop/probed/op/1")
            return any(each["waits_for"] for each in document["progress"])

        wait_until(waits)
        [progress] = read_json(platform, "operation-show", "operation", "show", "shop/probed/op/1")["progress"]
        assert progress["activity"] == "health.probe"
        assert progress["about"] == f"http http://127.0.0.1:{port}/ready"
        assert progress["waits_for"].startswith("no answer")
        people = platform.bond("operation", "show", "shop/probed/op/1").stdout
        assert "waits for its health since" in people.splitlines()[0]
        assert probe in people.splitlines()[0]
        assert probe in platform.bond("service", "show", "shop/probed").stdout.splitlines()[0]
        [event] = [
            each for each in read_json(platform, "events", "events", "shop/probed")
            if each["event"] == "waits for its health"
        ]  # fmt: skip
        assert event["about"].startswith(probe)
        web.listen()
        server = threading.Thread(target=answer_once, args=(web,))
        server.start()
        done = read_json(platform, "operation-show", "operation", "wait", "shop/probed/op/1")
        server.join()
    assert (done["status"], done["progress"]) == ("succeeded", [])


def answer_once(web: socket.socket) -> None:
    connection, _ = web.accept()
    with connection:
        connection.recv(4096)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")


def test_events_and_lists_are_watched_until_ctrl_c(platform):
    with (
        staying(platform, "events", "-w", "-o", "json") as events,
        staying(platform, "service", "list", "--watch", "--team", "watched") as rows,
        staying(platform, "events", "watched", "-w") as people,
    ):
        platform.bond("service", "request", "patient", "watched/one", "--set", "seconds=0", "--wait")
        started = json.loads(events.until("watched/one/op/1"))
        assert (started["subject"], started["event"]) == ("watched/one/op/1", "started")
        assert json.loads(events.until("watched/one/op/1"))["event"] == "succeeded"
        assert "provision" in people.until("watched/one/op/1")
        assert "ready" in rows.until("ready")
        for each in (events, rows, people):
            assert "Traceback" not in each.interrupt()


def test_wait_ends_with_the_service_and_says_how_it_went(platform):
    platform.bond("service", "request", "patient", "waited/one", "--set", "seconds=2")
    assert read_json(platform, "service-show", "service", "wait", "waited/one")["phase"] == "ready"


def test_top_shows_what_runs_and_who_works(platform):
    platform.bond("service", "request", "patient", "busy/one", "--set", "seconds=3600")
    overview = read_json(platform, "top", "top")
    assert [row["id"] for row in overview["operations"]] == ["busy/one/op/1"]
    assert sum(overview["services"].values()) >= 2
    assert all(row["pollers"] for row in overview["queues"])
    people = platform.bond("top", "--once").stdout
    assert "busy/one/op/1" in people
    assert re.search(r"workers:\s+\d+ control", people)
    assert "busy/one/op/1" in "\n".join(on_a_terminal(platform, "top", "--once"))
    platform.bond("service", "cancel", "busy/one", "--wait", status=None)


def test_open_prints_where_the_console_shows_a_thing(platform):
    shown = json.loads(platform.bond("open", LONG, "--print", "-o", "json").stdout)
    assert shown["url"].startswith(platform.settings.api)
    operation = json.loads(platform.bond("open", f"{LONG}/op/1", "--print", "-o", "json").stdout)
    assert operation["url"] != shown["url"]


def test_programs_get_names_wide_tables_queries_and_no_titles(platform):
    assert platform.bond("service", "list", "-l", "tier=data", "-o", "name").stdout == f"{LONG}\n"
    assert platform.bond("service", "list", "-l", "tier in (web)", "-o", "name").stdout == ""
    assert platform.bond("promise", "list", "-l", "tier=web", "-o", "name").stdout.startswith("probed@1.0.0")
    assert platform.bond("promise", "list", "-l", "!tier", "-o", "name").stdout.startswith("patient@")
    query = ["-o", "jsonpath=$.phase"]
    assert platform.bond("service", "show", LONG, *query).stdout == "ready\n"
    assert platform.bond("service", "list", "-o", "wide").stdout.startswith("SERVICE")
    assert LONG in platform.bond("service", "list", "--no-headers", "-l", "tier=data").stdout.splitlines()[0]
    assert "Z" in platform.bond("--utc", "service", "list", "-l", "tier=data").stdout.splitlines()[1]


@pytest.mark.parametrize(
    "command",
    [
        ["service", "list"], ["service", "list", "-o", "wide"], ["operation", "list"],
        ["promise", "list", "--all"],
        ["events"], ["service", "history", LONG], ["approval", "list"], ["campaign", "list"], ["schedule", "list"],
        ["freeze", "list"], ["policy", "list"], ["worker", "list"], ["token", "list"],
        ["state", "log", LONG, "--step", "first"],
        ["context", "list"], ["access", "list"], ["service", "show", LONG], ["operation", "show", f"{LONG}/op/1"],
        ["service", "outputs", LONG], ["promise", "show", "patient"], ["top", "--once"], ["status"],
        ["whoami"], ["service", "tree", LONG],
    ],
    ids=" ".join,
)  # fmt: skip
def test_every_table_fits_80_columns_and_breaks_no_identifier(platform, command):
    lines = on_a_terminal(platform, *command)
    wide = [line for line in lines if len(line) > 80 and not re.search(r"\S{48}", line)]
    assert wide == [], "a line may be longer only for one word that is"
    text = "\n".join(lines)
    if "payments-platform" in text:
        assert LONG in text, "the identifier is broken"
