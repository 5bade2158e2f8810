"""Completion in the shell: from a cache, with nothing heavy imported, whatever state the platform is in."""

import json
import os
import subprocess
import sys
import time

import pytest

from bondstone.cli import completion, context
from bondstone.cli.app import main

KNOWN = {
    "promises": {"queue": {"versions": ["1.0.0", "1.1.0"], "inputs": {"retention": ["1d", "30d"], "name": []}}},
    "services": {"payments/events": "queue", "shop/carts": "cache"},
    "operations": ["payments/events/op/1"],
    "campaigns": ["cve-2026-1234"],
    "schedules": ["nightly"],
    "freezes": ["year-end"],
}


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    """A platform that is not there, with a cache of its names that is new."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("BOND_CONTEXTS", str(tmp_path / "contexts.json"))
    monkeypatch.setenv("BOND_DATA", str(tmp_path / "data"))
    monkeypatch.setattr(context, "options", context.GlobalOptions())
    started: list[list[str]] = []
    monkeypatch.setattr(completion, "_start", lambda command, _: started.append(command))
    file = completion.cache_file()
    file.parent.mkdir(parents=True)
    file.write_text(json.dumps(KNOWN))
    return started


def completed(monkeypatch, capsys, line: str) -> list[str]:
    """What a shell is offered at the end of a line; a space at its end begins a new word."""
    words = line.split(" ")
    monkeypatch.setenv("_BOND_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", line)
    monkeypatch.setenv("COMP_CWORD", str(len(words) - 1))
    assert main([]) == 0
    return capsys.readouterr().out.split()


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("bond serv", ["service"]),
        ("bond service sho", ["show"]),
        ("bond service show --wat", ["--watch"]),
        ("bond service show --as ada pay", ["payments/events"]),
        ("bond service show payments/events ", []),
        ("bond service request queue a/b --on-failure k", ["keep"]),
        ("bond nonsense x", []),
        ("bond service show pay", ["payments/events"]),
        ("bond service request q", ["queue"]),
        ("bond service request queue a/b --set re", ["retention="]),
        ("bond service request queue a/b --set retention=3", ["retention=30d"]),
        ("bond service update payments/events --set na", ["name="]),
        ("bond service update payments/events --secret na", ["name"]),
        ("bond promise show queue@1.1", ["queue@1.1.0"]),
        ("bond operation show pay", ["payments/events/op/1"]),
        ("bond campaign pause cv", ["cve-2026-1234"]),
        ("bond schedule show n", ["nightly"]),
        ("bond freeze delete y", ["year-end"]),
    ],
)
def test_names_are_completed(monkeypatch, capsys, line, offered):
    assert completed(monkeypatch, capsys, line) == offered


def test_an_old_cache_is_answered_from_and_listed_anew_once(monkeypatch, capsys, home):
    file = completion.cache_file()
    old = time.time() - 3600
    os.utime(file, (old, old))
    assert completed(monkeypatch, capsys, "bond service show shop") == ["shop/carts"]
    completed(monkeypatch, capsys, "bond service show shop")
    assert [command[-1] for command in home] == [str(file)], "one process, and not one for each keystroke"


def test_without_a_cache_or_with_a_broken_one_nothing_is_offered_and_nothing_fails(monkeypatch, capsys):
    file = completion.cache_file()
    file.write_text("{")
    assert completed(monkeypatch, capsys, "bond service show p") == []
    file.unlink()
    assert completed(monkeypatch, capsys, "bond service show p") == []


def test_each_platform_has_names_of_its_own(monkeypatch, tmp_path):
    first = completion.cache_file()
    monkeypatch.setenv("BOND_DATA", str(tmp_path / "other"))
    assert completion.cache_file() != first


@pytest.mark.parametrize("line", ["bond service show pay", "bond campaign pause cv", "bond service request q"])
def test_completion_imports_nothing_heavy(line):
    heavy = ("pydantic", "temporalio", "asyncio", "rich", "obstore", "structlog", "bondstone.client.direct")
    program = (
        "import sys\nfrom bondstone.cli.app import main\n"
        "try: main([])\nexcept SystemExit: pass\n"
        f"print('HEAVY', *(name for name in {heavy!r} if name in sys.modules))"
    )
    environment = {
        **os.environ,
        "_BOND_COMPLETE": "complete_bash",
        "COMP_WORDS": line,
        "COMP_CWORD": str(line.count(" ")),
    }
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.splitlines()[-1] == "HEAVY"
