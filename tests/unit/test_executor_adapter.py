"""Between Temporal and an executor: what is planned to be taken down when a step's section cannot be rendered."""

from __future__ import annotations

import base64
import dataclasses
import shutil
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from temporalio.exceptions import ApplicationError
from temporalio.testing import ActivityEnvironment

from bondstone.activities.executors import DIED, executor_activities
from bondstone.activities.terraform import TerraformExecutor
from bondstone.base.errors import BondError, ExpressionInvalid, PlanStale, ToolFailed, ToolUnavailable
from bondstone.base.models import Manifest
from bondstone.base.process_identity import Holder
from bondstone.base.redact import MASK
from bondstone.base.settings import Settings
from bondstone.executors.protocol import Drifted, Executor, Outcome, Output, Planned, StepContext
from bondstone.model.plan import Change, PlanRef
from bondstone.model.secret import as_ref
from bondstone.model.service import OperationKind, ServiceId
from bondstone.model.step import ApplyCall, Progress, StepCall
from bondstone.promise.bundle import pack
from bondstone.promise.load import load_promise
from bondstone.store import Store
from bondstone.temporal.failures import info_of

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
        result = executor_activities(self.store, settings, {"terraform": TerraformExecutor()})
        self.verbs: dict[str, Callable[..., Any]] = {
            getattr(function, "__temporal_activity_definition").name: function for function in result
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
        "bondstone.activities.tooling.scratch.shutil.disk_usage", lambda _path: usage._replace(free=3 * 2**20)
    )
    with pytest.raises(ApplicationError, match="3 MiB left") as caught:
        await world.plan_destroy()
    assert (caught.value.type, caught.value.non_retryable) == (ToolUnavailable.code, False)
    monkeypatch.undo()
    assert (await world.plan_destroy()).empty


# Secrets that a tool shows ---------------------------------------------------------------------------------

SECRET = 'c4nary "quoted" välue'
LEARNT = "made-by-the-tool-9000"
POOL = "pool-token-1234567"
TALKATIVE = """
apiVersion: bondstone.dev/v1
kind: Promise
metadata: {name: talk, version: 1.0.0}
spec:
  inputs:
    type: object
    properties: {password: {type: string, writeOnly: true}}
  steps:
    - {id: only, talkative: {text: "${inputs.password}"}}
"""


class TalkativeSection(Manifest):
    text: str


class Talkative(Executor):
    """An executor that repeats what it is given, in the way a test tells it to."""

    kind = "talkative"
    section = TalkativeSection

    def __init__(self, show: Callable[[StepContext], Any]) -> None:
        self._show = show

    async def apply(self, context: StepContext, artefact: bytes, position: int) -> Outcome:  # noqa: ARG002 - the interface
        context.redact.add([LEARNT])
        return Outcome({"shown": Output(self._show(context)), "plain": Output("nothing of it")})

    async def plan(self, context: StepContext) -> Planned:  # noqa: ARG002 - the interface
        return Planned(b"plan", {}, (), empty=False, position=0, tool="talkative 1")

    async def detect_drift(self, context: StepContext) -> Drifted:
        return Drifted((Change(address=f'thing["{context.section.text}"]', action="update"),))


async def run(
    tmp_path: Path, verb: str, show: Callable[[StepContext], Any], beats: list[Any] | None = None
) -> tuple[Store, Any]:
    """One verb of a talkative executor for a service with a secret input."""
    folder = tmp_path / "talk"
    folder.mkdir()
    (folder / "promise.yaml").write_text(TALKATIVE, encoding="utf-8")
    settings = Settings(data=tmp_path / "data", tool_environment=("POOL_TOKEN", "AWS_REGION"))
    store = await Store.open(settings, create_keys=True)
    revision = await store.revisions.publish(pack(folder), load_promise(folder))
    password = await store.secrets.put(SERVICE, "inputs/password", SECRET)
    call = {
        "service": SERVICE, "operation": 1, "kind": OperationKind.PROVISION, "revision": revision, "step": "only",
        "inputs": {"password": password.as_json()},
    }  # fmt: skip
    result = executor_activities(store, settings, {"talkative": Talkative(show)})  # type: ignore[dict-item] # verbs that the test needs
    verbs = {getattr(function, "__temporal_activity_definition").name: function for function in result}
    environment = ActivityEnvironment()
    environment.on_heartbeat = lambda *details: beats.extend(details) if beats is not None else None
    if verb != "apply":
        return store, await environment.run(verbs[f"talkative.{verb}"], StepCall(**call))
    plan = await environment.run(verbs["talkative.plan"], StepCall(**call))
    return store, await environment.run(verbs["talkative.apply"], ApplyCall(**call, plan=plan))


@pytest.mark.parametrize(
    "shown",
    [
        f"postgres://root:{SECRET}@db",
        {"deep": [{"url": f"x{SECRET}x"}]},
        {SECRET: 1},
        base64.b64encode(b"user:" + SECRET.encode()).decode(),
        quote(SECRET, safe=""),
        SECRET.encode().hex(),
        [LEARNT],
        f"Bearer {POOL}",
        {"a": {"$secret": "secrets/payments/orders/inputs/password/made-up"}},
    ],
)
async def test_a_plain_output_that_shows_a_secret_is_sealed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shown: Any
) -> None:
    monkeypatch.setenv("POOL_TOKEN", POOL)
    store, applied = await run(tmp_path, "apply", lambda _: shown)
    values = applied.outputs.values
    assert values["plain"] == "nothing of it"
    ref = as_ref(values["shown"])
    assert ref is not None
    assert await store.secrets.reveal(ref, service=SERVICE) == shown


async def test_an_output_with_no_secret_stays_plain(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_REGION", "eu-central-1")
    shown = {"host": "db.eu-central-1.example.com", "port": 5432, "tls": True, "none": None}
    _, applied = await run(tmp_path, "apply", lambda _: shown)
    assert applied.outputs.values["shown"] == shown


@pytest.mark.parametrize("kind", [ToolFailed, RuntimeError])
async def test_an_error_that_shows_a_secret_does_not_reach_temporal(tmp_path: Path, kind: type[Exception]) -> None:
    def fail(context: StepContext) -> Any:
        try:
            raise ValueError(context.section.text)  # noqa: TRY301 - the point
        except ValueError as error:
            raise kind(f"the tool said {context.section.text}") from error

    with pytest.raises(ApplicationError) as caught:
        await run(tmp_path, "apply", fail)
    shown = "".join(traceback.format_exception(caught.value)) + str(caught.value.details)
    assert "c4nary" not in shown
    assert caught.value.type == ToolFailed.code


async def test_heartbeats_logs_and_drift_show_no_secret(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bondstone.activities.executors.QUIET_SECONDS", 0)

    def tell(context: StepContext) -> str:
        context.log(f"told: {context.section.text}")
        context.heartbeat(Progress(address=f"a[{context.section.text}]", note=context.section.text, done=1))
        return "quiet"

    beats: list[Any] = []
    store, applied = await run(tmp_path, "apply", tell, beats)
    assert Progress(address=f"a[{MASK}]", note=MASK, done=1) in beats
    assert [line async for line in store.logs.read(applied.log)] == [f"told: {MASK}"]


async def test_the_addresses_of_drift_show_no_secret(tmp_path: Path) -> None:
    _, drift = await run(tmp_path, "detect_drift", lambda _: None)
    assert drift.addresses == (f'thing["{MASK}"]',)


class Failing(TerraformExecutor):
    """Fails as often as it is told, then applies."""

    def __init__(self, *errors: BondError) -> None:
        super().__init__()
        self._errors = [*errors]

    async def apply(self, context: StepContext, artefact: bytes, position: int) -> Outcome:
        if self._errors:
            raise self._errors.pop(0)
        return await super().apply(context, artefact, position)


async def test_an_attempt_tells_why_those_before_it_ended(tmp_path: Path) -> None:
    world = await World(tmp_path).open()
    settings = Settings(data=tmp_path / "data")
    executor = Failing(ToolUnavailable("429 Too Many Requests"), PlanStale("the state moved"))
    verbs = {
        getattr(function, "__temporal_activity_definition").name: function
        for function in executor_activities(world.store, settings, {"terraform": executor})
    }
    call = world.call.changed(step="first", kind=OperationKind.PROVISION)

    async def attempt(number: int, call: StepCall, verb: str = "terraform.apply") -> Any:
        environment = ActivityEnvironment()
        environment.info = dataclasses.replace(environment.info, attempt=number)
        return await environment.run(verbs[verb], call)

    plan = await attempt(1, call, "terraform.plan")
    apply = ApplyCall(**{name: getattr(call, name) for name in StepCall.model_fields}, plan=plan)
    with pytest.raises(ApplicationError) as caught:
        await attempt(2, apply)  # the first one was killed and could write nothing down
    assert info_of(caught.value).earlier_attempts == (DIED,)
    with pytest.raises(ApplicationError) as caught:
        await attempt(3, apply)
    assert info_of(caught.value).earlier_attempts == (DIED, "429 Too Many Requests")
    assert (await attempt(4, apply)).earlier_attempts == (DIED, "429 Too Many Requests", "the state moved")
