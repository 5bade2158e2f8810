"""Runs the containers of steps as Jobs of a cluster. Jobs outlive workers; any worker of the pool finds them."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import shutil
import time
from collections.abc import AsyncIterator, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final, ParamSpec, TypeVar

from bondstone.activities.clusters import connect
from bondstone.activities.clusters.api import Cluster
from bondstone.activities.clusters.refusals import ApiRefusal
from bondstone.activities.clusters.status import condition_of, stuck_reason
from bondstone.activities.container.documents import ContainerJob
from bondstone.activities.container.engine import ContainerState, EngineUnreachable
from bondstone.activities.container.jobs import manifests
from bondstone.activities.container.jobs.frames import KEY_BYTES, MAX_LOG_BYTES, FrameError, opened
from bondstone.activities.container.jobs.state import error_file, is_pod_over, job_state, start_note, step_end
from bondstone.base.cluster_settings import ContainerJobs
from bondstone.base.errors import ToolFailed, ToolUnavailable
from bondstone.base.settings import Settings

P = ParamSpec("P")
T = TypeVar("T")

KEEP_SECONDS: Final = 24 * 3600
"""How long a Job that changed something stays, for an attempt that comes late."""
KEEP_PLAN_SECONDS: Final = 600
PATIENCE_SECONDS: Final = 90
"""How long an API server may be away before an attempt gives up following its Job, which continues."""

_MANAGER: Final = "bondstone"
_POLL_SECONDS: Final = 0.3
_FIRST_LOOK_SECONDS: Final = 0.05
_LONGEST_SECONDS: Final = 2.0
_WATCH_SECONDS: Final = 5.0
"""How long one watch lasts at most: what no pod tells, as the end of a Job without one, is noticed after it."""
_WATCHES: Final = 2
"""One that an attempt has left, and that of the next."""
_GONE_SECONDS: Final = 120
_ROLES_SECONDS: Final = 30
_LOG_LINES: Final = (2_000, 100, 5)
"""The first of these numbers of lines that fit."""
_MAX_SAID_BYTES: Final = 256 << 10
_MOST: Final = 2_000
_NOT_FOUND, _FORBIDDEN, _BAD, _CONFLICT, _UNAUTHORIZED = 404, 403, 400, 409, 401
_FOREGROUND: Final = {"apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": "Foreground"}


class JobEngine:
    """Runs the containers of steps as Jobs.

    Args:
        cluster: The client.
        settings: Of the pool.
    """

    def __init__(self, cluster: Cluster, settings: ContainerJobs) -> None:
        self._cluster = cluster
        self._settings = settings
        self._notes: dict[str, str] = {}
        # its own threads: a watch would keep those of asyncio, which are few, from all other work
        self._watching = ThreadPoolExecutor(_WATCHES, thread_name_prefix="watch-jobs")
        self._may_watch = True
        self._making = False
        self._is_known = False
        """The API server has taken these credentials before."""

    @classmethod
    @asynccontextmanager
    async def opened(cls, settings: Settings, jobs: ContainerJobs) -> AsyncIterator[JobEngine]:
        """The engine of a worker.

        `namespaces` of the cluster bounds what steps name. It does not bound the namespace of the Jobs, which the
        operator names: a fence that had to let it in would let every step in.

        Raises:
            ToolUnavailable: when the cluster cannot be reached with the pool's settings.
        """
        cluster = await Cluster.open(connect(settings, jobs.cluster), manager=_MANAGER)
        engine = cls(cluster, jobs)
        try:
            yield engine
        finally:
            engine.close()

    def close(self) -> None:
        """Let go of the cluster. A watch that is under way ends by itself."""
        self._watching.shutdown(wait=False)
        self._cluster.close()

    @property
    def outlives_workers(self) -> bool:
        """Yes: a Job needs no worker, and every worker of the pool finds it."""
        return True

    async def version(self) -> str:
        """The cluster's version. Asked once: a worker that starts says that it lives only after this.

        Raises:
            ToolUnavailable: when the API server does not answer.
        """
        answer = await asyncio.to_thread(self._cluster.request, "GET", "/version")
        return f"Jobs of Kubernetes {str(answer.get('gitVersion') or '').removeprefix('v')}".strip()

    async def start(self, name: str, owner: str, job: ContainerJob, action: str, directory: Path) -> None:
        """Make a Job, and let it go once its Secret is there.

        Args:
            name: Of the Job; the API server refuses a second one of that name.
            owner: Whose it is.
            job: What to run, within which bounds.
            action: What it is to do.
            directory: Where `input` is.

        Raises:
            ToolFailed: when the API server refuses.
            ToolUnavailable: when the step asks for a network that the pool does not have.
        """
        await self._started(manifests.JobRun(name, owner, job, action, KEEP_SECONDS), directory)

    async def run(
        self, name: str, owner: str, job: ContainerJob, action: str, directory: Path
    ) -> tuple[ContainerState, str]:
        """Run a Job to its end, and take it away: how it ended, and what the image printed.

        Raises:
            ToolFailed: when the API server refuses.
        """
        for left in await self._owned(owner):
            if left["spec"].get(
                "suspend"
            ):  # its attempt died before it could start it, and it would stay for ever
                await self.remove(left["metadata"]["name"])
        await self._started(manifests.JobRun(name, owner, job, action, KEEP_PLAN_SECONDS), directory)
        await self.wait(name)
        state = await self.state(name) or ContainerState("exited", 137, out_of_memory=False)
        log = await self.output_of(name)
        await self.collect(name, directory)
        if state.is_over:  # nothing runs any more: how long the cluster takes to clear away holds nobody up
            await self._delete("jobs", name, _FOREGROUND)
            await self._delete("secrets", name, {})
        else:
            await self.remove(name)
        return state, log

    def can_follow(self, directory: Path) -> bool:
        """Whether a run that another attempt has started can be followed: everything is in the cluster."""
        (directory / "output").mkdir(parents=True, exist_ok=True, mode=0o700)
        return True

    async def state(self, name: str) -> ContainerState | None:
        """How far a run is; None when there is none of that name."""
        state, _ = await self._looked(name)
        return state

    async def _looked(self, name: str) -> tuple[ContainerState | None, str]:
        """How far a run is, and the version of its pods that this stands on."""
        job = await self._get("jobs", name)
        if job is None:
            return None, ""
        pods = await self._pods(name)
        state = job_state(job, _newest(pods["items"]))
        if state.note:
            self._notes[name] = state.note
        return state, str((pods.get("metadata") or {}).get("resourceVersion") or "")

    def last_note(self, name: str) -> str:
        """What kept a run from starting, or keeps it, when it was looked at last."""
        return self._notes.get(name, "")

    async def wait(self, name: str) -> None:
        """Wait until a run has ended, or is gone."""
        pause = _POLL_SECONDS
        while True:
            began = time.monotonic()
            state, version = await self._looked(name)
            if state is None or state.is_over:
                return
            if not await self._has_changed(name, version, state.note):
                # the watch ended at once, or there is none
                await asyncio.sleep(max(0, pause - (time.monotonic() - began)))
                pause = min(pause * 1.3, _LONGEST_SECONDS)

    async def _has_changed(self, name: str, version: str, note: str) -> bool:
        """Wait a while for the end of a run's pod, or for another note of it: whether a watch told it."""
        if not (version and self._may_watch):
            return False
        query = {"labelSelector": _of_job(name), "resourceVersion": version}

        def watch() -> bool:
            path = self._path("pods")
            return self._cluster.watch(path, query=query, seconds=_WATCH_SECONDS, is_enough=is_news)

        def is_news(event: Mapping[str, Any]) -> bool:
            pod = event.get("object")
            return event.get("type") == "DELETED" or is_pod_over(pod) or start_note(pod) != note

        try:
            return await asyncio.get_running_loop().run_in_executor(self._watching, watch)
        except ToolUnavailable:
            return False  # the next look waits for it
        except ApiRefusal as error:
            # a role of before this version has no such right; what else is wrong, the next look finds, too
            self._may_watch = error.status != _FORBIDDEN
            return False

    async def output_of(self, name: str) -> str:
        """What the image printed, the end of it; empty when the node does not have it any more."""
        text = ""
        for lines in _LOG_LINES:  # the limit cuts off the end, where it says what went wrong
            query = {"tailLines": str(lines), "limitBytes": str(_MAX_SAID_BYTES)}
            text = await self._log(name, manifests.STEP, query)
            if len(text.encode()) < _MAX_SAID_BYTES:
                break
        return text

    async def collect(self, name: str, directory: Path) -> None:
        """Write what the image has left to `output` in a directory.

        Raises:
            ToolFailed: when the image was done, and what it left did not arrive.
        """
        pod = await self._pod(name)
        ended = step_end(pod)
        if not ended:
            job = await self._get("jobs", name)
            if job is not None and condition_of(job, "Complete").get("status") == "True":
                raise self._not_arrived(name, "its pod is gone")
            return
        if ended.get("exitCode"):
            if (error := error_file(pod)) is not None:
                _write(directory, "error.json", error)
            return
        secret = await self._get("secrets", name)
        key = base64.b64decode(((secret or {}).get("data") or {}).get(manifests.KEY) or "")
        log = await self._log(name, manifests.COLLECTOR, {"limitBytes": str(MAX_LOG_BYTES)})
        try:
            collected = opened(log, key, name)
        except (FrameError, ValueError) as error:
            raise self._not_arrived(name, str(error)) from None
        if collected.problem:
            raise ToolFailed(f"/bond/output: {collected.problem}", hint="correct the image")
        for file, data in collected.files.items():
            _write(directory, file, data)

    async def remove(self, name: str) -> None:
        """Delete a Job in the foreground with its pod and its Secret; one that is gone does not matter.

        Raises:
            ToolUnavailable: when its pod does not go.
        """
        deadline, pause = time.monotonic() + _GONE_SECONDS, _FIRST_LOOK_SECONDS
        await self._delete("jobs", name, _FOREGROUND)
        while (job := await self._get("jobs", name)) is not None:
            if time.monotonic() >= deadline:
                raise ToolUnavailable(
                    f"the Job {self._settings.namespace}/{name} is still there: {stuck_reason(job)}",
                    where=self._cluster.where,
                    hint="see its pod, and whether its node still answers",
                )
            await asyncio.sleep(pause)
            pause = min(pause * 1.5, _POLL_SECONDS)
        await self._delete("secrets", name, {})

    async def names(self, owner: str) -> list[str]:
        """The Jobs of an owner, ended or not."""
        return [str(job["metadata"]["name"]) for job in await self._owned(owner)]

    async def _owned(self, owner: str) -> list[dict[str, Any]]:
        jobs = await self._listed("jobs", f"{manifests.LABEL}={manifests.owner_label(owner)}")
        items: list[dict[str, Any]] = jobs["items"]
        return items

    def _not_arrived(self, name: str, why: str) -> ToolFailed:
        return ToolFailed(
            f"the image finished, but its output did not arrive: {why}",
            where=f"{self._cluster.where}, Job {self._settings.namespace}/{name}",
            hint="see the log of the pod's container `collector`, and whether `collector` of "
            "BOND_CONTAINER_JOBS is this version's image; what the image did stays done",
        )

    async def _started(self, run: manifests.JobRun, directory: Path) -> None:
        self._making = True
        try:
            await self._make(run, directory)
        finally:
            self._making = False

    async def _make(self, run: manifests.JobRun, directory: Path) -> None:
        name, job = run.name, run.job
        if job.network == "pool" and not self._settings.network:
            raise ToolUnavailable(
                "the step asks for the pool's network, and the pool has none for Jobs",
                hint='set "network": true in BOND_CONTAINER_JOBS of its workers, or write `network: none`',
            )
        await self._keep_off_the_network()
        files = await asyncio.to_thread(manifests.input_files, directory / "input")
        if (size := sum(len(data) for _, data in files.values())) > manifests.MAX_SECRET_BYTES:
            raise ToolFailed(
                f"the step's input has {size} bytes, and a Secret holds at most {manifests.MAX_SECRET_BYTES}",
                hint="let the image fetch large data itself, or run the step in a pool with a container engine",
            )
        paths = {key: path for key, (path, _) in files.items()}
        manifest = manifests.job_manifest(run, self._settings, paths)
        made = await self._created("jobs", manifest)
        data = {key: content for key, (_, content) in files.items()} | {manifests.KEY: os.urandom(KEY_BYTES)}
        secret = manifests.secret_manifest(name, str(made["metadata"]["uid"]), data)
        await self._created("secrets", secret)
        # what the image is told is in the Secret: this machine may never see the step again
        await asyncio.to_thread(shutil.rmtree, directory / "input", ignore_errors=True)
        await self._call(
            self._cluster.request,
            "PATCH",
            self._path("jobs", name),
            body={"spec": {"suspend": False}},
            content="application/merge-patch+json",
        )

    async def _created(self, plural: str, manifest: dict[str, Any]) -> dict[str, Any]:
        """Make an object in the place of one that nothing uses: of an earlier Job, or of a try without an answer.

        Raises:
            ApiRefusal: when it is refused, or a Job of that name may have begun.
        """
        name = manifest["metadata"]["name"]
        try:
            made: dict[str, Any] = await self._call(
                self._cluster.request, "POST", self._path(plural), body=manifest
            )
        except ApiRefusal as error:
            if error.status != _CONFLICT:
                raise
            if plural == "jobs":
                job = await self._get(plural, name)
                if job is not None and not job["spec"].get("suspend"):
                    raise
                await self.remove(name)
            else:
                await self._delete(plural, name, {})
            made = await self._call(self._cluster.request, "POST", self._path(plural), body=manifest)
        return made

    async def _keep_off_the_network(self) -> None:
        """See to the policy by which pods of `network: none` have none."""
        wanted = manifests.policy_manifest()
        live = await self._get("networkpolicies", manifests.POLICY)
        if live is None:
            await self._call(self._cluster.request, "POST", self._path("networkpolicies"), body=wanted)
        elif live["spec"] != wanted["spec"]:
            raise ToolFailed(
                f"the NetworkPolicy {manifests.POLICY} does not keep Jobs off the network",
                where=f"{self._cluster.where}, namespace {self._settings.namespace}",
                hint=f"it must be {json.dumps(wanted['spec'])}; delete it, and the next attempt makes it again",
            )

    async def _pod(self, name: str) -> dict[str, Any] | None:
        """The pod of a Job; of several the newest."""
        return _newest((await self._pods(name))["items"])

    async def _pods(self, name: str) -> dict[str, Any]:
        return await self._listed("pods", _of_job(name))

    async def _listed(self, plural: str, labels: str) -> dict[str, Any]:
        query = {"labelSelector": labels, "limit": str(_MOST)}
        listing: dict[str, Any] = await self._call(self._cluster.request, "GET", self._path(plural), query=query)
        return {**listing, "items": listing.get("items") or []}

    async def _log(self, name: str, container: str, query: dict[str, str]) -> str:
        pod = await self._pod(name)
        if pod is None:
            return ""
        path = f"{self._path('pods', str(pod['metadata']['name']))}/log"
        try:
            return await self._call(self._cluster.text, path, query={"container": container, **query})
        except ApiRefusal as error:
            if error.status in {_NOT_FOUND, _BAD}:  # the container has not begun, or its node has forgotten it
                return ""
            raise

    async def _get(self, plural: str, name: str) -> dict[str, Any] | None:
        try:
            item: dict[str, Any] = await self._call(self._cluster.request, "GET", self._path(plural, name))
        except ApiRefusal as error:
            if error.status != _NOT_FOUND:
                raise
            return None
        return item

    async def _delete(self, plural: str, name: str, body: dict[str, str]) -> None:
        try:
            await self._call(self._cluster.request, "DELETE", self._path(plural, name), body=body)
        except ApiRefusal as error:
            if error.status != _NOT_FOUND:
                raise

    def _path(self, plural: str, name: str = "") -> str:
        roots = {"jobs": "/apis/batch/v1", "networkpolicies": "/apis/networking.k8s.io/v1"}
        place = f"{roots.get(plural, '/api/v1')}/namespaces/{self._settings.namespace}/{plural}"
        return f"{place}/{name}" if name else place

    async def _call(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """One request, repeated while the API server is away.

        Raises:
            EngineUnreachable: when it stays away, or no longer takes the credentials.
        """
        began = time.monotonic()
        while True:
            try:
                answer = await asyncio.to_thread(function, *args, **kwargs)
            except ToolUnavailable as error:
                if time.monotonic() - began >= PATIENCE_SECONDS:
                    raise EngineUnreachable(error.message, where=error.where, hint=error.hint) from None
            except ApiRefusal as error:
                if error.status == _UNAUTHORIZED and self._is_known:
                    raise EngineUnreachable(error.message, where=error.where, hint=error.hint) from None
                # one that has just started knows no roles for a moment: no reason to give up what runs
                late = time.monotonic() - began >= _ROLES_SECONDS
                if error.status != _FORBIDDEN or self._making or late:
                    raise
            else:
                self._is_known = True
                return answer
            await asyncio.sleep(_POLL_SECONDS)


def _of_job(name: str) -> str:
    return f"batch.kubernetes.io/job-name={name}"


def _newest(pods: list[dict[str, Any]]) -> dict[str, Any] | None:
    return max(pods, key=lambda pod: str(pod["metadata"]["creationTimestamp"]), default=None)


def _write(directory: Path, name: str, data: bytes) -> None:
    path = directory / "output" / name
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    path.write_bytes(data)
