"""Services made of services, on a real platform with a real Terraform: a parent and its parts."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import Any, NamedTuple, get_args
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from parts_walk import Act, Verb, Walk
from platforms import InProcess, LocalPlatform, read_json, refused, until

pytestmark = pytest.mark.integration

MODULE = """
variable "text" { type = string }
variable "fail" { default = false }
resource "terraform_data" "it" {
  input = var.text
  lifecycle {
    precondition {
      condition     = !var.fail
      error_message = "the author says no"
    }
  }
}
output "text" { value = "${var.suffix}${terraform_data.it.output}" }
variable "suffix" { default = "" }
"""


def write(folder: Path, name: str, version: str, spec: dict[str, Any], suffix: str = "") -> Path:
    promise = {
        "apiVersion": "bondstone.dev/v1",
        "kind": "Promise",
        "metadata": {"name": name, "version": version},
        "spec": spec,
    }
    target = folder / f"{name}-{version}"
    (target / "terraform" / "main").mkdir(parents=True)
    (target / "promise.yaml").write_text(json.dumps(promise))
    module = MODULE.replace('variable "suffix" { default = "" }', f'variable "suffix" {{ default = "{suffix}" }}')
    (target / "terraform" / "main" / "main.tf").write_text(module)
    return target


INPUTS = {
    "type": "object",
    "additionalProperties": False,
    "properties": {
        "text": {"type": "string", "default": "plain"},
        "fail": {"type": "boolean", "default": False},
        "ask": {"type": "boolean", "default": False},
        "pool": {"type": "string", "default": "default"},
    },
}


def leaf(folder: Path, version: str, suffix: str = "") -> Path:
    section = {"module": "terraform/main", "variables": {"text": "${inputs.text}", "fail": "${inputs.fail}"}}
    spec = {
        "inputs": INPUTS,
        "outputs": {"text": {"value": "${steps.it.outputs.text}"}},
        "approval": [{"when": "inputs.ask", "roles": ["dba"]}],
        "steps": [{"id": "it", "pool": "${inputs.pool}", "terraform": section}],
    }
    return write(folder, "leaf", version, spec, suffix)


def tree(
    folder: Path,
    version: str = "1.0.0",
    *,
    name: str = "tree",
    bind: str = "",
    accepts: str = ">=1.0 <2",
    service: str = "",
    adopted: str = "",
) -> Path:
    part: dict[str, Any] = {"as": "part", "promise": "leaf", "version": accepts}
    if adopted:
        part["adopted"] = adopted
    if service:
        part["service"] = service
    part |= (
        {"bind": bind}
        if bind
        else {"inputs": {name: f"${{inputs.{name}}}" for name in ("text", "fail", "ask", "pool")}}
    )
    section = {"module": "terraform/main", "variables": {"text": "${requires.part.outputs.text}!"}}
    spec = {
        "inputs": INPUTS,
        "outputs": {"text": {"value": "${steps.top.outputs.text}"}},
        "requires": [part],
        "steps": [{"id": "top", "terraform": section}],
    }
    return write(folder, name, version, spec)


def pair(folder: Path) -> Path:
    """A service with a part of its own and one that is shared, both seen in what it gives."""
    target = tree(folder, name="pair")
    file = target / "promise.yaml"
    promise = json.loads(file.read_text())
    common = {"as": "common", "promise": "leaf", "version": ">=1.0 <2", "bind": "${service.team}/common"}
    promise["spec"]["requires"].append(common)
    text = "${requires.part.outputs.text} and ${requires.common.outputs.text}"
    promise["spec"]["steps"][0]["terraform"]["variables"]["text"] = text
    file.write_text(json.dumps(promise))
    return target


def grand(folder: Path) -> Path:
    """A service whose part is a tree, so that the part of that part is two levels below."""
    target = tree(folder, name="grand")
    file = target / "promise.yaml"
    promise = json.loads(file.read_text())
    promise["spec"]["requires"][0]["promise"] = "tree"
    file.write_text(json.dumps(promise))
    return target


@pytest.fixture(scope="module")
def platform(platform: LocalPlatform, tmp_path_factory: pytest.TempPathFactory) -> LocalPlatform:
    """The platform that tests share, with promises that require others."""
    folder = tmp_path_factory.mktemp("promises")
    local = InProcess(platform)
    folders = [
        leaf(folder, "1.0.0"),
        leaf(folder, "1.0.1", "patched "),
        leaf(folder, "2.0.0"),
        tree(folder),
        tree(folder, name="sharer", bind="shop/shared"),
        tree(folder, name="drinker", bind="house/well"),
        tree(folder, name="guest", service="house/${service.name}-part"),
        tree(folder, name="devourer", adopted="decommission"),
        tree(folder, name="widening", accepts="=1.0.0"),
        tree(folder, "1.0.1", name="widening"),
        pair(folder),
        grand(folder),
    ]
    for each in folders:
        local.bond("promise", "publish", str(each))
    return local


def show(platform: LocalPlatform, service: str) -> dict[str, Any]:
    return read_json(platform, "service-show", "service", "show", service)


def made(platform: LocalPlatform, service: str, *arguments: str, promise: str = "tree") -> dict[str, Any]:
    platform.bond("service", "request", promise, service, *arguments, "--wait")
    return show(platform, service)


class Tree(NamedTuple):
    """A parent and its part, as they were once both were ready."""

    parent: dict[str, Any]
    part: dict[str, Any]


@pytest.fixture(scope="module")
def first(platform: LocalPlatform) -> Tree:
    """`shop/first`, which each test leaves as it was."""
    parent = made(platform, "shop/first")
    return Tree(parent, show(platform, "shop/first-part"))


def test_a_parent_makes_its_part_first_and_uses_what_it_gives(first: Tree) -> None:
    parent, part = first
    assert part["phase"] == "ready"
    assert parent["outputs"]["text"] == f"{part['outputs']['text']}!"
    operation = part["operations"][0]
    assert operation["reason"] == "part `part` of shop/first"
    assert operation["requested_by"] == parent["operations"][0]["requested_by"]


@pytest.mark.usefixtures("first")
def test_an_update_changes_the_parts_whose_inputs_change_and_a_rollback_takes_them_back(
    platform: LocalPlatform,
) -> None:
    platform.bond("service", "update", "shop/first", "--set", "text=b", "--wait")
    assert show(platform, "shop/first-part")["inputs"]["text"] == "b"
    assert show(platform, "shop/first")["outputs"]["text"].endswith("b!")
    platform.bond("service", "rollback", "shop/first", "--wait")
    assert show(platform, "shop/first-part")["inputs"]["text"] == "plain"
    assert show(platform, "shop/first")["outputs"]["text"].endswith("plain!")


async def test_a_patch_of_a_part_reaches_its_parent_by_itself(platform: LocalPlatform) -> None:
    platform.bond("service", "request", "leaf", "shop/shared", "--version", "1.0.0", "--wait")
    parent = made(platform, "shop/sharing", promise="sharer")
    other = made(platform, "shop/sharing-too", promise="sharer")
    assert parent["outputs"]["text"] == other["outputs"]["text"] == "plain!"
    platform.bond("service", "patch", "shop/shared", "--to", "1.0.1", "--wait")
    for name in ("shop/sharing", "shop/sharing-too"):
        await until(lambda name=name: show(platform, name)["outputs"]["text"] == "patched plain!")
        operation = show(platform, name)["operations"][0]
        assert (operation["kind"], operation["requested_by"]) == ("update", "bondstone")
        assert "its part shop/shared changed" in operation["reason"]
        [entry] = [row for row in read_json(platform, "service-history", "service", "history", name)
                   if row["operation"] == operation["id"]]  # fmt: skip
        assert (operation["cause"], entry["cause"]) == ("shop/shared/op/2", "shop/shared/op/2")
    error = refused(
        platform.bond("service", "upgrade", "shop/shared", "--to", "2.0.0", "-o", "json", status=4), "REFUSED"
    )
    assert "shop/sharing (accepts >=1.0 <2)" in error["message"]
    error = refused(
        platform.bond("service", "decommission", "shop/shared", "--yes", "-o", "json", status=4), "REFUSED"
    )
    assert "shop/sharing, shop/sharing-too" in error["message"]
    platform.bond("service", "decommission", "shop/sharing", "--yes", "--wait")
    platform.bond("service", "decommission", "shop/sharing-too", "--yes", "--wait")
    assert show(platform, "shop/shared")["phase"] == "ready", "a shared part is let go of, not taken down"
    platform.bond("service", "decommission", "shop/shared", "--yes", "--wait")


def test_a_parts_failure_is_the_parents_in_the_parts_words_and_a_retry_goes_on_inside_it(
    platform: LocalPlatform,
) -> None:
    ran = platform.bond("service", "request", "tree", "shop/failing", "--set", "fail=true", "--wait", status=1)
    assert "the author says no" in ran.stderr
    assert show(platform, "shop/failing")["phase"] == "failed"
    assert show(platform, "shop/failing-part")["phase"] == "failed"
    platform.bond("service", "request", "tree", "shop/failing", "--set", "fail=false", "--wait")
    assert show(platform, "shop/failing")["phase"] == "ready"
    assert show(platform, "shop/failing-part")["phase"] == "ready"


async def test_a_part_that_waits_for_people_holds_its_parent_and_its_approval_lets_both_go_on(
    platform: LocalPlatform,
) -> None:
    platform.bond("--as", "ada", "service", "request", "tree", "shop/asking", "--set", "ask=true")
    await until(lambda: _waiting(platform, "shop/asking-part"))
    assert show(platform, "shop/asking")["phase"] == "provisioning"
    approval = _waiting(platform, "shop/asking-part")[0]
    platform.bond(
        "--as",
        "eve",
        "approval",
        "approve",
        approval["operation"],
        "--role",
        "dba",
        "--digest",
        approval["digest"],
    )
    await until(lambda: show(platform, "shop/asking")["phase"] == "ready")


async def test_a_part_in_another_team_waits_for_somebody_of_that_team(platform: LocalPlatform) -> None:
    platform.bond("--as", "ada", "service", "request", "guest", "shop/visitor")
    await until(lambda: _waiting(platform, "house/visitor-part"), seconds=60)
    assert show(platform, "shop/visitor")["phase"] == "provisioning"
    [approval] = _waiting(platform, "house/visitor-part")
    platform.bond("--as", "eve", "approval", "approve", approval["operation"], "--digest", approval["digest"])
    await until(lambda: show(platform, "shop/visitor")["phase"] == "ready", seconds=60)


async def test_a_service_of_another_team_is_bound_to_only_when_that_team_shares_it(
    platform: LocalPlatform,
) -> None:
    platform.bond("service", "request", "leaf", "house/well", "--version", "1.0.0", "--wait")
    ran = platform.bond("service", "request", "drinker", "shop/thirsty", "--wait", status=4)
    assert "house/well belongs to house, which does not share it with shop" in ran.stderr
    platform.bond("service", "label", "house/well", "share-with=shop")
    platform.bond("service", "retry", "shop/thirsty", "--wait")
    assert show(platform, "house/well")["parents"] == ["shop/thirsty"]


async def test_cancelling_a_parent_cancels_the_part_it_waits_for(platform: LocalPlatform) -> None:
    platform.bond("--as", "ada", "service", "request", "tree", "shop/stopped", "--set", "ask=true")
    await until(lambda: _waiting(platform, "shop/stopped-part"))
    platform.bond("service", "cancel", "shop/stopped", "--wait")
    await until(lambda: show(platform, "shop/stopped-part")["operations"][0]["status"] == "cancelled")
    assert show(platform, "shop/stopped")["operations"][0]["status"] == "cancelled"


def test_a_dry_run_goes_all_the_way_down_and_makes_nothing(platform: LocalPlatform) -> None:
    platform.bond("service", "request", "tree", "shop/tried", "--dry-run", "--wait")
    plan = read_json(platform, "operation-plan", "operation", "plan", "shop/tried/op/1", "--step", "part")
    addresses = [change["address"] for change in plan[0]["changes"]]
    assert addresses == ["service/shop/tried-part", "shop/tried-part: terraform_data.it"]
    assert [row["id"] for row in read_json(platform, "service-list", "service", "list")
            if row["id"].startswith("shop/tried") and row["phase"] == "ready"] == []  # fmt: skip


def test_a_service_of_that_name_which_is_no_part_is_never_touched(platform: LocalPlatform) -> None:
    platform.bond("service", "request", "leaf", "shop/taken-part", "--wait")
    ran = platform.bond("service", "request", "tree", "shop/taken", "--wait", status=4)
    assert "shop/taken-part exists, and is not a part of shop/taken" in ran.stderr
    assert len(show(platform, "shop/taken-part")["operations"]) == 1


def test_a_service_that_exists_becomes_a_part_once_it_is_given_and_outlives_its_parent(
    platform: LocalPlatform,
) -> None:
    part = "shop/grown-part"
    platform.bond("service", "request", "leaf", part, "--version", "1.0.0", "--set", "text=old", "--wait")
    ran = platform.bond("service", "request", "tree", "shop/grown", "--wait", status=4)
    assert f"give it to its parent: bond service label {part} give-to=shop/grown" in ran.stderr
    platform.bond("service", "label", part, "give-to=shop/grown")
    ran = platform.bond("service", "retry", "shop/grown", "--wait", status=4)
    assert f"{part} has other inputs than shop/grown wants: text" in ran.stderr
    platform.bond("service", "request", "tree", "shop/grown", "--set", "text=old", "--wait")
    taken, parent = show(platform, part), show(platform, "shop/grown")
    assert (taken["parents"], len(taken["operations"])) == (["shop/grown"], 1), "it is taken over as it stands"
    assert parent["outputs"]["text"] == "old!"
    plan = read_json(
        platform, "operation-plan", "operation", "plan", parent["operations"][0]["id"], "--step", "part"
    )
    assert [change["after"]["does"] for change in plan[0]["changes"]] == ["adopt"]
    error = refused(platform.bond("service", "decommission", part, "--yes", "-o", "json", status=4), "REFUSED")
    assert "a part of shop/grown" in error["message"]
    platform.bond("service", "update", "shop/grown", "--set", "text=new", "--wait")
    assert show(platform, part)["inputs"]["text"] == "new", "it changes with its parent from then on"
    platform.bond("service", "decommission", "shop/grown", "--yes", "--wait")
    left = show(platform, part)
    assert (left["phase"], left["parents"]) == ("ready", []), "it was there before, so it is only let go of"
    platform.bond("service", "decommission", part, "--yes", "--wait")


def test_a_given_part_goes_with_its_parent_where_the_promise_says_so(platform: LocalPlatform) -> None:
    platform.bond("service", "request", "leaf", "shop/wed-part", "--version", "1.0.0", "--wait")
    platform.bond("service", "label", "shop/wed-part", "give-to=shop/wed")
    made(platform, "shop/wed", promise="devourer")
    platform.bond("service", "decommission", "shop/wed", "--yes", "--wait")
    rows = read_json(platform, "service-list", "service", "list")
    assert not [row["id"] for row in rows if row["id"].startswith("shop/wed")]


def test_a_part_hears_which_versions_its_parent_accepts_now(platform: LocalPlatform) -> None:
    made(platform, "shop/wider", "--version", "1.0.0", promise="widening")
    refusal = platform.bond("service", "patch", "shop/wider-part", "--to", "1.0.1", status=4).stderr
    assert "shop/wider (accepts =1.0.0)" in refusal
    platform.bond("service", "patch", "shop/wider", "--to", "1.0.1", "--wait")
    assert show(platform, "shop/wider-part")["revision"] == "leaf@1.0.0"
    platform.bond("service", "patch", "shop/wider-part", "--to", "1.0.1", "--wait")
    assert show(platform, "shop/wider-part")["revision"] == "leaf@1.0.1"


def test_a_part_runs_in_its_own_pool(platform: LocalPlatform) -> None:
    parent = made(platform, "shop/far", "--set", "pool=east")
    assert {step["id"]: step["pool"] for step in parent["operations"][0]["steps"]}["top"] == "default"
    assert show(platform, "shop/far-part")["operations"][0]["steps"][0]["pool"] == "east"
    assert parent["outputs"]["text"].endswith("plain!")


@pytest.mark.usefixtures("first")
def test_a_reconcile_of_a_parent_undoes_what_was_changed_in_its_part(platform: LocalPlatform) -> None:
    platform.bond("service", "update", "shop/first-part", "--set", "ask=true", "--wait")  # changes no output
    platform.bond("service", "reconcile", "shop/first", "--wait")
    looked = show(platform, "shop/first")["operations"][0]
    assert (looked["kind"], looked["drift"]) == ("reconcile", 1)
    platform.bond("service", "reconcile", "shop/first", "--repair", "--wait")
    assert show(platform, "shop/first-part")["inputs"]["ask"] is False


POLICY = """package trees

import rego.v1

deny contains msg if {
	some parent in input.tree.parents
	parent.name == "judged"
	msg := sprintf("%s of %s is not wanted", [parent.as, parent.name])
}

deny contains msg if {
	some part in input.tree.parts
	part.name == "judged-too-part"
	msg := sprintf("no %s here", [part.name])
}
"""


def test_policies_see_the_tree(platform: LocalPlatform, tmp_path: Path) -> None:
    (tmp_path / "trees.rego").write_text(POLICY)
    platform.bond("policy", "publish", str(tmp_path))
    ran = platform.bond("service", "request", "tree", "shop/judged", "--wait", status=1)
    assert "part of judged is not wanted" in ran.stderr
    assert show(platform, "shop/judged-part")["phase"] == "failed"
    ran = platform.bond("service", "request", "tree", "shop/judged-too", "--wait", status=4)
    assert "no judged-too-part here" in ran.stderr


@pytest.mark.usefixtures("first")
async def test_a_compound_adopts_a_state_for_its_own_step_and_makes_its_part(
    platform: LocalPlatform, tmp_path: Path
) -> None:
    state = tmp_path / "top.tfstate"
    platform.bond("state", "pull", "shop/first", "--step", "top", "-f", str(state))
    platform.bond("--as", "ada", "service", "adopt", "tree", "shop/adopted", "--state", f"top={state}")
    await until(lambda: _waiting(platform, "shop/adopted"))
    [approval] = _waiting(platform, "shop/adopted")
    assert approval["step"] == "part", "an adoption makes nothing unasked, not a part either"
    vote = ["approve", approval["operation"], "--step", "part", "--digest", approval["digest"]]
    platform.bond("--as", "eve", "approval", *vote)
    await until(lambda: show(platform, "shop/adopted")["phase"] == "ready")
    steps = {step["id"]: step["status"] for step in show(platform, "shop/adopted")["operations"][0]["steps"]}
    assert steps == {"part": "succeeded", "top": "unchanged"}
    assert show(platform, "shop/adopted-part")["phase"] == "ready"


def test_decommissioning_takes_the_parent_down_before_its_part(platform: LocalPlatform) -> None:
    made(platform, "shop/leaving")
    error = refused(
        platform.bond("service", "decommission", "shop/leaving-part", "--yes", "-o", "json", status=4), "REFUSED"
    )
    assert "a part of shop/leaving" in error["message"]
    platform.bond("service", "decommission", "shop/leaving", "--yes", "--wait")
    rows = [row["id"] for row in read_json(platform, "service-list", "service", "list")]
    assert not [name for name in rows if name.startswith("shop/leaving")]


def campaign(folder: Path, name: str, **spec: Any) -> str:
    document = {
        "apiVersion": "bondstone.dev/v1",
        "kind": "Campaign",
        "metadata": {"name": name, "reason": "a test"},
        "spec": {"waves": [{"name": "all", "rest": True}], **spec},
    }
    file = folder / f"{name}.json"
    file.write_text(json.dumps(document))
    return str(file)


def test_a_campaign_takes_a_tree_as_one_target_and_parts_alone_as_others(
    platform: LocalPlatform, tmp_path: Path
) -> None:
    for name in ("fleet/one", "fleet/two"):
        made(platform, name)
    ours = {"where": "team == 'fleet'"}
    change = {"operation": "update", "promise": "tree", "inputs": {"text": "new"}, "select": ours}
    file = campaign(tmp_path, "trees", unit="tree", budget={"max_failures": 1}, **change)
    preview = read_json(platform, "campaign-preview", "campaign", "preview", "-f", file)
    assert {target["service"]: target["parts"] for target in preview["selected"]} == {
        "fleet/one": ["fleet/one-part"],
        "fleet/two": ["fleet/two-part"],
    }
    assert (preview["targets"], preview["waves"][0]["targets"], preview["max_failures"]) == (2, 2, 1)
    platform.bond("campaign", "run", "-f", file, "--wait")
    shown = read_json(platform, "campaign-show", "campaign", "show", "trees")
    assert (shown["unit"], shown["targets"], shown["counts"]) == ("tree", 2, {"succeeded": 2})
    assert show(platform, "fleet/two-part")["inputs"]["text"] == "new"

    alone = campaign(tmp_path, "parts-alone", operation="rollback", select=ours, order="name")
    preview = read_json(platform, "campaign-preview", "campaign", "preview", "-f", alone)
    assert [target["service"] for target in preview["selected"]] == [
        "fleet/one-part", "fleet/one", "fleet/two-part", "fleet/two"
    ]  # fmt: skip
    trees = campaign(tmp_path, "only-trees", operation="rollback", select=ours, unit="tree")
    platform.bond("campaign", "run", "-f", trees, "--wait")
    for name in ("fleet/one-part", "fleet/two-part"):
        assert show(platform, name)["inputs"]["text"] == "plain", "it went back with its parent, once"


def test_a_reconcile_of_trees_goes_into_the_parts_of_parts_each_before_its_parent(
    platform: LocalPlatform, tmp_path: Path
) -> None:
    top, middle, bottom = "deep/one", "deep/one-part", "deep/one-part-part"
    made(platform, top, promise="grand")
    platform.bond("service", "update", bottom, "--set", "ask=true", "--wait")  # changes no output

    def looked() -> dict[str, Any]:
        operation: dict[str, Any] = show(platform, top)["operations"][0]
        return operation

    platform.bond("service", "reconcile", top, "--wait")
    assert (looked()["kind"], looked()["drift"]) == ("reconcile", 0), "its own part is as it wants it"
    platform.bond("service", "reconcile", top, "--parts", "--wait")
    steps = {step["id"]: step["drift"] for step in looked()["steps"]}
    assert steps == {"part": [f"{middle}: service/{bottom}"], "top": []}
    assert looked()["drift"] == 1
    assert show(platform, bottom)["inputs"]["ask"] is True, "only looked at"

    select = {"where": "team == 'deep'"}
    file = campaign(tmp_path, "deep", operation="reconcile", repair=True, unit="tree", select=select)
    platform.bond("campaign", "run", "-f", file, "--wait")
    shown = read_json(platform, "campaign-show", "campaign", "show", "deep")
    assert (shown["unit"], shown["targets"], shown["counts"]) == ("tree", 1, {"succeeded": 1})
    assert show(platform, bottom)["inputs"]["ask"] is False
    inner = show(platform, middle)["operations"][0]
    assert (inner["kind"], inner["cause"]) == ("reconcile", looked()["id"])
    ended = {step["id"]: step["finished_at"] for step in inner["steps"]}
    began = {step["id"]: step["started_at"] for step in looked()["steps"]}
    assert ended["part"] <= ended["top"] <= began["top"], "each part before what uses it"


ACTS = st.lists(
    st.builds(
        Act,
        verb=st.sampled_from((*get_args(Verb), "request", "request", "update")),
        second=st.booleans(),
        text=st.sampled_from("abc"),
        fails=st.sampled_from([False, False, False, True]),
        waits=st.sampled_from([True, False]),
    ),
    min_size=6,
    max_size=10,
)
WALKS = int(os.environ.get("BOND_WALKS", "2"))


@settings(max_examples=WALKS, deadline=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck))
@given(acts=ACTS)
def test_any_walk_over_parents_and_parts_keeps_the_invariants(platform: LocalPlatform, acts: list[Act]) -> None:
    """More, and others: `BOND_WALKS=100 pytest tests/integration/test_parts.py -k walk --hypothesis-seed=7`."""

    async def walk() -> None:
        async with platform.client() as bond:
            team = f"walk-{uuid4().hex[:8]}"
            walked = Walk(bond, team, promise="pair", leaf="leaf")
            await walked.go(acts)
            sys.stdout.write("\n".join(["", *walked.steps]))

    asyncio.run(walk())


def test_the_tree_shows_parts_and_parents(platform: LocalPlatform, first: Tree) -> None:
    lines = platform.bond("service", "tree", "shop/first").stdout.splitlines()
    assert lines[0].startswith("shop/first  tree@1.0.0  ready")
    assert lines[1].startswith("└─ part: shop/first-part  leaf@1.0.")
    assert first.part["parents"] == ["shop/first"]


def test_a_promise_that_requires_what_is_not_published_is_refused(platform: LocalPlatform, tmp_path: Path) -> None:
    folder = tree(tmp_path, name="lonely", accepts=">=9")
    ran = platform.bond("promise", "publish", str(folder), status=2)
    assert "no published version of leaf is in >=9" in ran.stderr
    folder = tree(tmp_path, name="misspelt")
    file = folder / "promise.yaml"
    file.write_text(file.read_text().replace("requires.part.outputs.text", "requires.part.outputs.txet"))
    ran = platform.bond("promise", "publish", str(folder), status=2)
    assert "has no output 'txet'" in ran.stderr
    assert "did you mean 'text'?" in ran.stderr


def _waiting(platform: LocalPlatform, service: str) -> list[dict[str, Any]]:
    rows = read_json(platform, "approval-list", "approval", "list")
    return [row for row in rows if row["operation"].startswith(f"{service}/op/")]
