"""Completion in the shell: from a cache, with nothing heavy imported, whatever state the platform is in."""

import json
import os
import resource
import subprocess
import sys
import time
from threading import Timer

import pytest

from bondstone.cli import completion, context
from bondstone.cli.entry import run
from bondstone.cli.shell import complete

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
    monkeypatch.setattr(completion, "FIRST_SECONDS", 0.0)
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
    with pytest.raises(SystemExit) as left:
        run()
    assert left.value.code == 0
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
        ("bond service list -o w", ["wide"]),
        ("bond service list --output=js", ["json", "jsonpath"]),
        ("bond --data /nowhere service show pay", []),
        ("bond service label payments/events te", []),
        ("bond service show 'pay", ["payments/events"]),
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


def test_the_first_keystroke_on_a_platform_waits_for_its_names(monkeypatch, capsys):
    file = completion.cache_file()
    file.unlink()

    def lists(command: list[str], _environment: object) -> None:
        def write() -> None:
            file.write_text(json.dumps(KNOWN))
            file.with_suffix(".lock").unlink()

        assert command[-1] == str(file)
        Timer(0.1, write).start()

    monkeypatch.setattr(completion, "_start", lists)
    monkeypatch.setattr(completion, "FIRST_SECONDS", 60.0)
    assert completed(monkeypatch, capsys, "bond service show pay") == ["payments/events"]


def test_each_platform_has_names_of_its_own(monkeypatch, tmp_path):
    first = completion.cache_file()
    monkeypatch.setenv("BOND_DATA", str(tmp_path / "other"))
    assert completion.cache_file() != first


@pytest.mark.parametrize(
    ("shell", "line", "offered"),
    [
        ("zsh", "bond service show pay", """_arguments '*: :(("payments/events"))'"""),
        ("zsh", "bond service show zz", "_files"),
        ("zsh", "bond fre", """_arguments '*: :(("freeze":"times in which campaigns start nothing\\\\: """),
        ("fish", "bond service show pay", "payments/events"),
        ("fish", "bond service wai", "wait\tWatch a service until "),
        ("pwsh", "bond campaign pause ", "cve-2026-1234::: "),
    ],
)
def test_other_shells_are_answered_in_their_form(monkeypatch, shell, line, offered):
    monkeypatch.setenv("_TYPER_COMPLETE_ARGS", line)
    monkeypatch.setenv("_TYPER_COMPLETE_FISH_ACTION", "get-args")
    assert (complete(f"complete_{shell}") or "").startswith(offered)


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (["bond", "service", "request", "queue", "a/b", "--set", "retention", "=", "3"], ["30d"]),
        (["bond", "service", "request", "queue", "a/b", "--set", "retention", "="], ["1d", "30d"]),
        (["bond", "service", "request", "queue", "a/b", "--set", "ret"], ["retention="]),
        (["bond", "promise", "show", "queue", "@", "1.1"], ["1.1.0"]),
        (["bond", "service", "list", "--output", "=", "js"], ["json", "jsonpath"]),
        (["bond", "service", "request", "queue", "a/b", "--set", "retention", "=", "1d", "--wa"], ["--wait"]),
    ],
)
def test_bash_takes_words_apart_and_gets_the_rest_of_one(monkeypatch, capsys, words, offered):
    monkeypatch.setenv("COMP_WORDS", "\n".join(words))
    monkeypatch.setenv("COMP_CWORD", str(len(words) - 1))
    monkeypatch.setenv("_BOND_COMPLETE", "complete_bash")
    with pytest.raises(SystemExit):
        run()
    assert capsys.readouterr().out.split() == offered


def test_typer_answers_what_is_no_question_of_a_shell_that_it_knows():
    assert complete("source_bash") is None
    assert complete("complete_nushell") is None


@pytest.mark.parametrize("line", ["bond service show pay", "bond campaign pause cv", "bond service request q"])
def test_completion_takes_less_than_300_milliseconds(line):
    heavy = ("typer", "pydantic", "temporalio", "asyncio", "rich", "obstore", "structlog", "bondstone.cli.app")
    program = (
        "import atexit, sys\n"
        f"atexit.register(lambda: print('HEAVY', *(name for name in {heavy!r} if name in sys.modules)))\n"
        "from bondstone.cli.entry import run\nrun()"
    )
    environment = {
        **os.environ,
        "_BOND_COMPLETE": "complete_bash",
        "COMP_WORDS": line,
        "COMP_CWORD": str(line.count(" ")),
    }
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True, timeout=60
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert done.stdout.splitlines()[0] not in {"", "HEAVY"}
    assert done.stdout.splitlines()[-1] == "HEAVY"
    # Processor time, of which a quiet machine needs little more than that: it does not grow when others work.
    assert after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime < 0.3
