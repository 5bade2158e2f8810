"""The shipped promises: each one is valid, passes its own tests with the real Terraform, and leaves nothing."""

from __future__ import annotations

import asyncio
import json
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from helm_kit import helm

from bondstone.base.errors import BondError
from bondstone.base.settings import Settings
from bondstone.executors.promise_tests import Trial, open_trial
from bondstone.executors.registry import load_executors
from bondstone.policy import check_syntax, load_modules
from bondstone.promise.cases import Case, load_cases
from bondstone.promise.validation.before_publish import validate
from bondstone.promises import ORGANISATION_POLICIES, catalogue

FOLDERS = {folder.name: folder for folder in catalogue()}

pytestmark = pytest.mark.integration


async def trial(name: str) -> AsyncIterator[Trial]:
    executors = load_executors()
    promise = validate(FOLDERS[name], executors).require()
    settings = Settings.load()
    if any(step.executor == "helm" for step in promise.spec.steps):
        settings = settings.changed(helm=helm())
    async with open_trial(FOLDERS[name], promise, executors, settings) as bench:
        yield bench


def test_there_is_a_catalogue() -> None:
    assert {"queue", "sqlite-database", "static-site", "web-app"} <= set(FOLDERS)


@pytest.mark.parametrize("name", FOLDERS)
def test_a_shipped_promise_is_valid_without_a_warning(name: str) -> None:
    checked = validate(FOLDERS[name], load_executors())
    assert checked.problems == ()
    assert checked.warnings == ()
    assert (FOLDERS[name] / "README.md").is_file()


@pytest.mark.parametrize("name", FOLDERS)
async def test_a_shipped_promise_passes_its_own_tests_and_leaves_nothing(name: str) -> None:
    async for bench in trial(name):
        cases = load_cases(bench.directory, bench.promise)
        reports = [await bench.run(file, case, number) for number, (file, case) in enumerate(cases, 1)]
        assert {report.name: report.differences for report in reports if not report.passed} == {}
        services = bench.settings.data / "services"
        assert [path for path in services.rglob("*") if not path.is_dir()] == []


def test_the_sample_policies_of_an_organisation_can_be_published() -> None:
    assert check_syntax(load_modules(ORGANISATION_POLICIES)) == []


async def test_a_case_that_does_not_hold_fails_and_is_cleaned_up() -> None:
    async for bench in trial("queue"):
        wrong = Case.model_validate(
            {
                "name": "wrong",
                "expect": {"outputs": {"maxBytes": 7}, "steps": {"queue": {"changes": {"create": 9}}}},
            }
        )
        report = await bench.run("x.yaml", wrong)
        assert not report.passed
        assert len(report.differences) == 2
        assert list((bench.settings.data / "services").glob("*/*")) == []


async def test_a_sqlite_database_keeps_its_limit_its_owner_and_its_password_hashed(tmp_path: Path) -> None:
    script = FOLDERS["sqlite-database"] / "terraform" / "database" / "database.py"
    directory = tmp_path / "payments" / "orders"
    wanted = {
        "directory": str(directory),
        "team": "payments",
        "name": "orders",
        "max_bytes": 65536,
        "size": "small",
        "starter": "key-value",
        "journal": "wal",
        "contact": "dba@example.com",
        "account": "admin",
    }

    async def run(action: str) -> None:
        environment = {"ACTION": action, "DATABASE": json.dumps(wanted), "PASSWORD": "correct horse"}
        await asyncio.to_thread(
            subprocess.run, [sys.executable, "-I", str(script)], env=environment, check=True, capture_output=True
        )

    for action in ("create", "create", "configure", "configure", "account"):
        await run(action)
    file = directory / "database.sqlite3"
    assert file.stat().st_mode & 0o777 == 0o600
    assert b"correct horse" not in file.read_bytes()
    connection = sqlite3.connect(file)
    try:
        assert connection.execute("SELECT * FROM service_owner").fetchall() == [
            ("payments", "orders", "dba@example.com")
        ]
        rows = [(str(number), b"x" * 500) for number in range(1000)]
        with pytest.raises(sqlite3.IntegrityError, match="limit of its size"):
            connection.executemany("INSERT INTO entry (key, value) VALUES (?, ?)", rows)
    finally:
        connection.close()
    await run("remove")
    assert not directory.exists()


async def test_a_queue_refuses_beyond_its_quotas_and_gives_messages_in_order(tmp_path: Path) -> None:
    script = FOLDERS["queue"] / "terraform" / "queue" / "queue.py"
    directory = tmp_path / "payments" / "invoices"
    wanted = {
        "directory": str(directory),
        "team": "payments",
        "name": "invoices",
        "max_messages": 2,
        "max_message_bytes": 5,
        "retention_seconds": 3600,
        "max_deliveries": 1,
    }

    def run(action: str) -> None:
        environment = {"ACTION": action, "QUEUE": json.dumps(wanted)}
        subprocess.run([sys.executable, "-I", str(script)], env=environment, check=True, capture_output=True)

    def client(action: str, data: bytes = b"") -> subprocess.CompletedProcess[bytes]:
        command = [sys.executable, str(directory / "client"), action]
        return subprocess.run(command, input=data, capture_output=True, check=False)

    await asyncio.to_thread(run, "create")
    await asyncio.to_thread(run, "configure")
    assert (await asyncio.to_thread(client, "send", b"123456")).returncode == 1
    for message in (b"one", b"two"):
        assert (await asyncio.to_thread(client, "send", message)).returncode == 0
    assert b"2 messages are waiting" in (await asyncio.to_thread(client, "send", b"x")).stderr
    assert (await asyncio.to_thread(client, "receive")).stdout == b"one"
    assert (await asyncio.to_thread(client, "count")).stdout == b"1\n"
    (directory / ".bondstone.json").write_text('{"team": "other", "name": "x"}', encoding="utf-8")
    with pytest.raises(subprocess.CalledProcessError):
        await asyncio.to_thread(run, "remove")
    assert directory.exists()


def test_a_broken_promise_is_refused_before_any_case_runs(tmp_path: Path) -> None:
    with pytest.raises(BondError):
        validate(tmp_path, load_executors()).require()
