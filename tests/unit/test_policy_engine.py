"""The processes that evaluate Rego: kept, bounded, replaced when they die, gone when we are."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import psutil
import pytest

from bondstone.rego.embedded import Embedded
from bondstone.rego.engine import PROCESSES, EngineFailed, Question

QUESTION = Question((("a.rego", "package main\ndeny contains input.x if true\n"),), ('data["main"]["deny"]',))


@pytest.fixture
def engine() -> Iterator[Embedded]:
    engine = Embedded()
    yield engine
    engine.close()


def ask(engine: Embedded, value: str) -> object:
    (answer,) = engine.evaluate(QUESTION, json.dumps({"x": value}))
    return answer.values


def children() -> list[psutil.Process]:
    return [child for child in psutil.Process().children() if "bondstone.rego.child" in " ".join(child.cmdline())]


def test_one_process_answers_one_question_after_the_other(engine: Embedded) -> None:
    before = set(children())
    assert ask(engine, "a") == (["a"],)
    (mine,) = set(children()) - before
    assert ask(engine, "b") == (["b"],)
    assert set(children()) - before == {mine}


def test_many_threads_share_a_few_processes(engine: Embedded) -> None:
    before = set(children())
    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(lambda value: ask(engine, value), [str(number) for number in range(60)]))
    assert answers == [([str(number)],) for number in range(60)]
    assert len(set(children()) - before) <= PROCESSES


def test_a_process_that_was_killed_is_replaced_unnoticed(engine: Embedded) -> None:
    before = set(children())
    ask(engine, "a")
    for child in set(children()) - before:
        child.kill()
        child.wait()
    assert ask(engine, "b") == (["b"],)


def test_an_engine_that_cannot_be_loaded_says_what_is_missing(engine: Embedded, monkeypatch) -> None:
    monkeypatch.setattr("bondstone.rego.embedded._CHILD", "bondstone.rego.nowhere")
    with pytest.raises(EngineFailed, match=r"does not start: .*No module named bondstone\.rego\.nowhere"):
        ask(engine, "a")


def test_a_question_too_large_is_refused_not_sent(engine: Embedded, monkeypatch) -> None:
    monkeypatch.setattr("bondstone.rego.embedded.MAX_QUESTION_BYTES", 100)
    with pytest.raises(EngineFailed, match="larger"):
        ask(engine, "x" * 200)


def test_no_process_is_left_when_ours_is_killed() -> None:
    script = (
        "from bondstone.rego.embedded import Embedded\n"
        "from bondstone.rego.engine import Question\n"
        "import time, psutil\n"
        "engine = Embedded()\n"
        "engine.check(Question((('a.rego', 'package a'),)))\n"
        "print(psutil.Process().children()[0].pid, flush=True)\n"
        "time.sleep(60)\n"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as ours:
        child = psutil.Process(int(ours.stdout.readline()))
        ours.kill()
    psutil.wait_procs([child], timeout=60)
    assert not child.is_running()
