"""The processes that evaluate Rego: kept, bounded, replaced when they die, gone when we are."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import psutil
import pytest

from bondstone.policy.engine import PROCESSES, Engine, EngineFailed

QUERY = 'data["main"]["deny"]'
MODULES = [("a.rego", "package main\ndeny contains input.x if true\n")]


@pytest.fixture
def engine() -> Iterator[Engine]:
    engine = Engine()
    yield engine
    engine.close()


def ask(engine: Engine, value: str) -> object:
    (answer,) = engine.evaluate(MODULES, [QUERY], json.dumps({"x": value}))
    return answer.values


def children() -> list[psutil.Process]:
    return [child for child in psutil.Process().children() if "child.py" in " ".join(child.cmdline())]


def test_one_process_answers_one_question_after_the_other(engine: Engine) -> None:
    before = set(children())
    assert ask(engine, "a") == ({"$set": ["a"]},)
    (mine,) = set(children()) - before
    assert ask(engine, "b") == ({"$set": ["b"]},)
    assert set(children()) - before == {mine}


def test_many_threads_share_a_few_processes(engine: Engine) -> None:
    before = set(children())
    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(lambda value: ask(engine, value), [str(number) for number in range(60)]))
    assert answers == [({"$set": [str(number)]},) for number in range(60)]
    assert len(set(children()) - before) <= PROCESSES


def test_a_process_that_was_killed_is_replaced_unnoticed(engine: Engine) -> None:
    before = set(children())
    ask(engine, "a")
    for child in set(children()) - before:
        child.kill()
        child.wait()
    assert ask(engine, "b") == ({"$set": ["b"]},)


def test_an_engine_that_cannot_be_loaded_says_what_is_missing(engine: Engine, monkeypatch, tmp_path) -> None:
    child = tmp_path / "child.py"
    child.write_text("raise OSError('libatomic.so.1: cannot open shared object file')")
    monkeypatch.setattr("bondstone.policy.engine._CHILD", child)
    with pytest.raises(EngineFailed, match=r"does not start: OSError: libatomic\.so\.1: cannot open"):
        ask(engine, "a")


def test_a_question_too_large_is_refused_not_sent(engine: Engine, monkeypatch) -> None:
    monkeypatch.setattr("bondstone.policy.engine.MAX_QUESTION_BYTES", 100)
    with pytest.raises(EngineFailed, match="larger"):
        ask(engine, "x" * 200)


def test_no_process_is_left_when_ours_is_killed() -> None:
    script = (
        "from bondstone.policy.engine import ENGINE\n"
        "import time, psutil\n"
        "ENGINE.check([('a.rego', 'package a')], [])\n"
        "print(psutil.Process().children()[0].pid, flush=True)\n"
        "time.sleep(60)\n"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as ours:
        child = psutil.Process(int(ours.stdout.readline()))
        ours.kill()
    psutil.wait_procs([child], timeout=10)
    assert not child.is_running()
