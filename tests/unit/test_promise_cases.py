"""The cases of a promise: what a case file may say, and what is said when reality differs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bondstone.base.errors import InputsInvalid, Problem, PromiseInvalid
from bondstone.model.plan import Change, Decision, Finding, PlanRef
from bondstone.model.promise import Promise
from bondstone.model.service import StepSpec
from bondstone.promise.cases import Case, load_cases
from bondstone.promise.comparing import CaseOutcome, TriedStep, compare
from bondstone.promise.load import parse_promise

PROMISE = b"""
apiVersion: bondstone.dev/v1
kind: Promise
metadata: {name: db, version: 1.0.0}
spec:
  outputs: {path: {value: x}, password: {value: x, secret: true}}
  steps: [{id: database, terraform: {module: terraform}}]
"""


@pytest.fixture
def promise() -> Promise:
    return parse_promise(PROMISE)


def write(directory: Path, text: str) -> Path:
    (directory / "tests").mkdir(exist_ok=True)
    (directory / "tests" / "a.yaml").write_text(text, encoding="utf-8")
    return directory


def test_one_case_or_a_list_of_them(tmp_path: Path, promise: Promise) -> None:
    assert load_cases(tmp_path, promise) == []
    one = load_cases(write(tmp_path, "name: a\nexpect: {decision: {outcome: allow}}\n"), promise)
    assert [(file, case.name, case.operation) for file, case in one] == [("tests/a.yaml", "a", "provision")]
    two = load_cases(
        write(tmp_path, "- {name: a, expect: {}}\n- {name: b, given: {previous: {}}, expect: {}}\n"), promise
    )
    assert [case.operation for _, case in two] == ["provision", "update"]


@pytest.mark.parametrize(
    ("text", "place", "words"),
    [
        ("- name: a\n  expect: {decison: {}}\n", (2, 12), "did you mean 'decision'?"),
        ("- name: a\n  expect: {decision: {outcome: maybe}}\n", (2, 32), "outcome must be"),
        ("- name: a\n", (1, 3), "'expect' is missing"),
        ("name: a\nexpect:\n  steps: {databse: {skipped: true}}\n", (3, 11), "did you mean 'database'?"),
        ("name: a\nexpect:\n  outputs: {pth: x}\n", (3, 13), "did you mean 'path'?"),
        ("- 1\n", (1, 3), "a case is a mapping"),
        ("name: [\n", None, ""),
        ("", (1, 1), "empty"),
    ],
)
def test_a_mistake_in_a_case_is_named_with_its_place(
    tmp_path: Path, promise: Promise, text: str, place: tuple[int, int] | None, words: str
) -> None:
    with pytest.raises(PromiseInvalid) as caught:
        load_cases(write(tmp_path, text), promise)
    problem = caught.value.problems[0]
    assert problem.file == "tests/a.yaml"
    assert place is None or (problem.line, problem.column) == place
    assert words in str(problem)


def case(**expect: Any) -> Case:
    return Case.model_validate({"name": "c", "expect": expect})


def observed(*findings: Finding, outcome: str = "allow", skip: bool = False, **more: Any) -> CaseOutcome:
    step = TriedStep(
        StepSpec(id="database", executor="terraform", skip=skip),
        plan=None if skip else PlanRef(digest="d", key="k"),
        changes=() if skip else (Change(address="a.b", action="create"), Change(address="a.c", action="replace")),
        decision=Decision(outcome=outcome, findings=findings),
    )
    return CaseOutcome(steps={"database": step}, **more)


DENIED = Finding(level="deny", message="too small", policy="promise:p.deny")
REFUSED = CaseOutcome(
    refusal=InputsInvalid("the inputs do not fit", problems=[Problem(message="size: must be one of")])
)


@pytest.mark.parametrize(
    ("expect", "reality"),
    [
        ({}, observed()),
        ({"steps": {"database": {"changes": {"create": 1, "replace": 1}}}}, observed()),
        ({"steps": {"database": {"addresses": {"a.b": "create"}}}}, observed()),
        ({"steps": {"database": {"skipped": True}}}, observed(skip=True)),
        ({"decision": {"outcome": "deny", "messages": ["small"]}}, observed(DENIED, outcome="deny")),
        ({"refused": {"code": "POLICY_DENIED", "message": "too small"}}, observed(DENIED, outcome="deny")),
        ({"refused": {"fields": ["size"]}}, REFUSED),
        ({"outputs": {"path": {"matches": "/x/.*"}}}, observed(outputs={"path": "/x/y"})),
        ({"outputs": {"path": 3}}, observed(outputs={"path": 3})),
        ({"outputs": {"password": {"secret": True}}}, observed(outputs={"password": {"$secret": "k"}})),
    ],
)
def test_what_was_expected_makes_no_difference(expect: dict[str, Any], reality: CaseOutcome) -> None:
    assert compare(case(**expect), reality) == []


@pytest.mark.parametrize(
    ("expect", "reality", "words"),
    [
        ({}, observed(DENIED, outcome="deny"), "the policies deny it (deny: too small)"),
        ({}, REFUSED, "the request was refused: the inputs do not fit: size"),
        (
            {"steps": {"database": {"changes": {"create": 2}}}},
            observed(),
            "the plan is +1 ~0 ±1 -0, and +2 ~0 ±0 -0",
        ),
        (
            {"steps": {"database": {"addresses": {"a.x": "create"}}}},
            observed(),
            "does not touch a.x; it touches a.b",
        ),
        ({"steps": {"database": {"addresses": {"a.c": "update"}}}}, observed(), "a.c: the plan says replace"),
        ({"steps": {"database": {"skipped": True}}}, observed(), "it was not skipped"),
        ({"steps": {"database": {}}}, observed(skip=True), "it was skipped"),
        ({"decision": {"outcome": "deny"}}, observed(), "the policies say allow, not deny"),
        (
            {"decision": {"outcome": "deny", "messages": ["big"]}},
            observed(DENIED, outcome="deny"),
            "no policy says 'big'",
        ),
        ({"refused": {}}, observed(), "the request was accepted"),
        ({"refused": {"fields": ["siz"]}}, REFUSED, "does not name the input 'siz'"),
        ({"refused": {"code": "NOT_FOUND"}}, REFUSED, "refused with INPUTS_INVALID, and NOT_FOUND"),
        ({"outputs": {"path": "b"}}, observed(outputs={"path": "a"}), 'output path is "a", and "b" was expected'),
        ({"outputs": {"path": {"matches": "b"}}}, observed(outputs={"path": "ab"}), "does not match 'b'"),
        ({"outputs": {"path": {"secret": True}}}, observed(outputs={"path": "a"}), "output path is not secret"),
        ({"outputs": {"path": "b"}}, observed(), "nothing was applied"),
    ],
)
def test_each_difference_is_said_in_words(expect: dict[str, Any], reality: CaseOutcome, words: str) -> None:
    differences = compare(case(**expect), reality)
    assert len(differences) == 1
    assert words in differences[0]


def test_a_secret_output_is_never_shown() -> None:
    (difference,) = compare(
        case(outputs={"password": "x"}), observed(outputs={"password": {"$secret": "the-key"}})
    )
    assert difference == 'output password is a secret, and "x" was expected'
