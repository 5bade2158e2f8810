"""States of plain Terraform come in and go out: adoption by a new service, `bond state push`, the archive."""

from __future__ import annotations

import json
import shutil
import subprocess
import uuid
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from platforms import PROMISES, LocalPlatform, publish, read_json

from bondstone.activities.terraform.binary import find_tool
from bondstone.base.errors import AlreadyExists, ApprovalRejected, InvalidInput
from bondstone.base.settings import Settings
from bondstone.client import Operation
from bondstone.client.direct.client import DirectClient
from bondstone.model.service import OperationStatus, Phase, ServiceId
from bondstone.store.state.fence import Kind

pytestmark = pytest.mark.integration

STEP = "things"


@pytest.fixture
async def bond(platform: LocalPlatform) -> AsyncIterator[DirectClient]:
    async with platform.client() as bond:
        await publish(bond, PROMISES / "held")
        yield bond


@pytest.fixture
def service() -> str:
    return f"payments/svc-{uuid.uuid4().hex[:8]}"


class PlainTerraform:
    """A stack as people keep it without a platform: a directory, and `terraform apply`."""

    def __init__(self, root: Path, **variables: str) -> None:
        self.made = root / "made.txt"
        self.directory = root / "stack"
        shutil.copytree(PROMISES / "held" / "terraform" / "things", self.directory)
        self.variables = {"made": str(self.made), "value": "one", "pause": "0", "token": ""} | variables
        (self.directory / "terraform.tfvars.json").write_text(json.dumps(self.variables))

    def run(self, *arguments: str) -> None:
        command = find_tool(Settings(data=self.directory)).changing(list(arguments))
        with subprocess.Popen(  # its standard input has to stay open: the end of it means that we died
            command, cwd=self.directory, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        ) as process:
            assert process.stdout is not None
            text = process.stdout.read()
            assert process.wait(timeout=120) == 0, text.decode()

    @property
    def state(self) -> bytes:
        return (self.directory / "terraform.tfstate").read_bytes()


@pytest.fixture
def stack(tmp_path: Path) -> PlainTerraform:
    plain_terraform = PlainTerraform(tmp_path)
    plain_terraform.run("apply", "-auto-approve", "-input=false")
    return plain_terraform


async def at_the_gate(operation: Operation) -> str:
    """Wait until somebody is asked; the digest of the plan they are asked about."""
    document = await operation.wait()
    assert document.status is OperationStatus.AWAITING_APPROVAL, document.error
    return document.approvals[-1].digest


async def staged(bond: DirectClient, service: str) -> int:
    return len(await (await bond.connection.store()).objects.list(f"adopt/{service}"))


async def test_what_terraform_made_becomes_a_service_without_a_change(platform, bond, service, stack):
    before = stack.made.read_text()
    state = f"--state={STEP}={stack.directory / 'terraform.tfstate'}"
    platform.bond("service", "adopt", "held", service, state, "--set", f"made={stack.made}", "--wait")
    record = await bond.operations.record(f"{service}/op/1")
    assert (record.status, record.approvals) == (OperationStatus.SUCCEEDED, ()), record.error
    state = await bond.services.get(service)
    assert (state.phase, state.outputs) == (Phase.READY, {"value": "one"})
    assert stack.made.read_text() == before
    assert await staged(bond, service) == 0
    record = await (await bond.services.update(service, {"value": "two"})).result()
    assert (await bond.services.get(service)).outputs == {"value": "two"}


async def test_an_adoption_that_would_change_something_asks_first(platform, bond, service, stack):
    inputs = {"made": str(stack.made), "value": "three"}
    operation = await bond.services.adopt("held", service, {STEP: stack.state}, inputs)
    digest = await at_the_gate(operation)
    [plan] = await operation.plans()
    assert {change.action for change in plan.changes} == {"update"}
    async with platform.client("grace") as somebody_else:
        await somebody_else.operation(operation.id).approve(digest, step=STEP)
    record = await operation.wait(through_approvals=True)
    assert record.status is OperationStatus.SUCCEEDED, record.error
    assert plan.digest == digest
    assert (await bond.services.get(service)).outputs == {"value": "three"}


async def test_a_rejected_adoption_can_be_let_go_of_unharmed_and_tried_again(platform, bond, service, stack):
    operation = await bond.services.adopt(
        "held", service, {STEP: stack.state}, {"made": str(stack.made), "value": "x"}
    )
    digest = await at_the_gate(operation)
    async with platform.client("grace") as somebody_else:
        await somebody_else.operation(operation.id).reject(digest, step=STEP, reason="not what it was")
    with pytest.raises(ApprovalRejected):
        await operation.result()
    await bond.services.abandon(service, reason="wrong inputs")
    assert (await (await bond.connection.store()).state(_id(service), STEP).read()).payload is None
    retained = (await bond.services.history(service))[-1].retained
    assert any("terraform_data.thing_0" in line for line in retained), "what still stands is listed"
    again = await bond.services.adopt("held", service, {STEP: stack.state}, {"made": str(stack.made)})
    assert (await again.wait()).status is OperationStatus.SUCCEEDED


async def test_a_refused_adoption_leaves_nothing_behind(bond, service, stack):
    inputs = {"made": str(stack.made)}
    with pytest.raises(InvalidInput, match="no Terraform step 'nope'"):
        await bond.services.adopt("held", service, {"nope": stack.state}, inputs)
    with pytest.raises(InvalidInput, match="not a Terraform state"):
        await bond.services.adopt("held", service, {"": stack.directory.joinpath("main.tf").read_bytes()}, inputs)
    await (await bond.services.request("held", service, inputs)).result()
    with pytest.raises(AlreadyExists, match="exists already"):
        await bond.services.adopt("held", service, {"": stack.state}, inputs)
    assert await staged(bond, service) == 0


async def test_a_pushed_state_continues_the_one_that_is_there(platform, bond, service, tmp_path):
    made, file = tmp_path / "made.txt", tmp_path / "out.tfstate"
    await (await bond.services.request("held", service, {"made": str(made)})).result()
    platform.bond("state", "pull", service, "-f", str(file))
    content = json.loads(file.read_text())

    def push(*options: str, status: int = 0, **changes: object) -> str:
        file.write_text(json.dumps(content | changes))
        ran = platform.bond("state", "push", service, str(file), *options, status=status)
        return ran.stdout + ran.stderr

    assert "older than" in push(serial=0, status=4)
    assert "lineage" in push(lineage="another", serial=99, status=4)
    assert "not a Terraform state" in push(version=3, status=2)
    gone = [item for item in content["resources"] if item["name"] != "thing_2"]
    text = push("--reason", "thing_2 is somebody else's now", serial=content["serial"] + 1, resources=gone)
    assert "2 objects" in text
    assert "that very state already" in push(serial=content["serial"] + 1, resources=gone)
    record = (await bond.services.history(service))[-1]
    assert (record.kind, record.reason) == ("state", "thing_2 is somebody else's now")
    entries = await (await bond.connection.store()).state(_id(service), STEP).entries()
    assert entries[-1].kind is Kind.RELEASE
    assert "bond state push by" in entries[-1].holder.by
    await (await bond.services.update(service, {"value": "two"})).result()
    assert made.read_text().count("made thing_2") == 2, "Terraform makes what the state no longer has"
    assert "serial 0" in push("--force", serial=0)


async def test_what_outlives_a_service_is_put_away_and_listed(platform, bond, service, tmp_path):
    token = "canary-of-the-archive"
    inputs = {"made": str(tmp_path / "made.txt"), "token": token}
    await (await bond.services.request("held", service, inputs)).result()
    record = await (await bond.services.decommission(service)).wait()
    assert record.status is OperationStatus.SUCCEEDED, record.error
    (kept,) = record.retained
    key = kept.rpartition("(")[2].rstrip(")")
    assert json.loads(await (await bond.connection.store()).sealed.get(key))["resources"] == []
    assert (await bond.services.history(service))[-1].retained == record.retained
    ran = platform.bond("state", "pull", service)
    assert json.loads(ran.stdout)["resources"] == [], "of a service that is gone"
    assert "archived as op-2/state/things" in ran.stderr
    (item,) = read_json(platform, "service-archive", "service", "archive", service)
    assert (item["name"], item["kind"]) == ("op-2/state/things", "state")
    assert platform.bond("service", "archive", service, item["name"]).stdout == ran.stdout
    assert "NOT_FOUND" in platform.bond("service", "archive", service, "op-1/state/nope", status=3).stderr
    left = [
        info.key for info in await (await bond.connection.store()).objects.list("secrets") if service in info.key
    ]
    assert left == []
    for prefix in ("plans", "state", "archive", "adopt"):
        for info in await (await bond.connection.store()).objects.list(f"{prefix}/{service}"):
            assert token.encode() not in await (await bond.connection.store()).sealed.get(info.key), info.key
    await (await bond.services.request("held", service, inputs | {"value": "two"})).result()
    assert (await bond.services.get(service)).outputs == {"value": "two"}, (
        "the next of the name begins with no state"
    )


def _id(service: str) -> ServiceId:
    team, _, name = service.partition("/")
    return ServiceId(team=team, name=name)
