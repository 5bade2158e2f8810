"""Between Temporal and an executor: what is planned to be taken down when a step's section cannot be rendered."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from temporalio.exceptions import ApplicationError
from temporalio.testing import ActivityEnvironment

from bondstone.activities.executors import executor_activities
from bondstone.activities.terraform import TerraformExecutor
from bondstone.base.errors import ExpressionInvalid, ToolUnavailable
from bondstone.base.process_identity import Holder
from bondstone.base.settings import Settings
from bondstone.model.plan import PlanRef
from bondstone.model.service import OperationKind, ServiceId
from bondstone.model.step import StepCall
from bondstone.promise.bundle import pack
from bondstone.promise.load import load_promise
from bondstone.store import Store

SERVICE = ServiceId(team="payments", name="orders")
MANIFEST = """
apiVersion: bondstone.dev/v1
kind: Promise
metadata: {{name: db, version: 1.0.0}}
spec:
  steps:
    - {{id: first, terraform: {{module: m}}}}
    - id: second
      needs: [first]
      terraform: {{module: m, variables: {{host: "${{steps.first.outputs.host + 'x'}}"}}{backend}}}
"""
OWN = ", backend: own, backend_config: {path: '/x/${service.name}'}"


class World:
    def __init__(self, tmp_path: Path, backend: str = "") -> None:
        self.path, self.backend = tmp_path, backend

    async def open(self) -> World:
        folder = self.path / "db"
        (folder / "m").mkdir(parents=True)
        (folder / "m" / "main.tf").write_text("", encoding="utf-8")
        (folder / "promise.yaml").write_text(MANIFEST.format(backend=self.backend), encoding="utf-8")
        settings = Settings(data=self.path / "data")
        self.store = await Store.open(settings, create_keys=True)
        revision = await self.store.revisions.publish(pack(folder), load_promise(folder))
        self.call = StepCall(
            service=SERVICE, operation=2, kind=OperationKind.DECOMMISSION, revision=revision, step="second"
        )
        found = executor_activities(self.store, settings, {"terraform": TerraformExecutor()})
        self.verbs: dict[str, Callable[..., Any]] = {
            getattr(function, "__temporal_activity_definition").name: function for function in found
        }
        return self

    async def plan_destroy(self) -> PlanRef:
        plan: PlanRef = await ActivityEnvironment().run(self.verbs["terraform.plan_destroy"], self.call)
        return plan


async def test_a_step_that_never_was_applied_has_nothing_to_take_down(tmp_path: Path) -> None:
    plan = await (await World(tmp_path).open()).plan_destroy()
    assert (plan.empty, plan.destroy, plan.key) == (True, True, "")


async def test_a_step_that_has_a_state_is_not_taken_for_nothing(tmp_path: Path) -> None:
    world = await World(tmp_path).open()
    async with await world.store.state(SERVICE, "second").claim(Holder(attempt="earlier")) as claim:
        await claim.release(b"{}")
    with pytest.raises(ApplicationError) as caught:
        await world.plan_destroy()
    assert caught.value.type == ExpressionInvalid.code


async def test_a_step_whose_state_is_elsewhere_is_not_taken_for_nothing(tmp_path: Path) -> None:
    with pytest.raises(ApplicationError) as caught:
        await (await World(tmp_path, OWN).open()).plan_destroy()
    assert caught.value.type == ExpressionInvalid.code


async def test_no_tool_is_started_while_the_disk_is_nearly_full(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # What it makes and cannot write down would be made once more.
    world = await World(tmp_path).open()
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(
        "bondstone.activities.free_space.shutil.disk_usage", lambda _path: usage._replace(free=3 * 2**20)
    )
    with pytest.raises(ApplicationError, match="3 MiB left") as caught:
        await world.plan_destroy()
    assert (caught.value.type, caught.value.non_retryable) == (ToolUnavailable.code, False)
    monkeypatch.undo()
    assert (await world.plan_destroy()).empty
