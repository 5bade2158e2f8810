"""Plays the kubelet, the container runtime and the network of one node: pods that are bound to it really run.

Init containers and containers run one after another by podman, as the pod says: image by digest, arguments,
variables, user, read-only root, capabilities, limits, Secrets and empty volumes as files, a termination message.
A pod that a NetworkPolicy without rules selects has no network. Status and logs are written and served as by a
kubelet. A container of the image `WORKER`, of which there is none to run here, is a plain process of this Python,
the paths of its mounts replaced. Left out are probes, restarts, images that have to be pulled, `seccompProfile`,
`sizeLimit`.
"""

from __future__ import annotations

import base64
import json
import shlex
import shutil
import ssl
import subprocess
import sys
import threading
import urllib.error
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

from harness.servers.certificates import certificate_pem, key_pem, new_key
from harness.servers.kubernetes import ControlPlane
from harness.servers.process import LOOPBACK

NODE: Final = "node-with-containers"
WORKER: Final = f"localhost/bondstone-executor@sha256:{'0' * 64}"
"""Image of the executor worker, as far as the tests have one."""
TAINT: Final = {"key": "bond.test/containers", "value": "yes", "effect": "NoSchedule"}
"""Of the node: nothing else is scheduled on it."""

_LOOK_SECONDS: Final = 0.2
_MESSAGE_BYTES: Final = 4096
_KILLED, _OUT_OF_MEMORY = 137, "OOMKilled"

Item = dict[str, Any]


@dataclass
class _Pod:
    """A pod at work."""

    uid: str
    directory: Path
    ended: threading.Event = field(default_factory=threading.Event)
    doomed: threading.Event = field(default_factory=threading.Event)
    process: subprocess.Popen[bytes] | None = None
    statuses: dict[str, Item] = field(default_factory=dict)


@dataclass
class Kubelet:
    """A node at work.

    Args:
        plane: The control plane.
        engine: Command of the container engine.
        directory: For volumes and logs.
        port: Where it serves logs.
    """

    plane: ControlPlane
    engine: str
    directory: Path
    port: int = 0
    pods: dict[str, _Pod] = field(default_factory=dict)

    def register(self) -> None:
        """Make the node known."""
        capacity = {"cpu": "64", "memory": "256Gi", "pods": "1000", "ephemeral-storage": "1Ti"}
        status = {
            "capacity": capacity,
            "allocatable": capacity,
            "addresses": [{"type": "InternalIP", "address": LOOPBACK}],
            "daemonEndpoints": {"kubeletEndpoint": {"Port": self.port}},
            "conditions": [{"type": "Ready", "status": "True", "reason": "KubeletReady"}],
        }
        node = {"metadata": {"name": NODE, "labels": {"bond.test/containers": "yes"}}, "spec": {"taints": [TAINT]}}
        self.plane.call("POST", "/api/v1/nodes", {"apiVersion": "v1", "kind": "Node", **node, "status": status})

    def look(self) -> None:
        """Begin what was bound to the node, and end what was deleted."""
        listed = self.plane.call("GET", f"/api/v1/pods?fieldSelector=spec.nodeName%3D{NODE}")["items"]
        for pod in listed:
            uid = pod["metadata"]["uid"]
            if uid not in self.pods:
                if pod["metadata"].get("deletionTimestamp"):
                    self._delete(pod)
                    continue
                one = self.pods[uid] = _Pod(uid, self.directory / uid)
                threading.Thread(target=self._work, args=(pod, one), daemon=True).start()
            elif pod["metadata"].get("deletionTimestamp"):
                one = self.pods[uid]
                one.doomed.set()
                self._kill(one)
                if one.ended.is_set():
                    self._delete(pod)

    def close(self) -> None:
        """End every container."""
        for one in self.pods.values():
            one.doomed.set()
            self._kill(one)
            one.ended.wait(30)

    def _work(self, pod: Item, one: _Pod) -> None:
        try:
            self._run(pod, one)
        finally:
            one.ended.set()

    def _run(self, pod: Item, one: _Pod) -> None:
        one.directory.mkdir(parents=True)
        volumes = {volume["name"]: self._volume(pod, one, volume) for volume in pod["spec"].get("volumes", ())}
        phase = "Succeeded"
        first, then = pod["spec"].get("initContainers") or [], pod["spec"]["containers"]
        for container in [*first, *then]:
            if one.doomed.is_set():
                phase = "Failed"
                break
            code = self._container(pod, one, container, volumes)
            if code != 0:
                phase = "Failed"
                break
        self._report(pod, one, phase)

    def _volume(self, pod: Item, one: _Pod, volume: Item) -> Path:
        path: Path = one.directory / "volumes" / volume["name"]
        path.mkdir(parents=True)
        user = pod["spec"]["securityContext"]["runAsUser"]
        if "secret" in volume:
            wanted = volume["secret"]
            place = f"/api/v1/namespaces/{pod['metadata']['namespace']}/secrets/{wanted['secretName']}"
            data = self.plane.call("GET", place)["data"]
            for item in wanted["items"]:
                file = path / item["path"]
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_bytes(base64.b64decode(data[item["key"]]))
                file.chmod(wanted["defaultMode"])
        for each in (path, *path.rglob("*")):  # fsGroup
            shutil.chown(each, user, user)
        return path

    def _container(self, pod: Item, one: _Pod, container: Item, volumes: Mapping[str, Path]) -> int:
        name, begun = container["name"], _now()
        phase = "Running" if container in pod["spec"]["containers"] else "Pending"
        one.statuses[name] = _status(container, {"running": {"startedAt": begun}})
        self._report(pod, one, phase)
        message = one.directory / f"{name}.message"
        message.touch(mode=0o666)
        message.chmod(0o666)
        log = one.directory / f"{name}.log"
        if container["image"] == WORKER:
            command = self._plainly(container, volumes)
        else:
            command = [*shlex.split(self.engine), *self._options(pod, one, container, volumes, message)]
        with log.open("wb") as out:
            one.process = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT, cwd="/")
            if one.doomed.is_set():
                self._kill(one)
            code = one.process.wait()
        reason = "Completed" if code == 0 else "Error"
        if code == _KILLED and not one.doomed.is_set() and self._ran_out_of_memory(one, name):
            reason = _OUT_OF_MEMORY
        text = message.read_bytes()[-_MESSAGE_BYTES:].decode("utf-8", "replace")
        terminated = {"exitCode": code if code >= 0 else 128 - code, "reason": reason, "message": text}
        times = {"startedAt": begun, "finishedAt": _now()}
        one.statuses[name] = _status(container, {"terminated": {**terminated, **times}})
        self._report(pod, one, phase)
        self._podman("rm", "--force", f"{one.uid}-{name}")
        return code

    def _options(
        self, pod: Item, one: _Pod, container: Item, volumes: Mapping[str, Path], message: Path
    ) -> list[str]:
        security, limits = container["securityContext"], container["resources"]["limits"]
        user = pod["spec"]["securityContext"]["runAsUser"]
        options = [
            *("run", f"--name={one.uid}-{container['name']}", f"--user={user}:{user}"),
            *("--network=none" if self._is_kept_off(pod) else "--network=host", "--pull=never"),
            *("--ulimit=nofile=1024:1024", "--ulimit=nproc=1000:1000"),
            *(f"--cpus={_processors(limits['cpu'])}", f"--memory={limits['memory'].removesuffix('Mi')}m"),
            *("--read-only" for _ in range(security.get("readOnlyRootFilesystem", False))),
            *(f"--cap-drop={name}" for name in security["capabilities"]["drop"]),
            *("--security-opt=no-new-privileges" for _ in range(not security["allowPrivilegeEscalation"])),
            *(f"--env={each['name']}={_expanded(each['value'])}" for each in container.get("env", ())),
        ]
        for mount in container["volumeMounts"]:
            mode = ":ro" if mount.get("readOnly") else ""
            options.append(f"--volume={volumes[mount['name']]}:{mount['mountPath']}{mode}")
        options.append(f"--volume={message}:{container['terminationMessagePath']}")
        return [*options, container["image"], *map(_expanded, container.get("args", ()))]

    def _plainly(self, container: Item, volumes: Mapping[str, Path]) -> list[str]:
        mounts = {mount["mountPath"]: str(volumes[mount["name"]]) for mount in container["volumeMounts"]}
        words = []
        for word in container["command"][1:]:
            place = next((path for path in mounts if word == path or word.startswith(f"{path}/")), "")
            words.append(mounts[place] + word.removeprefix(place) if place else word)
        return [sys.executable, *words]

    def _is_kept_off(self, pod: Item) -> bool:
        """Whether a NetworkPolicy lets nothing out of the pod, as the network of a cluster would see to it."""
        path = f"/apis/networking.k8s.io/v1/namespaces/{pod['metadata']['namespace']}/networkpolicies"
        labels = pod["metadata"].get("labels") or {}
        for policy in self.plane.call("GET", path)["items"]:
            wanted = policy["spec"]["podSelector"].get("matchLabels") or {}
            if wanted.items() <= labels.items() and "Egress" in policy["spec"]["policyTypes"]:
                return not policy["spec"].get("egress")
        return False

    def _ran_out_of_memory(self, one: _Pod, name: str) -> bool:
        shown = self._podman("inspect", f"{one.uid}-{name}", "--format={{.State.OOMKilled}}")
        return shown.stdout.strip() == b"true"

    def _kill(self, one: _Pod) -> None:
        for name in one.statuses:
            self._podman("kill", f"{one.uid}-{name}")
        if one.process is not None and one.process.poll() is None:
            one.process.terminate()

    def _podman(self, *words: str) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run([*shlex.split(self.engine), *words], check=False, capture_output=True, cwd="/")

    def _report(self, pod: Item, one: _Pod, phase: str) -> None:
        metadata = pod["metadata"]
        path = f"/api/v1/namespaces/{metadata['namespace']}/pods/{metadata['name']}"
        first = [each["name"] for each in pod["spec"].get("initContainers") or ()]
        of_first = [status for name, status in one.statuses.items() if name in first]
        others = [status for name, status in one.statuses.items() if name not in first]
        while True:
            try:
                live = self.plane.call("GET", path)
                status = {
                    **live["status"],
                    "phase": phase,
                    "startTime": live["status"].get("startTime") or _now(),
                    "initContainerStatuses": of_first,
                    "containerStatuses": others,
                }
                self.plane.call("PUT", f"{path}/status", {**live, "status": status})
            except urllib.error.HTTPError as error:
                if error.code == 404:
                    return
                if error.code != 409:
                    raise
            else:
                return

    def _delete(self, pod: Item) -> None:
        metadata = pod["metadata"]
        path = f"/api/v1/namespaces/{metadata['namespace']}/pods/{metadata['name']}"
        with suppress(urllib.error.HTTPError):
            options = {"gracePeriodSeconds": 0, "preconditions": {"uid": metadata["uid"]}}
            self.plane.call("DELETE", path, options)

    def log(self, namespace: str, name: str, container: str) -> bytes | None:
        """What a container has printed; None when it has not begun."""
        pod = self.plane.call("GET", f"/api/v1/namespaces/{namespace}/pods/{name}")
        file = self.directory / pod["metadata"]["uid"] / f"{container}.log"
        return file.read_bytes() if file.is_file() else None


@contextmanager
def running(plane: ControlPlane, engine: str) -> Iterator[Kubelet]:
    """A node that runs pods.

    Args:
        plane: The control plane.
        engine: Command of the container engine that has the images.
    """
    with TemporaryDirectory(prefix="bond-kubelet-", ignore_cleanup_errors=True) as directory:
        Path(directory).chmod(0o711)
        with _at_work(Kubelet(plane, engine, Path(directory))) as kubelet:
            yield kubelet


@contextmanager
def _at_work(kubelet: Kubelet) -> Iterator[Kubelet]:
    server = ThreadingHTTPServer((LOOPBACK, 0), _handler(kubelet))
    server.socket = _certified(kubelet.directory).wrap_socket(server.socket, server_side=True)
    kubelet.port = server.server_port
    threading.Thread(target=server.serve_forever, daemon=True).start()
    kubelet.register()
    stop = threading.Event()

    def work() -> None:
        while not stop.wait(_LOOK_SECONDS):
            with suppress(OSError):  # the API server is away, or an object has moved: the next look sees it
                kubelet.look()

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    try:
        yield kubelet
    finally:
        stop.set()
        thread.join()
        kubelet.close()
        server.shutdown()
        server.server_close()
        kubelet.plane.call("DELETE", f"/api/v1/nodes/{NODE}")


def _handler(kubelet: Kubelet) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            url = urlsplit(self.path)
            _, verb, namespace, pod, container = url.path.split("/")
            data = kubelet.log(namespace, pod, container) if verb == "containerLogs" else None
            query = parse_qs(url.query)
            if data is not None and "tailLines" in query:
                data = b"".join(data.splitlines(keepends=True)[-int(query["tailLines"][0]) :])
            if data is not None and "limitBytes" in query:
                data = data[: int(query["limitBytes"][0])]
            self.send_response(200 if data is not None else 404)
            self.send_header("Content-Type", "text/plain")
            self.send_header("Content-Length", str(len(data or b"")))
            self.end_headers()
            self.wfile.write(data or b"")

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    return Handler


def _certified(directory: Path) -> ssl.SSLContext:
    """A context with a certificate of its own, which an API server checks only if it is told to."""
    key = new_key()
    file = directory / "kubelet.pem"
    file.touch(mode=0o600)
    file.write_bytes(key_pem(key) + certificate_pem(NODE, key))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    return context


def _expanded(text: str) -> str:
    """As a container is told it: of `$$` one `$`. References to variables are not played."""
    return text.replace("$$", "$")


def _processors(quantity: str) -> str:
    return f"{int(quantity[:-1]) / 1000:g}" if quantity.endswith("m") else quantity


def _status(container: Item, state: Item) -> Item:
    return {
        "name": container["name"],
        "image": container["image"],
        "imageID": container["image"],
        "ready": "exitCode" in json.dumps(state) and state["terminated"]["exitCode"] == 0,
        "restartCount": 0,
        "state": state,
    }


def _now() -> str:
    return f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"
