"""What Terraform's complaints become: retried if they look temporary, never if the input is wrong."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from bondstone.activities.helm.diagnostics import to_error as helm_error
from bondstone.activities.terraform.diagnostics import lost_providers, to_error
from bondstone.activities.terraform.stream import Diagnostic
from bondstone.base.errors import BondError, PlanStale, ToolFailed, ToolUnavailable
from bondstone.executors.protocol import StepContext
from bondstone.temporal.failures import info_of, to_failure


def error_for(summary: str, detail: str = "", *, code: int = 1, otherwise: str = "", **more) -> BondError:
    result = [Diagnostic("error", summary, detail, **more)]
    run = {"verb": "apply", "module": "terraform/db", "code": code, "where": "payments/orders step db"}
    return to_error(result, **run, otherwise=otherwise)


@pytest.mark.parametrize(
    ("summary", "detail"),
    [
        (
            "creating S3 Bucket (x)",
            "operation error S3: https response error StatusCode: 503, RequestID: 1, SlowDown",
        ),
        ("creating Thing", "api error Throttling: Rate exceeded"),
        ("Error making request", "429 Too Many Requests"),
        ("reading Thing", 'Get "https://api.example.com": read tcp 10.0.0.1: connection reset by peer'),
        ("reading Thing", "HTTP response 502"),
        (
            "Failed to install provider",
            "Error while installing x v1: could not query: net/http: TLS handshake timeout",
        ),
        (
            "Failed to query available provider packages",
            "could not connect to registry.example.com: request failed: context deadline exceeded",
        ),
        ("Failed to write plan", "write tfplan: no space left on device"),
        (
            "Required plugins are not installed",
            "there is no package for registry.example.com/x/y 1.0 cached in data",
        ),
    ],
)
def test_what_looks_temporary_is_tried_again(summary, detail):
    error = error_for(summary, detail)
    assert isinstance(error, ToolUnavailable)
    assert error.transient


@pytest.mark.parametrize(
    ("summary", "detail"),
    [
        ("Invalid value for variable", "The size must be one of small, large."),
        ("Unsupported argument", 'An argument named "sizze" is not expected here.'),
        ("creating Database", "api error InvalidParameterValue: StatusCode: 400, the name has 503 characters"),
        ("local-exec provisioner error", "Error running command 'exit 7': exit status 7. Output: "),
        ("Provider registry does not have a provider", "nobody/nope was not found"),
    ],
)
def test_wrong_input_is_not_tried_again(summary, detail):
    error = error_for(summary, detail)
    assert isinstance(error, ToolFailed)
    assert not error.transient
    assert summary in error.message


@pytest.mark.parametrize(
    ("summary", "detail", "more"),
    [
        ("Resource precondition failed", "rate limit: at most 5 databases a team", {}),
        (
            "Resource postcondition failed",
            "the endpoint answered 503 Service Unavailable",
            {"address": "aws_db.main"},
        ),
        ("Module output value precondition failed", "connection refused is not an address", {}),
        ("Check block assertion failed", "context deadline exceeded", {}),
        ("Invalid value for variable", "too many requests\n\nThis was checked by the validation rule", {}),
        ("Invalid value for input variable", "throttling must be off", {}),
        ("local-exec provisioner error", "Error running command 'x': exit status 1. Output: rate limit", {}),
        ("External Program Execution Failed", "stderr: connection reset", {"address": "data.external.x"}),
        ("Unsupported argument", 'An argument named "throttled" is not expected here.', {"file": "main.tf"}),
        (
            "Error in function call",
            'Call to function "file" failed: no space left on device.',
            {"file": "main.tf"},
        ),
        ("creating Thing", 'the name "rate limit exceeded" is taken', {"address": "x.y"}),
    ],
)
def test_what_a_module_says_of_itself_is_never_temporary(summary, detail, more):
    error = error_for(summary, detail, **more)
    assert isinstance(error, ToolFailed)
    assert not error.transient


def test_what_a_provider_says_of_the_network_is_temporary_wherever_it_is_declared():
    where = {"file": "main.tf", "line": 3}
    assert error_for("creating Thing", "api error Throttling: Rate exceeded", address="x.y", **where).transient
    assert error_for("Failed to download module", "git: TLS handshake timeout", **where).transient


def test_the_words_of_an_author_are_in_the_message_and_whole_in_the_problem():
    words = "We give 5 databases to a team. " * 20 + "Ask #platform."
    error = error_for("Resource precondition failed", words, file="main.tf", line=12)
    assert "We give 5 databases" in error.message
    assert error.message.endswith("Ask #platform.")
    (problem,) = info_of(to_failure(error)).problems
    assert (problem.message, problem.file, problem.line) == (
        f"Resource precondition failed: {words}",
        "terraform/db/main.tf",
        12,
    )


def test_what_is_cut_is_never_the_reason():
    script = "echo step; " * 1000
    error = error_for(
        "local-exec provisioner error",
        f"Error running command '{script}': exit status 3. Output: {'x' * 900} no such db",
    )
    (problem,) = info_of(to_failure(error)).problems
    assert "exit status 3" in problem.message
    assert problem.message.endswith("no such db")
    (problem,) = error_for("creating Thing", "y" * 9000 + " because of the quota", address="x.y").problems
    assert len(problem.message) <= 1500
    assert "the step's log has them" in problem.message
    assert problem.message.endswith("because of the quota")


@pytest.mark.parametrize(
    ("summary", "detail", "hint"),
    [
        (
            "Instance cannot be destroyed",
            "Resource aws_db.main has lifecycle.prevent_destroy set, but the plan calls for this",
            "publish a revision without prevent_destroy, patch, then decommission",
        ),
        ("Inconsistent dependency lock file", "", "in terraform/db, run `terraform providers lock -platform="),
        (
            "Failed to install provider",
            "the local package for registry.terraform.io/a/b 1.0 doesn't match any of the checksums",
            "in terraform/db, run `terraform providers lock -platform=",
        ),
        ("Unsupported Terraform Core version", "", "BOND_TERRAFORM"),
    ],
)
def test_a_hint_is_the_next_command(summary, detail, hint):
    error = error_for(summary, detail)
    assert isinstance(error, ToolFailed)
    assert hint in error.hint


def test_without_a_better_hint_it_is_the_command_that_prints_the_log():
    step = SimpleNamespace(trial=False, service="payments/orders", operation=7, step="database")
    hint = StepContext.see_log(step)
    assert hint == "`bond operation logs payments/orders/op/7 --step database` prints all it said"
    step.trial = True
    assert StepContext.see_log(step) == "see the step's log"
    assert error_for("Some failure", otherwise=hint).hint == hint
    assert error_for("x", "lifecycle.prevent_destroy set", otherwise=hint).hint.startswith("publish a revision")
    assert helm_error("Error: no such thing", verb="upgrade", code=1, otherwise=hint).hint == hint


def test_one_real_error_among_temporary_ones_decides():
    result = [Diagnostic("error", "a", "429 Too Many Requests"), Diagnostic("error", "b", "no such argument")]
    assert isinstance(to_error(result, verb="plan", module="m", code=1), ToolFailed)


@pytest.mark.parametrize(
    "summary",
    [
        "Saved plan is stale",
        "by Terraform 1.11.4, vs 1.15.5; plan files cannot be transferred between different Terraform versions",
    ],
)
def test_a_plan_that_no_longer_fits_asks_for_a_new_one(summary):
    assert isinstance(error_for(summary), PlanStale)


def test_the_place_is_said_relative_to_the_promise():
    error = error_for("Bad", "worse", address="aws_db.main", file="../shared/main.tf", line=3, column=7)
    (problem,) = error.problems
    assert (problem.file, problem.line, problem.column) == ("terraform/shared/main.tf", 3, 7)
    assert problem.message == "aws_db.main: Bad: worse"
    assert error.where == "payments/orders step db aws_db.main"


def test_a_newer_state_and_a_different_lock_file_say_what_to_do():
    newer = error_for(
        "Error loading state",
        "state snapshot was created by Terraform v1.15.5, which is newer than current v1.11.4",
    )
    assert "BOND_TERRAFORM" in newer.hint
    assert ".terraform.lock.hcl" in error_for("Inconsistent dependency lock file").hint


def test_a_killed_terraform_is_no_fault_of_the_input():
    error = to_error([], verb="apply", module="m", code=-9)
    assert isinstance(error, ToolUnavailable)
    assert "signal 9" in error.message


def test_silence_and_floods_are_bounded():
    assert "said nothing" in to_error([], verb="plan", module="m", code=1).message
    error = to_error([Diagnostic("error", "x", "y" * 10_000)] * 100, verb="plan", module="m", code=1)
    assert len(str(error)) < 40_000


def test_lost_providers_are_recognised():
    assert lost_providers([Diagnostic("error", "Required plugins are not installed")])
    assert not lost_providers([Diagnostic("error", "Invalid value")])
