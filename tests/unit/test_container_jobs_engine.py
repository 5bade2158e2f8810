"""The engine of Jobs against an API server in memory: answers that are lost, tokens that run out, what is left."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from bondstone.activities.clusters.api import Cluster, Resource
from bondstone.activities.clusters.connection import ClusterConnection
from bondstone.activities.clusters.refusals import ApiRefusal
from bondstone.activities.container.documents import ContainerJob
from bondstone.activities.container.engine import EngineUnreachable
from bondstone.activities.container.jobs import engine as engines
from bondstone.activities.container.jobs.engine import JobEngine
from bondstone.base.cluster_settings import ClusterSettings, ContainerJobs
from bondstone.base.errors import Refused, ToolFailed
from bondstone.base.settings import Settings

IMAGE = f"x/y@sha256:{'a' * 64}"
SETTINGS = ContainerJobs(namespace="bond", collector=IMAGE)
JOB = ContainerJob(image=IMAGE)
OWNER = "p/shop/web/step"
JOBS, PODS = "/apis/batch/v1/namespaces/bond/jobs", "/api/v1/namespaces/bond/pods"


class Api(Cluster):
    """Objects by path, as an API server keeps them."""

    def __init__(self, objects: dict[str, Any]) -> None:
        self.connection: Any = SimpleNamespace(name="default")
        self.objects = objects
        self.refused = 0
        self.lose_next_answer = False
        self.is_away = False
        self.log: list[bytes] = []

    def resource(self, api_version: str, kind: str) -> Resource | None:  # noqa: ARG002 - as Cluster has it
        return Resource("/apis/batch/v1" if kind == "Job" else "/api/v1", f"{kind.lower()}s", namespaced=True)

    def close(self) -> None:
        pass

    def _data(self, method: str, path: str, *, body: Any = None, query: Any = None, **_: Any) -> bytes:
        if self.is_away:
            raise engines.ToolUnavailable("no answer")
        if path.endswith("/log"):
            return b"\n".join(self.log[-int(query["tailLines"]) :])[: int(query["limitBytes"])]
        if self.refused:
            raise refusal(self.refused)
        answer = self._answer(method, path, body)
        if self.lose_next_answer and method == "POST":
            self.lose_next_answer = False
            raise engines.ToolUnavailable("connection reset")
        return json.dumps(answer).encode()

    def _answer(self, method: str, path: str, body: Any) -> Any:
        if method == "POST":
            path = f"{path}/{body['metadata']['name']}"
            if path in self.objects:
                raise refusal(409)
            body["metadata"]["uid"] = f"uid-{len(self.objects)}"
            self.objects[path] = body
        if method == "GET" and path.endswith(("jobs", "pods")):
            plural = path.rpartition("/")[2]
            return {"items": [each for key, each in self.objects.items() if f"/{plural}/" in key]}
        if path not in self.objects:
            raise refusal(404)
        if method == "DELETE":
            return self.objects.pop(path)
        if method == "PATCH":
            self.objects[path]["spec"] |= body["spec"]
        return self.objects[path]


def refusal(status: int) -> ApiRefusal:
    error = ApiRefusal(f"the API server refused ({status})")
    error.status = status
    return error


def names_of(api: Api, plural: str) -> list[str]:
    return [path.rpartition("/")[2] for path in list(api.objects) if f"/{plural}/" in path]


def directory_with_input(tmp_path: Path) -> Path:
    (tmp_path / "input").mkdir()
    (tmp_path / "input" / "step.json").write_text("{}")
    return tmp_path


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engines, "_POLL_SECONDS", 0)


async def test_a_job_whose_answer_was_lost_is_made_again_and_its_input_stays_on_no_disk(tmp_path: Path):
    api = Api({})
    directory = directory_with_input(tmp_path)
    engine = JobEngine(api, SETTINGS)
    await engine._keep_off_the_network()
    api.lose_next_answer = True
    await engine.start("bond-1", OWNER, JOB, "apply", directory)
    assert (names_of(api, "jobs"), names_of(api, "secrets")) == (["bond-1"], ["bond-1"])
    job = api.objects["/apis/batch/v1/namespaces/bond/jobs/bond-1"]
    secret = api.objects["/api/v1/namespaces/bond/secrets/bond-1"]
    assert job["spec"]["suspend"] is False
    assert secret["metadata"]["ownerReferences"][0]["uid"] == job["metadata"]["uid"]
    assert not (directory / "input").exists()


async def test_a_job_of_that_name_that_may_have_begun_is_not_replaced(tmp_path: Path):
    running = {"metadata": {"name": "bond-1"}, "spec": {"suspend": False}}
    api = Api({"/apis/batch/v1/namespaces/bond/jobs/bond-1": running})
    with pytest.raises(ApiRefusal, match="409"):
        await JobEngine(api, SETTINGS).start("bond-1", OWNER, JOB, "apply", directory_with_input(tmp_path))
    assert api.objects["/apis/batch/v1/namespaces/bond/jobs/bond-1"] is running


async def test_a_plan_takes_away_the_jobs_that_died_before_they_were_started(tmp_path: Path):
    api = Api(
        {
            f"/apis/batch/v1/namespaces/bond/jobs/{name}": {
                "metadata": {"name": name},
                "spec": {"suspend": suspend},
            }
            for name, suspend in (("bond-dead", True), ("bond-runs", False))
        }
        | {"/api/v1/namespaces/bond/secrets/bond-dead": {"metadata": {"name": "bond-dead"}}}
    )
    planning = asyncio.create_task(
        JobEngine(api, SETTINGS).run("bond-2", OWNER, JOB, "plan", directory_with_input(tmp_path))
    )
    while names_of(api, "secrets") != ["bond-2"]:  # noqa: ASYNC110 - the server in memory has no event
        await asyncio.sleep(0)
    planning.cancel()
    assert names_of(api, "jobs") == ["bond-runs", "bond-2"]


async def test_the_namespace_of_the_jobs_need_not_be_one_that_steps_may_use(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    async def open_cluster(connection: ClusterConnection, **_: Any) -> Api:
        with pytest.raises(Refused, match="steps may not use the namespace 'bond'"):
            connection.check_namespace(SETTINGS.namespace)
        return Api({})

    monkeypatch.setattr(Cluster, "open", open_cluster)
    (tmp_path / "kubeconfig").touch()
    cluster = ClusterSettings(kubeconfig=tmp_path / "kubeconfig", namespaces=("team-*",))
    settings = Settings(data=tmp_path, clusters={"default": cluster})
    async with JobEngine.opened(settings, SETTINGS) as engine:
        assert await engine.names(OWNER) == []


async def test_credentials_that_are_taken_no_longer_end_no_job():
    api = Api({})
    engine = JobEngine(api, SETTINGS)
    api.refused = 401
    with pytest.raises(ApiRefusal, match="401"):
        await engine.state("bond-1")  # wrong from the beginning: people have to know at once
    api.refused = 0
    assert await engine.names(OWNER) == []
    api.refused = 401
    with pytest.raises(EngineUnreachable):
        await engine.names(OWNER)


async def test_a_job_that_is_complete_and_has_no_pod_any_more_has_no_empty_output(tmp_path: Path):
    complete = {"status": {"conditions": [{"type": "Complete", "status": "True"}]}}
    api = Api({"/apis/batch/v1/namespaces/bond/jobs/bond-1": complete})
    with pytest.raises(ToolFailed, match="its output did not arrive: its pod is gone"):
        await JobEngine(api, SETTINGS).collect("bond-1", tmp_path)


async def test_of_a_long_log_the_end_is_shown():
    pod = {"metadata": {"name": "bond-1-x", "creationTimestamp": "2026-01-01T00:00:00Z"}}
    api = Api({"/api/v1/namespaces/bond/pods/bond-1-x": pod})
    api.log = [b"x" * 1_000] * 5_000 + [b"it is broken"]
    text = await JobEngine(api, SETTINGS).output_of("bond-1")
    assert text.endswith("it is broken")
    assert len(text) < 256 << 10


class Watched(Api):
    """An API server that tells what happens to a pod."""

    def __init__(self, *, events: list[dict[str, Any]], refuses: int = 0) -> None:
        super().__init__({f"{JOBS}/bond-1": {"metadata": {"name": "bond-1"}, "spec": {}}})
        self.pod = self.objects[f"{PODS}/bond-1-x"] = pod_in_phase("Running")
        self.events, self.refuses = events, refuses
        self.looks = self.watches = 0
        self.ended_watches: set[int] = set()
        """Those that nothing was enough for."""

    def _answer(self, method: str, path: str, body: Any) -> Any:
        answer = super()._answer(method, path, body)
        if path.endswith("/pods"):
            self.looks += 1
            if self.refuses and self.looks == 3:
                self.pod["status"]["phase"] = "Succeeded"
            return {**answer, "metadata": {"resourceVersion": str(self.looks)}}
        return answer

    @contextmanager
    def _answering(self, method: str, url: str, headers: Any, body: Any) -> Iterator[Any]:  # noqa: ARG002 - as Cluster
        assert f"resourceVersion={self.looks}&watch=true" in url, "from where the pods were looked at"
        self.watches += 1
        self.is_closed = False
        event = self.events.pop(0) if self.events else None
        if event and event["type"] == "MODIFIED":
            self.pod["status"] = event["object"]["status"]
        lines = [
            b"" if event is None else json.dumps(event).encode()[:9],
            *([json.dumps(event).encode()[9:] + b"\n"] if event else ()),
        ]
        yield SimpleNamespace(
            status=self.refuses or 200,
            read1=lambda _: lines.pop(0) if lines else self._ended(),
            close=lambda: None,
            read=lambda _: b"{}",
        )

    def _ended(self) -> bytes:
        self.ended_watches.add(self.watches)
        return b""


def pod_in_phase(phase: str, **metadata: str) -> dict[str, Any]:
    metadata = {"name": "bond-1-x", "creationTimestamp": "2026-01-01T00:00:00Z", **metadata}
    began = {"name": "step", "state": {"running": {}}}
    return {"metadata": metadata, "status": {"phase": phase, "initContainerStatuses": [began]}}


@pytest.mark.parametrize("phase", ["Succeeded", "Failed"])
async def test_the_end_of_a_pod_is_waited_for_by_a_watch(phase: str):
    expired = {"type": "ERROR", "object": {"code": 410}}
    running, ended = ({"type": "MODIFIED", "object": pod_in_phase(each)} for each in ("Running", phase))
    # a watch may end, and its version be forgotten: the pods are looked at again, and watched from there
    api = Watched(events=[running, expired, ended])
    async with asyncio.timeout(60):
        await JobEngine(api, SETTINGS).wait("bond-1")
    assert (api.watches, api.looks) == (3, 4)


@pytest.mark.parametrize("status", [403, 410, 503])
async def test_where_a_watch_is_refused_the_pods_are_looked_at(status: int):
    api = Watched(events=[], refuses=status)
    async with asyncio.timeout(60):
        await JobEngine(api, SETTINGS).wait("bond-1")
    assert (api.watches, api.looks) == (1 if status == 403 else 2, 3), (
        "a right that is missing is not asked for again"
    )


async def test_what_keeps_a_pod_from_starting_is_known_as_soon_as_a_watch_tells_it():
    waiting = pod_in_phase("Pending")
    waiting["status"]["initContainerStatuses"] = []
    waiting["status"]["conditions"] = [{"type": "PodScheduled", "status": "False", "reason": "Unschedulable"}]
    api = Watched(events=[{"type": "MODIFIED", "object": waiting}])
    engine = JobEngine(api, SETTINGS)
    waits = asyncio.create_task(engine.wait("bond-1"))
    async with asyncio.timeout(60):
        while "Unschedulable" not in engine.last_note("bond-1"):  # noqa: ASYNC110 - the server has no event
            await asyncio.sleep(0)
    waits.cancel()
    assert 1 not in api.ended_watches


async def test_a_pod_that_is_being_deleted_has_not_ended_by_itself():
    job = {"metadata": {"name": "bond-1"}, "spec": {}}
    deleted = pod_in_phase("Failed", deletionTimestamp="2026-01-01T00:01:00Z")
    state = await JobEngine(Api({f"{JOBS}/bond-1": job, f"{PODS}/bond-1-x": deleted}), SETTINGS).state("bond-1")
    assert state is not None
    assert not state.is_over, "its Job says why"


def test_the_collector_of_a_job_imports_no_models():
    """Each Job starts it, with half a processor: the models took it a second."""
    script = "import sys, bondstone.activities.container.jobs.collector; print('pydantic' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    assert done.stdout == "False\n"


async def test_a_worker_that_starts_waits_for_no_api_server():
    api = Api({})
    api.is_away = True
    async with asyncio.timeout(60):
        with pytest.raises(engines.ToolUnavailable, match="no answer"):
            await JobEngine(api, SETTINGS).version()
