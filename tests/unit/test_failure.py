"""Errors across Temporal: what the CLI and the UI show of them, and that none is cut by the server."""

from __future__ import annotations

from bondstone.base.errors import InputsInvalid, Problem, StoreUnavailable, ToolFailed
from bondstone.temporal.failures import info_of, to_failure


def test_a_failure_names_its_first_problems_and_carries_all():
    error = InputsInvalid(
        "two problems", problems=[Problem(message="size: no", hint="small"), Problem(message="x")]
    )
    failure = to_failure(error)
    assert failure.message == "two problems; size: no (small); x"
    assert failure.type == "INPUTS_INVALID"
    assert info_of(failure) == error.info()


def test_a_failure_is_bounded_well_below_what_the_server_cuts():
    problems = [Problem(message="y" * 5000, hint="z" * 5000)] * 200
    failure = to_failure(ToolFailed("x" * 5000, problems=problems))
    assert len(failure.message) <= 600
    assert len(info_of(failure).model_dump_json()) < 6_000
    assert info_of(failure).problems[-1].message == "and 188 more"


def test_only_what_may_go_through_later_is_tried_again():
    assert not to_failure(StoreUnavailable("later")).non_retryable
    assert to_failure(ToolFailed("never")).non_retryable


def test_the_first_problem_is_whole_and_later_ones_get_what_is_left():
    problems = [Problem(message="a" * 1400), Problem(message="b" * 1400), *[Problem(message="c" * 900)] * 6]
    result = info_of(to_failure(ToolFailed("x", problems=problems))).problems
    assert [problem.message for problem in result[:1]] == ["a" * 1400]
    assert all(len(problem.message) >= 120 for problem in result)
    assert len(info_of(to_failure(StoreUnavailable("x", problems=problems))).model_dump_json()) < 3_000
