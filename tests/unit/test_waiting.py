"""What tests wait with gives what was seen, and says what never came."""

from __future__ import annotations

import ast
import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.waiting import NotInTime, until, until_async, wait_until

ROOT = Path(__file__).parents[2]


async def test_a_wait_gives_what_the_look_saw() -> None:
    looks = iter([0, "", [], "there"])
    assert await until(lambda: next(looks)) == "there"
    looks = iter([None, 7])
    assert wait_until(lambda: next(looks)) == 7


async def test_a_wait_that_is_over_says_for_what_it_was() -> None:
    with pytest.raises(AssertionError, match=r"not within 0 s: the ship"):
        await until(lambda: False, "the ship", seconds=0.05)
    with pytest.raises(AssertionError, match=r"not within 0 s: the ship"):
        wait_until(lambda: False, "the ship", seconds=0.05)


async def test_a_look_that_blocks_does_not_hold_the_loop_up() -> None:
    told = threading.Event()
    asyncio.get_running_loop().call_later(0.05, told.set)
    assert await until(lambda: told.wait(60), in_thread=True)


LOOPS = {
    "benchmarks/api.py::_kills": "kills, each time after a pause",
    "benchmarks/api.py::_paced": "makes load at a rate",
    "benchmarks/campaign_runs.py::_watch_memory": "notes the memory, until it is cancelled",
    "benchmarks/console.py::_on_screen": "makes events, each after a pause",
    "benchmarks/request.py::measure": "stands idle before each request",
    "benchmarks/rolling.py::keep_asking": "makes load, until it is cancelled",
    "harness/chaos/campaign_run.py::_strike": "kills, each time after a random pause",
    "harness/chaos/platform_side.py::keep": "looks at the state log all the time, until it is cancelled",
    "harness/traces.py::main": "prints what came in, until it is interrupted",
    "harness/waiting.py::until_async": "the one way",
    "harness/waiting.py::wait_until": "the one way",
    "harness/warm_workers.py::_join": "in a process that was just forked, before it is anything",
    "tests/integration/draining_worker.py::stubborn": "is an activity that ends at a time of its own",
    "tests/integration/test_ansible_executor.py::look": "notes every command line, until it is cancelled",
    "tests/integration/test_builds.py::load": "makes load, until it is cancelled",
    "tests/unit/test_health.py::drip": "is a server that sends byte after byte",
    "tests/unit/test_store_ledger_logs.py::test_a_store_that_fails_for_a_while_loses_no_line": "writes slowly",
    "tests/workflows/fakes.py::works_on": "is an activity that has a heartbeat",
}
"""Loops that sleep and wait for nothing, each with what it does."""


def loops_that_sleep(tree: ast.AST, function: str = "") -> set[str]:
    """The functions with a loop that sleeps for some time."""
    result = set()
    for node in ast.iter_child_nodes(tree):
        inner = node.name if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) else function
        if isinstance(node, (ast.While, ast.For, ast.AsyncFor)) and any(map(sleeps, own_nodes(node))):
            result.add(inner)
        result |= loops_that_sleep(node, inner)
    return result


def own_nodes(tree: ast.AST) -> Iterator[ast.AST]:
    """All nodes below one, without those of functions in it."""
    for node in ast.iter_child_nodes(tree):
        if not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
            yield node
            yield from own_nodes(node)


def sleeps(node: ast.AST) -> bool:
    """Whether it calls `asyncio.sleep` or `time.sleep`; `sleep(0)` only lets others run."""
    if not isinstance(node, ast.Call) or not isinstance(node.func, (ast.Attribute, ast.Name)):
        return False
    if ast.unparse(node.func) not in {"asyncio.sleep", "time.sleep", "sleep"}:
        return False
    return ast.unparse(node.args[0]) != "0"


def test_nothing_else_waits_in_a_loop_of_its_own() -> None:
    loops = {
        f"{path.relative_to(ROOT).as_posix()}::{function}"
        for folder in ("tests", "harness", "benchmarks")
        for path in (ROOT / folder).rglob("*.py")
        if "sleep" in (source := path.read_text(encoding="utf-8"))  # what has not the word is not parsed
        for function in loops_that_sleep(ast.parse(source))
    }
    assert sorted(loops - LOOPS.keys()) == [], "wait with harness/waiting.py"
    assert sorted(LOOPS.keys() - loops) == [], "these no longer sleep: take them out of LOOPS"


async def test_a_look_may_fail_for_a_while_and_its_last_error_is_in_the_words() -> None:
    answers = iter([KeyError("a"), KeyError("b"), 7])

    async def look() -> int:
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    assert await until_async(look, not_yet=(KeyError,)) == 7
    with pytest.raises(StopIteration):
        wait_until(lambda: next(iter(())), not_yet=(KeyError,), seconds=0)
    with pytest.raises(NotInTime, match=r"the ship; at last ZeroDivisionError"):
        wait_until(lambda: 1 / 0, "the ship", not_yet=(ZeroDivisionError,), seconds=0)


async def test_a_look_that_hangs_ends_with_the_time_and_its_own_timeouts_stay_its_own() -> None:
    with pytest.raises(NotInTime, match="the ship"):
        await until_async(asyncio.Event().wait, "the ship", seconds=0.05)

    async def late() -> None:
        raise TimeoutError("of the look")

    with pytest.raises(TimeoutError, match="of the look"):
        await until_async(late)
