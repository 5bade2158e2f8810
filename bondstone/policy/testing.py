"""Runs the tests that authors write for their policies: rules `test_…` in files `*_test.rego`, as `opa test` does.

One difference: a built-in function that fails is an error, as it is when the policies decide.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, Literal

from bondstone.base.errors import PolicyInvalid
from bondstone.base.models import Document
from bondstone.policy.data_files import DataInvalid
from bondstone.policy.modules import Module, load_modules, query, question, require_valid
from bondstone.rego.choice import engine
from bondstone.rego.engine import EngineFailed, RuleAnswer

TESTS_SECONDS: Final = 60.0
"""Longest time that all tests of a directory may take."""


class PolicyTest(Document):
    """One test: an element of `tests` of `bond policy test -o json`."""

    name: str
    """Package and rule"""
    file: str
    outcome: Literal["passed", "failed", "error", "skipped"]
    """failed: it is not true; skipped: its name begins with `todo_`"""
    problem: str = ""
    """Which cases failed, or the error with file and line"""


class PolicyTestReport(Document):
    """`bond policy test -o json`."""

    engine: str
    """What evaluated the tests, with its version"""
    passed: int
    failed: int
    """Errors too"""
    tests: tuple[PolicyTest, ...]


def run_tests(directory: Path) -> PolicyTestReport:
    """Run every test of a directory with its policies and data.

    Args:
        directory: The folder.

    Raises:
        NotFound: when there is no such directory.
        PolicyInvalid: when the policies cannot be used, or there is no test.
    """
    modules = load_modules(directory, tests=True)
    require_valid(modules, where=str(directory))
    tests = sorted({(module.package, name, module.name) for module in modules for name in module.tests})
    if not tests:
        raise PolicyInvalid(
            "there is no test", where=str(directory), hint="write rules `test_…` in a file `…_test.rego`"
        )
    running = [test for test in tests if not test[1].startswith("todo_")]
    answers = iter(_answers(modules, [query((*package, name)) for package, name, _ in running]))
    reports = tuple(
        _report(".".join((*package, name)), file, None if name.startswith("todo_") else next(answers))
        for package, name, file in tests
    )
    return PolicyTestReport(
        engine=engine().version,
        passed=sum(report.outcome == "passed" for report in reports),
        failed=sum(report.outcome in {"failed", "error"} for report in reports),
        tests=reports,
    )


def _answers(modules: Sequence[Module], queries: Sequence[str]) -> list[RuleAnswer]:
    try:
        return engine().evaluate(question(modules, queries), "{}", timeout_seconds=TESTS_SECONDS)
    except (EngineFailed, DataInvalid) as error:
        raise PolicyInvalid(f"the tests cannot be run: {error}") from error


def _report(name: str, file: str, answer: RuleAnswer | None) -> PolicyTest:
    if answer is None:
        return PolicyTest(name=name, file=file, outcome="skipped")
    if answer.error:
        return PolicyTest(name=name, file=file, outcome="error", problem=answer.error)
    value: Any = answer.values[0] if answer.values else None
    if value is True:
        return PolicyTest(name=name, file=file, outcome="passed")
    if isinstance(value, dict):  # a case each: `test_sizes[name] if …`
        wrong = sorted(str(case) for case, holds in value.items() if holds is not True)
        if value and not wrong:
            return PolicyTest(name=name, file=file, outcome="passed")
        return PolicyTest(name=name, file=file, outcome="failed", problem=", ".join(wrong))
    problem = "" if value in {None, False} else f"its value is {value}"
    return PolicyTest(name=name, file=file, outcome="failed", problem=problem)
