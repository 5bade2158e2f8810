"""What `bond up` refuses, in words, before it starts anything."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from datetime import UTC, datetime

import psutil
import pytest

from bondstone.base.errors import InvalidInput, KeyMissing, PlatformBusy, StoreUnavailable, ToolUnavailable
from bondstone.base.platform_file import Process
from bondstone.base.processes import birth
from bondstone.workers import preflight


def test_a_nearly_full_disk_is_refused_with_figures(tmp_path):
    with pytest.raises(StoreUnavailable, match=r"100 MiB left; .* at least 256 MiB") as caught:
        preflight.check_room(tmp_path, free_bytes=100 * 2**20)
    assert "another disk" in caught.value.hint
    preflight.check_room(tmp_path, free_bytes=preflight.MIN_FREE_BYTES)


def test_a_new_directory_is_private(tmp_path):
    preflight.check_directory(tmp_path / "a" / "b")
    assert (tmp_path / "a" / "b").stat().st_mode & 0o777 == 0o700


def test_a_directory_that_cannot_be_made_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreUnavailable, match="cannot write to the data directory"):
        preflight.check_directory(tmp_path / "file" / "data")


def test_data_whose_keys_are_gone_is_not_given_new_ones(tmp_path):
    database, keys = tmp_path / "temporal.db", tmp_path / "keys.json"
    preflight.check_keys(database, keys)
    database.write_text("")
    with pytest.raises(KeyMissing, match="key ring is gone"):
        preflight.check_keys(database, keys)
    keys.write_text("")
    preflight.check_keys(database, keys)


@pytest.mark.parametrize("offset", [0, preflight.UI_PORT_OFFSET])
def test_a_port_in_use_is_refused_and_names_the_port_and_who_has_it(offset):
    port, _ = preflight.choose_ports(0)
    with socket.socket() as other:
        other.bind(("127.0.0.1", port + offset))
        other.listen()
        with pytest.raises(PlatformBusy, match=f"port {port + offset} .*process {os.getpid()}") as caught:
            preflight.choose_ports(port)
    assert "--port" in caught.value.hint
    assert preflight.choose_ports(port) == (port, port + 1000)


@pytest.mark.parametrize("port", [-1, 64536, 70000])
def test_a_port_that_cannot_be_is_refused(port):
    with pytest.raises(InvalidInput, match="cannot be the platform's port"):
        preflight.choose_ports(port)


def test_a_connection_that_lingers_does_not_hold_a_port():
    port, _ = preflight.choose_ports(0)
    with socket.socket() as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        server.bind(("127.0.0.1", port))
        server.listen()
        client = socket.create_connection(("127.0.0.1", port))
        accepted, _ = server.accept()
        accepted.close()  # this side closes first and goes to TIME_WAIT
        client.close()
    assert preflight.choose_ports(port)[0] == port


def test_a_missing_binary_is_refused_with_what_brings_it(tmp_path, monkeypatch):
    monkeypatch.setattr(preflight.sys, "executable", str(tmp_path / "python"))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ToolUnavailable) as caught:
        preflight.find_temporal()
    assert "bondstone[local]" in caught.value.hint


def test_the_binary_beside_python_wins_over_path(tmp_path, monkeypatch):
    for directory in ("bin", "path"):
        (tmp_path / directory).mkdir()
        (tmp_path / directory / "temporal").write_text("#!/bin/sh\n")
        (tmp_path / directory / "temporal").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path / "path"))
    monkeypatch.setattr(preflight.sys, "executable", str(tmp_path / "bin" / "python"))
    assert preflight.find_temporal() == tmp_path / "bin" / "temporal"
    (tmp_path / "bin" / "temporal").unlink()
    assert preflight.find_temporal() == tmp_path / "path" / "temporal"


def test_only_what_an_earlier_run_left_is_ended():
    code = "import signal; signal.signal(15, signal.SIG_IGN); print('up', flush=True); signal.pause()"
    left, innocent = (
        subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) for _ in range(2)
    )
    try:
        for process in (left, innocent):
            process.stdout.readline()
        now = datetime.now(UTC)
        born = birth(left.pid)
        records = [
            Process(name="temporal", pid=left.pid, born=born, started_at=now),
            Process(name="temporal", pid=innocent.pid, born="earlier", started_at=now),
        ]
        assert preflight.end_orphans(records) == [f"temporal (process {left.pid})"]
        assert not psutil.pid_exists(left.pid) or psutil.Process(left.pid).status() == psutil.STATUS_ZOMBIE
        assert innocent.poll() is None
    finally:
        for process in (left, innocent):
            process.kill()
            process.communicate()
