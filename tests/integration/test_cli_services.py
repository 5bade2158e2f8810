"""`bond service`, `operation` and `state`, driven as processes against a real platform."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import subprocess
import sys

import pytest
from platforms import LocalPlatform, read_json, refused

pytestmark = pytest.mark.integration

CANARY = "canary-7f3a-wren"


def test_a_service_from_request_to_decommission_as_programs_see_it(platform):
    service = "alpha/whole"
    document = read_json(
        platform, "operation-show", "service", "request", "patient", service, "--set", "net.cidr=10.1.0.0/16",
        "--set", "size=medium", "--secret", "password", "--label", "tier=data", "--reason", "a test",
        "--as", "ada", "--wait", stdin_text=f"{CANARY}\n",
    )  # fmt: skip
    assert (document["id"], document["status"], document["requested_by"]) == (
        f"{service}/op/1",
        "succeeded",
        "ada",
    )
    assert [(step["id"], step["status"], step["changes"]["create"]) for step in document["steps"]] == [
        ("first", "succeeded", 1),
        ("second", "succeeded", 1),
    ]
    assert document["steps"][0]["policy"]["findings"][0]["message"] == "medium is rather much"

    shown = read_json(platform, "service-show", "service", "show", service)
    assert (shown["phase"], shown["health"], shown["revision"]) == ("ready", "unknown", "patient@1.0.0")
    assert shown["inputs"]["net"] == {"cidr": "10.1.0.0/16"}
    assert shown["inputs"]["password"] == shown["outputs"]["password"] == "(secret)"
    assert shown["operations"][0]["id"] == document["id"]
    assert shown["links"]["temporal"].endswith("/workflows/service%2Falpha%2Fwhole")

    assert read_json(platform, "service-outputs", "service", "outputs", service)["password"] == "(secret)"
    revealed = read_json(platform, "service-outputs", "service", "outputs", service, "--reveal")
    assert revealed == {"size": "medium", "password": CANARY, "cidr": "10.1.0.0/16"}

    plans = read_json(platform, "operation-plan", "operation", "plan", document["id"])
    assert [(plan["step"], plan["counts"]["create"]) for plan in plans] == [("first", 1), ("second", 1)]
    assert plans[0]["changes"][0]["address"] == "terraform_data.thing"
    assert plans[0]["digest"] == document["steps"][0]["plan"]

    log = read_json(platform, "state-log", "state", "log", service, "--step", "first")
    assert {entry["kind"] for entry in log} >= {"claim", "release"}

    for text in (shown, plans, log, document):
        assert CANARY not in json.dumps(text)

    ended = read_json(platform, "operation-show", "service", "decommission", service, "--yes", "--wait")
    assert (ended["kind"], ended["status"]) == ("decommission", "succeeded")
    history = read_json(platform, "service-history", "service", "history", service)
    assert [(record["operation_kind"], record["status"]) for record in history] == [
        ("provision", "succeeded"),
        ("decommission", "succeeded"),
    ]
    assert history[0]["reason"] == "a test"
    assert CANARY not in json.dumps(history)
    assert service not in platform.bond("service", "list", "--team", "alpha").stdout
    gone = read_json(platform, "service-list", "service", "list", "--team", "alpha", "--all")
    assert [(row["id"], row["phase"]) for row in gone] == [(service, "decommissioned")]


def test_a_service_as_people_see_it(platform, tmp_path):
    service = "beta/seen"
    ran = platform.bond(
        "service", "request", "patient", service, "--set-string", f"password={CANARY}", "--label", "env=test",
        "--wait",
    )  # fmt: skip
    assert "warning: password is a secret and was on the command line" in ran.stderr
    progress = [line.split("  ")[-1] for line in ran.stderr.splitlines() if f"{service}/op/1" in line]
    assert progress[-1].startswith("provision succeeded")
    # a step that is quick is applied between two looks
    assert any(line.startswith("first: ") for line in progress)
    assert ran.stdout == f"{service}/op/1 provision succeeded\n"

    outputs = [
        platform.bond("service", "show", service).stdout,
        platform.bond("service", "list", "--label", "env=test").stdout,
        plan := platform.bond("operation", "plan", f"{service}/op/1").stdout,
        platform.bond("operation", "show", f"{service}/op/1").stdout,
        logs := platform.bond("service", "logs", service).stdout,
        platform.bond("service", "history", service).stdout,
        platform.bond("operation", "list", service).stdout,
    ]
    assert "+ terraform_data.thing" in plan
    assert "policies: allow" in plan
    assert re.search(r"^first apply \| .*terraform_data.thing", logs, re.MULTILINE)
    assert "second apply" in logs
    assert "first" not in platform.bond("operation", "logs", f"{service}/op/1", "--step", "second", "-f").stdout
    for text in [ran.stdout, ran.stderr, *outputs]:
        assert CANARY not in text
        assert "$secret" not in text

    file = tmp_path / "state.json"
    platform.bond("state", "pull", service, "--step", "first", "-f", str(file))
    assert file.stat().st_mode & 0o777 == 0o600
    assert json.loads(file.read_text())["outputs"]["password"]["value"] == CANARY
    assert platform.bond("state", "pull", service, "--step", "first").stdout.strip() == file.read_text().strip()

    labels = platform.bond("service", "label", service, "tier=data", "env-", "-o", "json")
    assert json.loads(labels.stdout) == {"tier": "data"}
    where = ("service", "list", "--where")
    assert service in platform.bond(*where, "labels.tier == 'data' && phase == 'ready'").stdout
    assert service not in platform.bond(*where, "labels.tier == 'gold'").stdout


def test_a_state_is_not_printed_to_a_terminal(platform):
    leader, follower = pty.openpty()
    ran = subprocess.run(
        [sys.executable, "-m", "bondstone.cli.app", "--data", platform.data, "state", "pull", "beta/any"],
        stdout=follower, stderr=subprocess.PIPE, text=True, env=platform.environment, timeout=60, check=False,
    )  # fmt: skip
    os.close(follower)
    os.close(leader)
    assert ran.returncode == 2
    assert "--reveal" in ran.stderr


def test_inputs_that_do_not_fit_are_refused_before_anything_starts(platform):
    arguments = ("service", "request", "patient", "gamma/wrong", "--set", "size=huge", "--set", "sizze=1")
    error = refused(platform.bond(*arguments, "-o", "json", status=2), "INPUTS_INVALID")
    assert {problem["message"].partition(":")[0] for problem in error["problems"]} == {"size", "sizze"}
    errors = platform.bond(*arguments, status=2).stderr
    assert errors.startswith("error[INPUTS_INVALID]: ")
    assert "did you mean 'size'" in errors
    refused(platform.bond("service", "show", "gamma/wrong", "-o", "json", status=3), "NOT_FOUND")


def test_a_secret_that_does_not_fit_is_not_repeated(platform):
    ran = platform.bond(
        "service", "request", "patient", "gamma/short", "--secret", "password", stdin_text="tiny7", status=2
    )
    assert "password" in ran.stderr
    assert "tiny7" not in ran.stderr


def test_a_plan_that_policy_denies_is_not_applied_and_exits_4(platform):
    request = ("service", "request", "patient", "delta/denied", "--set", "size=large", "--wait")
    document = read_json(platform, "operation-show", *request, status=4)
    assert document["error"]["code"] == "POLICY_DENIED"
    [plan] = read_json(platform, "operation-plan", "operation", "plan", document["id"])
    assert plan["policy"]["outcome"] == "deny"
    assert "large is for nobody" in platform.bond("operation", "wait", document["id"], status=4).stderr
    assert json.loads(platform.bond("state", "log", "delta/denied", "--step", "first", "-o", "json").stdout) == []


def test_a_failed_step_is_said_and_retry_takes_up_there(platform, tmp_path):
    service, needed = "delta/flaky", tmp_path / "needed"
    ran = platform.bond("service", "request", "patient", service, "--set", f"needs={needed}", "--wait", status=1)
    assert "error[TOOL_FAILED]" in ran.stderr
    assert f"where: {service}" in ran.stderr or "where: step second" in ran.stderr
    assert "second:failed" in platform.bond("service", "show", service, "-o", "wide").stdout
    needed.touch()
    retried = read_json(platform, "operation-show", "service", "retry", service, "--wait")
    assert [(step["id"], step["status"]) for step in retried["steps"]] == [
        ("first", "kept"),
        ("second", "succeeded"),
    ]
    assert retried["retry_of"] == f"{service}/op/1"
    refused(platform.bond("service", "retry", service, "-o", "json", status=4), "REFUSED")


def test_the_same_request_id_answers_the_same_and_a_taken_name_is_refused(platform):
    request = ("service", "request", "patient", "epsilon/once")
    first = read_json(platform, "operation-show", *request, "--request-id", "r1")
    again = read_json(platform, "operation-show", *request, "--request-id", "r1", "--wait")
    assert again["id"] == first["id"]
    refused(platform.bond(*request, "-o", "json", status=4), "ALREADY_EXISTS")


def test_what_runs_can_be_cancelled(platform):
    service = "epsilon/slow"
    platform.bond("service", "request", "patient", service, "--set", "seconds=15")
    ended = read_json(platform, "operation-show", "service", "cancel", service, "--reason", "enough", "--wait")
    assert ended["status"] == "cancelled"
    assert "enough" in ended["error"]["message"]
    platform.bond("operation", "wait", ended["id"], status=1)
    refused(platform.bond("service", "cancel", service, "-o", "json", status=4), "REFUSED")


def test_decommissioning_asks_first(platform):
    error = refused(platform.bond("service", "decommission", "beta/seen", "-o", "json", status=2), "INVALID_INPUT")
    assert "--yes" in error["hint"]


def test_a_pool_that_nobody_polls_is_said_and_ctrl_c_leaves_the_operation_alone(platform):
    service = "zeta/lonely"
    command = ["service", "request", "patient", service, "--set", "pool=nowhere", "--wait"]
    watcher = subprocess.Popen(
        [sys.executable, "-m", "bondstone.cli.app", "--data", str(platform.data), *command],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env=platform.environment,
    )  # fmt: skip
    assert watcher.stderr
    text = ""
    for line in watcher.stderr:
        text += line
        if "no worker polls pool nowhere" in line:
            break
    else:
        pytest.fail(f"it was not said: {text}")
    watcher.send_signal(signal.SIGINT)
    rest = watcher.communicate(timeout=120)[1]
    assert watcher.returncode == 130
    assert f"{service}/op/1 continues" in rest
    assert "Traceback" not in rest
    assert read_json(platform, "service-show", "service", "show", service)["phase"] == "provisioning"
    read_json(platform, "operation-show", "service", "cancel", service, "--wait")


@pytest.mark.parametrize(
    ("arguments", "status", "code"),
    [
        (["service", "show", "no/such"], 3, "NOT_FOUND"),
        (["service", "show", "nonsense"], 2, "INVALID_INPUT"),
        (["service", "history", "no/such"], 3, "NOT_FOUND"),
        (["service", "request", "nothing", "a/b"], 3, "NOT_FOUND"),
        (["service", "request", "patient", "A/b"], 2, "INVALID_INPUT"),
        (["service", "request", "patient", "a/b", "--set", "size"], 2, "INVALID_INPUT"),
        (["service", "request", "patient", "a/b", "--version", "9.9.9"], 3, "NOT_FOUND"),
        (["service", "request", "patient", "a/b", "--on-failure", "shrug"], 2, "INVALID_INPUT"),
        (["service", "list", "--phase", "happy"], 2, "INVALID_INPUT"),
        (["service", "list", "--where", "phas == 'ready'"], 2, "EXPRESSION_INVALID"),
        (["service", "list", "--where", "phase"], 2, "EXPRESSION_INVALID"),
        (["service", "decommission", "no/such", "--yes"], 3, "NOT_FOUND"),
        (["service", "retry", "no/such"], 3, "NOT_FOUND"),
        (["operation", "show", "no/such/op/1"], 3, "NOT_FOUND"),
        (["operation", "plan", "no/such"], 2, "INVALID_INPUT"),
        (["operation", "wait", "no/such/op/1"], 3, "NOT_FOUND"),
        (["state", "log", "no/such", "--step", "x"], 3, "NOT_FOUND"),
        (["service", "frobnicate"], 2, "INVALID_INPUT"),
    ],
)
def test_mistakes_are_refused_in_words_with_their_exit_code(platform, arguments, status, code):
    refused(platform.bond(*arguments, "-o", "json", status=status), code)


def test_without_a_platform_every_command_says_how_to_get_one(tmp_path):
    nobody = LocalPlatform(tmp_path / "none", {"TEMPORAL_ADDRESS": "127.0.0.1:1"})
    ran = nobody.bond("service", "list", status=None)
    assert ran.returncode == 6
    assert "bond up" in ran.stderr
    assert "Traceback" not in ran.stderr
