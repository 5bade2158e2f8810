"""Day two and approvals through the command, against a real platform and a real Terraform."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from platforms import PROMISES, REQUIRED, LocalPlatform, api_refusals, read_json, refused, running
from ruamel.yaml import YAML

from bondstone.activities.terraform.binary import find_tool
from bondstone.base.settings import Settings
from harness.waiting import wait_until

pytestmark = pytest.mark.integration

CANARY = "canary-19fe-stint"
ROOT = Path(__file__).parents[2]
FIRST = ["changed", "tried", "refused", "patched", "frail", "rising", "denied", "drifting", "resting", "left"]
"""Services at turning@1.0.0, one for each test that changes one."""

WRAPPER = """#!{python} -IS
# Terraform, but that while a file is there it finds a thing changed by hand; a plan to repair takes the file away.
import os, sys
arguments, drifted, command = sys.argv[1:], {drifted!r}, {command!r}
if arguments[0] == "show" and "-json" in arguments and os.path.exists(drifted):
    import json, subprocess
    document = json.loads(subprocess.run([*command, *arguments], check=True, stdout=subprocess.PIPE).stdout)
    values = [{{"input": "as made", "id": "1"}}, {{"input": "by hand", "id": "1"}}]
    document["resource_drift"] = [{{
        "address": "terraform_data.thing", "mode": "managed", "type": "terraform_data", "name": "thing",
        "change": {{"actions": ["update"], "before": values[0], "after": values[1], "after_unknown": {{}},
                    "before_sensitive": {{}}, "after_sensitive": {{}}}},
    }}]
    print(json.dumps(document))
    sys.exit(0)
if arguments[0] == "plan" and "-refresh-only" not in arguments and os.path.exists(drifted):
    os.unlink(drifted)
os.execv(command[0], [*command, *arguments])
"""


def revisions(base: Path) -> dict[str, dict[str, Any]]:
    """The manifests: a patch, a patch that will be yanked, a minor and a major version with other inputs."""

    def manifest(version: str) -> dict[str, Any]:
        document: dict[str, Any] = YAML(typ="safe").load(base / "promise.yaml")
        document["metadata"]["version"] = version
        document["spec"]["steps"][0]["terraform"]["variables"]["text"] = f"{version} ${{inputs.size}}"
        return document

    patch, yanked, minor, major = map(manifest, ("1.0.1", "1.0.2", "1.1.0", "2.0.0"))
    for entry in (yanked, minor):
        entry["spec"]["health"][0]["expression"] = "!inputs.frail"
    patch["spec"]["patch"] = {"health": [{"expression": "!inputs.frail", "within": "1s"}]}
    text = "${steps.thing.outputs.text} and more"
    minor["spec"]["steps"].append(
        {
            "id": "extra",
            "needs": ["thing"],
            "terraform": {"module": "terraform/thing", "variables": {"text": text}},
        }
    )
    spec = major["spec"]
    spec["inputs"]["required"] = ["owner"]
    spec["inputs"]["properties"] = {
        "cores": {"type": "integer", "enum": [2, 8], "default": 2},
        "owner": {"type": "string", "minLength": 3, "description": "Who answers for it."},
        "token": {"type": "string", "writeOnly": True, "minLength": 8},
    }
    spec["steps"][0]["terraform"]["variables"]["text"] = "2.0.0 ${inputs.cores} for ${inputs.owner}"
    spec["upgrade"] = {"from": ">=1.1", "inputs": {"cores": "${inputs.size == 'large' ? 8 : 2}"}}
    spec["policies"] = []
    return {entry["metadata"]["version"]: entry for entry in (patch, yanked, minor, major)}


@pytest.fixture(scope="module")
def day(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalPlatform]:
    """A platform with all revisions of `turning`, and services at the first of them."""
    root = tmp_path_factory.mktemp("day-two")
    tool = find_tool(Settings(data=root, terraform=""))
    shim = [sys.executable, "-I", "-S", str(ROOT / "activities" / "tooling" / "shim.py"), "library", tool.path]
    wrapper = root / "terraform"
    command = shim if tool.mode == "library" else [tool.path]
    wrapper.write_text(
        WRAPPER.format(python=sys.executable, drifted=str(root / "drifted"), command=command), encoding="utf-8"
    )
    wrapper.chmod(0o755)
    with running(root / "data", REQUIRED | {"BOND_TERRAFORM": str(wrapper)}) as platform:
        base = PROMISES / "turning"
        platform.bond("promise", "publish", str(base))
        asyncio.run(provision(platform))
        for version, manifest in revisions(base).items():
            folder = root / version
            shutil.copytree(base, folder)
            (folder / "promise.yaml").write_text(json.dumps(manifest), encoding="utf-8")
            platform.bond("promise", "publish", str(folder))
        platform.bond("promise", "yank", "turning@1.0.2", "--reason", "it loses data")
        yield platform
        platform.bond("ledger", "verify")


async def provision(platform: LocalPlatform) -> None:
    """All services at once."""
    inputs = {"frail": {"frail": True}, "rising": {"size": "large", "password": CANARY}}
    async with platform.client() as bond:
        request = [await bond.services.request("turning", f"team/{name}", inputs.get(name, {})) for name in FIRST]
        await asyncio.gather(*(operation.result() for operation in request))


def text(platform: LocalPlatform, service: str) -> str:
    """What really stands."""
    return str(json.loads(platform.bond("service", "outputs", service, "-o", "json").stdout)["text"])


def test_an_update_changes_what_is_named_and_a_rollback_goes_back(day):
    service = "team/changed"
    request = ("service", "update", service, "--set", "size=large", "--reason", "more orders", "--wait")
    done = read_json(day, "operation-show", *request, "--request-id", "u1")
    assert (done["kind"], done["status"], done["reason"]) == ("update", "succeeded", "more orders")
    assert read_json(day, "operation-show", *request, "--request-id", "u1")["id"] == done["id"]
    shown = read_json(day, "service-show", "service", "show", service)
    assert (shown["inputs"]["size"], shown["inputs"]["frail"]) == ("large", False)
    assert [(past["revision"], past["inputs"]["size"]) for past in shown["ways_back"]] == [
        ("turning@1.0.0", "small")
    ]
    assert "ways back\n  turning@1.0.0 with" in day.bond("service", "show", service).stdout
    assert text(day, service) == "1.0.0 large"

    ran = day.bond("service", "rollback", service, "--wait")
    assert ran.stdout == f"{service}/op/3 rollback succeeded\n"
    assert text(day, service) == "1.0.0 small"


def test_a_dry_run_shows_what_would_change_and_changes_nothing(day):
    service = "team/tried"
    ran = day.bond("service", "upgrade", service, "--to", "1.1.0", "--dry-run")
    assert f"{service}/op/2 dry run of upgrade: turning@1.0.0 -> 1.1.0" in ran.stdout
    assert "~ terraform_data.thing" in ran.stdout
    assert '"1.0.0 small" -> "1.1.0 small"' in ran.stdout
    assert "policies: allow" in ran.stdout
    assert "step extra: deferred" in ran.stdout
    assert ran.stdout.endswith("nothing was changed\n")
    shown = read_json(day, "service-show", "service", "show", service)
    assert (shown["revision"], shown["phase"]) == ("turning@1.0.0", "ready")
    assert shown["operations"][0]["dry_run"] is True
    assert "upgrade 2 (dry run)" in day.bond("service", "history", service).stdout

    denied = read_json(day, "operation-show", "service", "update", service, "--set", "size=huge", "--dry-run",
                       status=4)  # fmt: skip
    assert denied["plans"][0]["policy"]["findings"][0]["message"] == "huge is for nobody"
    assert denied["plans"][0]["changes"][0]["after"]["input"] == "1.0.0 huge"
    gone = day.bond("service", "decommission", service, "--dry-run").stdout
    assert "- terraform_data.thing" in gone
    assert text(day, service) == "1.0.0 small"

    first = read_json(day, "operation-show", "service", "request", "turning", "team/never", "--version", "1.1.0",
                      "--dry-run")  # fmt: skip
    assert [(step["id"], step["status"]) for step in first["steps"]] == [
        ("thing", "succeeded"),
        ("extra", "deferred"),
    ]
    assert [(plan["step"], plan["counts"]["create"]) for plan in first["plans"]] == [("thing", 1)]
    assert "team/never" not in day.bond("service", "list").stdout


def test_a_patch_says_from_where_to_where(day):
    service = "team/patched"
    ran = day.bond("service", "patch", service, "--wait")
    assert ran.stdout == f"{service}/op/2 patch succeeded: turning@1.0.0 -> 1.0.1\n"  # 1.0.2 is yanked
    assert text(day, service) == "1.0.1 small"
    error = refused(day.bond("service", "patch", service, "-o", "json", status=3), "NOT_FOUND")
    assert "no newer patch of turning@1.0.1" in error["message"]
    error = refused(day.bond("service", "patch", service, "--to", "1.0.0", "-o", "json", status=4), "REFUSED")
    assert "1.0.0 is older than 1.0.1" in error["message"]
    assert "rollback" in error["hint"]


def test_a_patch_that_is_not_healthy_is_rolled_back_and_says_both(day):
    service = "team/frail"
    ran = day.bond("service", "patch", service, "--to", "1.0.1", "--wait", status=1)
    words = "was rolled back: health !inputs.frail (inputs.frail is true): the expression is not true "
    words += "(rolled back to turning@1.0.0)"
    assert ran.stdout == f"{service}/op/2 patch {words}\n"
    assert "error[UNHEALTHY]" in ran.stderr
    assert "rolled back to turning@1.0.0" in ran.stderr
    record = read_json(day, "operation-show", "operation", "show", f"{service}/op/2")
    assert [(step["id"], step["part"]) for step in record["steps"]] == [("thing", ""), ("thing", "rollback")]
    shown = read_json(day, "service-show", "service", "show", service)
    assert (shown["revision"], shown["phase"], shown["health"]) == ("turning@1.0.0", "ready", "healthy")
    assert text(day, service) == "1.0.0 small"
    plans = day.bond("operation", "plan", f"{service}/op/2").stdout
    assert "step rollback: thing" in plans


def test_an_upgrade_across_a_major_version_transforms_the_inputs_and_waits_for_somebody_else(day):
    service = "team/rising"
    done = read_json(day, "operation-show", "service", "upgrade", service, "--to", "1.1.0", "--wait")
    assert (done["status"], done["revision_before"], done["revision"]) == (
        "succeeded",
        "turning@1.0.0",
        "turning@1.1.0",
    )
    error = refused(day.bond("service", "upgrade", service, "-o", "json", status=2), "INPUTS_INVALID")
    assert [problem["message"] for problem in error["problems"]] == ["owner is required"]
    error = refused(
        day.bond("service", "upgrade", service, "--set", "owner=ab", "--set", "cores=3", "-o", "json", status=2),
        "INPUTS_INVALID",
    )
    assert {problem["message"].partition(":")[0] for problem in error["problems"]} == {"owner", "cores"}
    plan = day.bond("service", "upgrade", service, "--set", "owner=ops", "--dry-run").stdout
    assert "step removed: extra: 1 to delete" in plan

    completed = day.bond(
        "service", "upgrade", service, "--set", "owner=ops", "--secret", "token", "--as", "ada", "--reason", "new",
        "--wait", status=5, stdin_text=f"{CANARY}\n",
    )  # fmt: skip
    operation = f"{service}/op/4"
    words = "waits for approval of step thing by anybody but ada, since"
    assert completed.stdout.startswith(f"{operation} upgrade {words} ")
    assert "because:     the upgrade crosses a major version: 1.1.0 to 2.0.0" in completed.stderr
    command = re.search(r"bond (approval approve .*)", completed.stderr)
    assert command

    [waits] = read_json(day, "approval-list", "approval", "list")
    assert (waits["operation"], waits["step"], waits["requested_by"]) == (operation, "thing", "ada")
    assert len(waits["digest"]) == 64
    listed = day.bond("approval", "list").stdout
    assert waits["digest"][:12] in listed
    assert waits["digest"] not in listed
    assert "1 of anybody but ada" in listed
    shown = read_json(day, "service-show", "service", "show", service)
    assert (shown["phase"], shown["operations"][0]["steps"][0]["status"]) == ("awaiting-approval", "checking")
    look = day.bond("operation", "plan", operation).stdout
    assert '"1.1.0 large" -> "2.0.0 8 for ops"' in look
    assert f"bond approval approve {operation} --step thing --digest {waits['digest'][:12]}" in look

    approve = ("approval", "approve", operation, "--step", "thing", "--digest")
    elsewhere = ("approval", "approve", operation, "--step", "extra", "--digest", waits["digest"])
    silent = ("approval", "reject", operation, "--digest", waits["digest"], "--reason", "")
    for wrong, status, code, words in [
        ((*approve, waits["digest"], "--as", "ada"), 4, "VOTE_REFUSED", "another person must approve"),
        ((*approve, "0" * 64), 4, "VOTE_STALE", "no plan 000000000000 waits there"),
        ((*approve, waits["digest"][:11]), 2, "INVALID_INPUT", "not a plan's digest"),
        (elsewhere, 4, "REFUSED", "waits for no approval"),
        (silent, 2, "INVALID_INPUT", "needs a reason"),
    ]:
        error = refused(day.bond(*wrong, "-o", "json", status=status), code)
        assert words in error["message"]
    [stale], path = api_refusals(day, "VOTE_STALE"), f"/api/v1/operations/{operation}/approve"
    [undecided] = read_json(day, "operation-show", "operation", "show", operation)["approvals"]
    assert (stale["path"], stale["status"], undecided["status"], undecided["votes"]) == (path, 412, "waiting", [])

    printed = day.bond(*command[1].split(), "--as", "eve", "--comment", "seen")
    assert f"{operation} step thing plan {waits['digest'][:12]}: approved" in printed.stdout
    # taking away what the new revision no longer has is a plan of its own
    [second] = waiting_for(day, operation, "extra")
    day.bond("approval", "approve", operation, "--digest", second["digest"], "--as", "eve")
    done = read_json(day, "operation-show", "operation", "wait", operation)
    assert (done["status"], done["approvals"][0]["votes"][0]["by"]) == ("succeeded", "eve")
    shown = read_json(day, "service-show", "service", "show", service)
    assert shown["inputs"] == {"cores": 8, "owner": "ops", "token": "(secret)"}
    assert text(day, service) == "2.0.0 8 for ops"
    error = refused(day.bond(*approve, waits["digest"], "-o", "json", status=4), "REFUSED")
    assert "the operation has ended: succeeded" in error["message"]
    kinds = [record["kind"] for record in read_json(day, "service-history", "service", "history", service)]
    assert kinds[-3:] == ["approval", "approval", "operation"]
    for told in (completed.stderr, look, json.dumps(done), json.dumps(shown)):
        assert CANARY not in told


def waiting_for(day: LocalPlatform, operation: str, step: str) -> list[dict[str, Any]]:
    """The gate of a step, once the operation has come to it."""
    day.bond("operation", "wait", operation, status=5)
    document = json.loads(day.bond("operation", "show", operation, "-o", "json").stdout)
    return [gate for gate in document["approvals"] if (gate["step"], gate["status"]) == (step, "waiting")]


def test_a_rejection_ends_the_operation_with_its_reason_and_exits_4(day):
    service = "team/denied"
    day.bond("service", "update", service, "--set", "size=large", "--ask", "--as", "ada", "--wait", status=5)
    operation = f"{service}/op/2"
    [waits] = waiting_for(day, operation, "thing")
    told = read_json(
        day, "approval-approve", "approval", "reject", operation, "--digest", waits["digest"][:20], "--reason",
        "not this week", "--as", "eve",
    )  # fmt: skip
    assert told["status"] == "rejected"
    ran = day.bond("operation", "wait", operation, status=4)
    assert "error[APPROVAL_REJECTED]: eve rejected the plan of step thing: not this week" in ran.stderr
    assert "eve rejected at" in day.bond("operation", "show", operation).stdout
    assert read_json(day, "service-show", "service", "show", service)["phase"] == "ready"
    assert text(day, service) == "1.0.0 small"


def test_reconcile_prints_what_drifted_and_repairs_it_when_asked(day):
    service, drifted = "team/drifting", day.data.parent / "drifted"
    ran = day.bond("service", "reconcile", service, "--wait")
    assert ran.stdout == f"{service}/op/2 reconcile succeeded\n  no drift\n"
    drifted.touch()
    ran = day.bond("service", "reconcile", service, "--wait")
    assert "  1 object differs\n  thing: terraform_data.thing\n" in ran.stdout
    assert "--repair" in ran.stderr
    assert read_json(day, "service-show", "service", "show", service)["drift"] == 1
    assert "drift:" in day.bond("service", "show", service).stdout
    wait_until(lambda: drifted_services(day) == [(service, 1)], "the drift in the list", seconds=60)
    day.bond("service", "reconcile", service, "--repair", "--wait")
    assert not drifted.exists()
    assert read_json(day, "service-show", "service", "show", service)["drift"] == 0
    wait_until(lambda: drifted_services(day) == [], "no drift in the list", seconds=60)


def drifted_services(day: LocalPlatform) -> list[tuple[str, int]]:
    rows = read_json(day, "service-list", "service", "list", "--where", "drift > 0")
    return [(row["id"], row["drift"]) for row in rows]


def test_a_service_is_paused_resumed_and_abandoned(day):
    service = "team/resting"
    paused = read_json(day, "service-show", "service", "pause", service, "--as", "ada")
    assert paused["paused_by"] == "ada"
    assert "paused by:" in day.bond("service", "show", service).stdout
    error = refused(day.bond("service", "pause", service, "-o", "json", status=4), "REFUSED")
    assert error["message"] == "the service is paused already, by ada"
    assert day.bond("service", "resume", service).stdout == f"{service} resumed\n"
    error = refused(day.bond("service", "resume", service, "-o", "json", status=4), "REFUSED")
    assert error["message"] == "the service is not paused"

    service = "team/left"
    error = refused(day.bond("service", "abandon", service, "-o", "json", status=2), "INVALID_INPUT")
    assert "needs a reason" in error["message"]
    left = read_json(day, "service-show", "service", "abandon", service, "--reason", "kept by hand")
    assert left["phase"] == "abandoned"
    assert service not in day.bond("service", "list").stdout
    record = read_json(day, "service-history", "service", "history", service)[-1]
    assert (record["kind"], record["reason"]) == ("abandon", "kept by hand")
    error = refused(day.bond("service", "patch", service, "-o", "json", status=3), "NOT_FOUND")
    assert error["message"] == f"{service} is abandoned"


@pytest.mark.parametrize(
    ("arguments", "status", "code", "words"),
    [
        (["update", "team/refused"], 2, "INVALID_INPUT", "names no input to change"),
        (["update", "team/refused", "--set", "sise=1"], 2, "INPUTS_INVALID", "1 problem"),
        (["update", "team/none", "--set", "size=large"], 3, "NOT_FOUND", "there is no service team/none"),
        (["patch", "team/refused", "--to", "1.1.0"], 4, "REFUSED", "1.0.0 to 1.1.0 is an upgrade, not a patch"),
        (["patch", "team/refused", "--to", "1.0.0"], 4, "REFUSED", "at 1.0.0 already"),
        (["patch", "team/refused", "--to", "1.0.2"], 4, "REVISION_YANKED", "it loses data"),
        (["patch", "team/refused", "--to", "1.0.9"], 3, "NOT_FOUND", "turning has no version 1.0.9"),
        (["patch", "team/refused", "--to", "next"], 2, "INVALID_INPUT", "'next' is not a version"),
        (["patch", "team/none"], 3, "NOT_FOUND", "there is no service team/none"),
        (["upgrade", "team/refused", "--to", "1.0.1"], 4, "REFUSED", "is a patch, not an upgrade"),
        (["upgrade", "team/refused", "--to", "2.0.0"], 4, "REFUSED", "is reached from >=1.1 only"),
        (["rollback", "team/refused"], 4, "REFUSED", "nothing to roll back to"),
        (["abandon", "team/none", "--reason", "x"], 3, "NOT_FOUND", "there is no service team/none"),
    ],
)
def test_what_cannot_be_is_refused_in_words(day, arguments, status, code, words):
    error = refused(day.bond("service", *arguments, "-o", "json", status=status), code)
    assert words in error["message"]
