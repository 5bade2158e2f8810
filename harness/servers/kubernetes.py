"""A real Kubernetes control plane: etcd, API server, controller manager, scheduler; kwok plays the nodes.

What runs on a node is faked: a pod that was scheduled is said to run, a pod of a Job to have succeeded. A pod with
the annotation `STAYS_PENDING` never gets ready. Images are never fetched.
"""

from __future__ import annotations

import base64
import io
import json
import secrets
import ssl
import urllib.error
import urllib.request
from collections import deque
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from email.message import Message
from http import HTTPStatus
from http.client import HTTPException, HTTPSConnection
from pathlib import Path
from typing import Any, Final

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from harness.pinned import find
from harness.servers.process import LOOPBACK, Server, free_port

NODE: Final = "fake-node"
STAYS_PENDING: Final = "bond.test/stays-pending"

_IDENTITIES: Final = {
    # The user that each token stands for, and its groups. The roles of the first two come with Kubernetes.
    "controller-manager": ("system:kube-controller-manager", ""),
    "scheduler": ("system:kube-scheduler", ""),
    "kwok": ("kwok", "system:masters"),
    "admin": ("admin", "system:masters"),
}
_SERVICE_NETWORK: Final = "10.96.0.0/16"


@dataclass(frozen=True)
class ControlPlane:
    """A running control plane.

    Args:
        servers: Its processes by name, to kill and to start again; `etcd` keeps what they know.
        url: Of the API server.
        kubeconfig: A file for `helm`, `kubectl` and every client library, with all rights.
        directory: Its files and logs.
    """

    servers: dict[str, Server]
    url: str
    kubeconfig: Path
    directory: Path
    _clients: list[_Client] = field(default_factory=list, init=False, repr=False, compare=False)

    @property
    def environment(self) -> dict[str, str]:
        """The variable by which `helm` and `kubectl` find it."""
        return {"KUBECONFIG": str(self.kubeconfig)}

    def call(self, method: str, path: str, body: object = None) -> Any:
        """One request to the API server, as in `call("GET", "/api/v1/nodes")`; the decoded answer.

        Raises:
            urllib.error.HTTPError: when it is refused.
        """
        if not self._clients:
            self._clients.append(_Client(self.kubeconfig))
        return self._clients[0].call(method, path, body)

    def close(self) -> None:
        """Close the connections that requests have left open."""
        for client in self._clients:
            client.close()


class _Client:
    """Requests over connections that stay open: a handshake takes more CPU time than most requests."""

    def __init__(self, kubeconfig: Path) -> None:
        config = json.loads(kubeconfig.read_text(encoding="utf-8"))
        cluster, token = config["clusters"][0]["cluster"], config["users"][0]["user"]["token"]
        trust = base64.b64decode(cluster["certificate-authority-data"]).decode()
        self._url = cluster["server"]
        self._trust = ssl.create_default_context(cadata=trust)
        self._headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        self._idle: deque[HTTPSConnection] = deque()

    def call(self, method: str, path: str, body: object) -> Any:
        while True:
            connection, was_idle = self._connection()
            try:
                connection.request(method, path, None if body is None else json.dumps(body), self._headers)
                answer = connection.getresponse()
                content = answer.read()
            except (OSError, HTTPException) as error:
                connection.close()
                if was_idle and not isinstance(error, TimeoutError):
                    continue  # the server has closed it meanwhile, or was started again
                raise urllib.error.URLError(error) from error
            self._idle.append(connection)
            if answer.status >= HTTPStatus.BAD_REQUEST:
                raise urllib.error.HTTPError(
                    f"{self._url}{path}", answer.status, answer.reason, answer.headers, io.BytesIO(content)
                )
            return _decoded(content, answer.headers)

    def close(self) -> None:
        while self._idle:
            self._idle.pop().close()

    def _connection(self) -> tuple[HTTPSConnection, bool]:
        try:
            return self._idle.pop(), True
        except IndexError:
            address = self._url.removeprefix("https://")
            return HTTPSConnection(address, context=self._trust, timeout=10), False


@contextmanager
def running(directory: Path) -> Iterator[ControlPlane]:
    """A new control plane with one fake node.

    Args:
        directory: For its data, keys and logs.

    Raises:
        ToolMissing: `make tools` has not built all of it.
        ServerFailed: it does not come up.
    """
    for name in ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kwok"):
        find(name)
    port = free_port()
    tokens = {name: secrets.token_hex(16) for name in _IDENTITIES}
    plane = ControlPlane({}, f"https://{LOOPBACK}:{port}", directory / "admin.kubeconfig", directory)
    _write_keys(directory, tokens)
    with ExitStack() as stack:
        stack.callback(plane.close)

        def add(server: Server) -> Server:
            plane.servers[server.name] = server
            stack.callback(server.kill)
            return server

        etcd, client_url = _etcd(directory)
        add(etcd).launch()
        api = add(_api_server(plane, port, client_url))
        etcd.wait()
        api.launch()
        # It writes the certificate that the others trust just before it listens.
        _until_certified(api, directory / "certificates" / "apiserver.crt")
        for name, token in tokens.items():
            _write_kubeconfig(directory / f"{name}.kubeconfig", plane, token)
        api.wait()
        _call(plane.kubeconfig, "POST", "/api/v1/nodes", _node())
        for server in (_controller_manager(plane), _scheduler(plane), _kwok(plane)):
            add(server).launch()
        for server in plane.servers.values():
            server.wait()
        yield plane


def _etcd(directory: Path) -> tuple[Server, str]:
    client, peer = (f"http://{LOOPBACK}:{free_port()}" for _ in range(2))
    arguments = [
        *(str(find("etcd")), "--data-dir", str(directory / "etcd"), "--unsafe-no-fsync", "--log-level", "warn"),
        *("--listen-client-urls", client, "--advertise-client-urls", client, "--listen-peer-urls", peer),
        *("--initial-advertise-peer-urls", peer, "--initial-cluster", f"default={peer}"),
    ]
    return Server("etcd", arguments, directory / "etcd.log", lambda: _answers(f"{client}/health")), client


def _api_server(plane: ControlPlane, port: int, etcd_url: str) -> Server:
    directory = plane.directory
    options = {
        "etcd-servers": etcd_url,
        "bind-address": LOOPBACK,
        "advertise-address": "10.0.0.1",  # never used; loopback is refused
        "secure-port": port,
        "cert-dir": directory / "certificates",
        "token-auth-file": directory / "tokens.csv",
        "authorization-mode": "RBAC",
        "anonymous-auth": "false",
        "service-account-issuer": "https://kubernetes.default.svc",
        "service-account-key-file": directory / "service-account.pem",
        "service-account-signing-key-file": directory / "service-account.pem",
        "service-cluster-ip-range": _SERVICE_NETWORK,
        "allow-privileged": "true",  # as kubeadm has it: charts of node agents and of networks need it
        "disable-admission-plugins": "ServiceAccount",  # pods need no account to be faked
        "endpoint-reconciler-type": "none",
    }
    return Server(
        "kube-apiserver",
        [str(find("kube-apiserver")), *_flags(options)],
        directory / "kube-apiserver.log",
        lambda: _ready(plane.kubeconfig),
    )


def _controller_manager(plane: ControlPlane) -> Server:
    options = {
        "kubeconfig": plane.directory / "controller-manager.kubeconfig",
        "leader-elect": "false",
        "secure-port": 0,
        "service-account-private-key-file": plane.directory / "service-account.pem",
        "root-ca-file": plane.directory / "certificates" / "apiserver.crt",
        "use-service-account-credentials": "true",  # each controller with its own rights, as kubeadm has it
        "node-monitor-grace-period": "24h",  # nobody beats for the fake node: it would be tainted after 50 s
    }
    return Server(
        "kube-controller-manager",
        [str(find("kube-controller-manager")), *_flags(options)],
        plane.directory / "kube-controller-manager.log",
        # It made the account of the first namespace: its controllers run.
        lambda: _exists(plane, "/api/v1/namespaces/default/serviceaccounts/default"),
    )


def _scheduler(plane: ControlPlane) -> Server:
    options = {
        "kubeconfig": plane.directory / "scheduler.kubeconfig",
        "leader-elect": "false",
        "secure-port": 0,
    }
    return Server(
        "kube-scheduler",
        [str(find("kube-scheduler")), *_flags(options)],
        plane.directory / "kube-scheduler.log",
        lambda: True,  # nothing waits for it but pods
    )


def _kwok(plane: ControlPlane) -> Server:
    stages = plane.directory / "stages.yaml"
    stages.write_text("\n---\n".join(json.dumps(stage) for stage in _stages()), encoding="utf-8")
    options = {
        "kubeconfig": plane.directory / "kwok.kubeconfig",
        "config": stages,
        "manage-nodes-with-label-selector": f"kubernetes.io/hostname={NODE}",
        "node-ip": "10.0.0.2",
        "node-port": 0,
        "cidr": "10.1.0.1/16",
    }
    return Server(
        "kwok",
        [str(find("kwok")), *_flags(options)],
        plane.directory / "kwok.log",
        lambda: _node_is_ready(plane),
        # Its own configuration of the user's home stays out of this.
        environment={"HOME": str(plane.directory), "KWOK_WORKDIR": str(plane.directory)},
    )


def _flags(options: dict[str, object]) -> list[str]:
    return [f"--{name}={value}" for name, value in options.items()]


def _write_keys(directory: Path, tokens: dict[str, str]) -> None:
    rows = [
        ",".join([token, user, name, f'"{groups}"'] if groups else [token, user, name])
        for name, token in tokens.items()
        for user, groups in [_IDENTITIES[name]]
    ]
    _write_private(directory / "tokens.csv", "\n".join(rows) + "\n")
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    _write_private(directory / "service-account.pem", pem.decode())


def _write_kubeconfig(path: Path, plane: ControlPlane, token: str) -> None:
    certificate = (plane.directory / "certificates" / "apiserver.crt").read_bytes()
    cluster = {"server": plane.url, "certificate-authority-data": base64.b64encode(certificate).decode()}
    _write_private(
        path,
        json.dumps(
            {
                "apiVersion": "v1",
                "kind": "Config",
                "current-context": "test",
                "clusters": [{"name": "test", "cluster": cluster}],
                "users": [{"name": "test", "user": {"token": token}}],
                "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
            }
        ),
    )


def _write_private(path: Path, text: str) -> None:
    path.touch(mode=0o600)
    path.write_text(text, encoding="utf-8")


def _until_certified(api: Server, certificate: Path) -> None:
    ready = api.ready
    api.ready = certificate.exists
    api.wait()
    api.ready = ready


def _node() -> dict[str, Any]:
    capacity = {"cpu": "1000", "memory": "256Gi", "pods": "1000", "ephemeral-storage": "1Ti"}
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": NODE, "labels": {"kubernetes.io/hostname": NODE, "kubernetes.io/os": "linux"}},
        "status": {"capacity": capacity, "allocatable": capacity},
    }


def _stages() -> list[dict[str, Any]]:
    """What kwok says of nodes and pods, and when (its Stage API)."""
    absent, exists = "DoesNotExist", "Exists"
    of_job = {"key": '.metadata.ownerReferences.[] | select( .kind == "Job" ) | .kind', "operator": exists}
    living = [
        {"key": ".metadata.deletionTimestamp", "operator": absent},
        {"key": ".status.podIP", "operator": absent},
        {"key": f'.metadata.annotations."{STAYS_PENDING}"', "operator": absent},
    ]
    conditions = [{"type": name, "status": "True"} for name in ("Initialized", "Ready", "ContainersReady")]
    node_status = {"conditions": [{"type": "Ready", "status": "True", "reason": "KubeletReady"}]}
    ended = {"phase": "Succeeded", "podIP": "10.1.0.2", "conditions": [{"type": "Initialized", "status": "True"}]}
    running = {"phase": "Running", "podIP": "10.1.0.2", "hostIP": "10.0.0.2", "conditions": conditions}
    containers = (
        "containerStatuses:\n{{ range .spec.containers }}\n"
        "- {name: {{ .name | Quote }}, image: {{ .image | Quote }}, ready: true, restartCount: 0,"
        " state: {running: {startedAt: {{ Now | Quote }}}}}\n{{ end }}\n"
    )
    return [
        _stage(
            "node-ready",
            "Node",
            [{"key": '.status.conditions.[] | select( .type == "Ready" ) | .status', "operator": absent}],
            {"statusTemplate": _template(node_status)},
        ),
        _stage(
            "pod-ready",
            "Pod",
            [*living, {**of_job, "operator": absent}],
            {"statusTemplate": _template(running) + containers},
        ),
        _stage("pod-of-job-ends", "Pod", [*living, of_job], {"statusTemplate": _template(ended)}),
        _stage("pod-goes", "Pod", [{"key": ".metadata.deletionTimestamp", "operator": exists}], {"delete": True}),
    ]


def _stage(name: str, kind: str, when: list[dict[str, Any]], then: dict[str, Any]) -> dict[str, Any]:
    return {
        "apiVersion": "kwok.x-k8s.io/v1alpha1",
        "kind": "Stage",
        "metadata": {"name": name},
        "spec": {
            "resourceRef": {"apiGroup": "v1", "kind": kind},
            "selector": {"matchExpressions": when},
            "next": then,
        },
    }


def _template(status: dict[str, Any]) -> str:
    """Fields of a status as lines of YAML, each value in JSON."""
    return "".join(f"{key}: {json.dumps(value)}\n" for key, value in status.items())


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2) as answer:  # noqa: S310 - a URL of ours
            return bool(answer.status == 200)
    except OSError:
        return False


def _ready(kubeconfig: Path) -> bool:
    try:
        _call(kubeconfig, "GET", "/readyz")
        _call(kubeconfig, "GET", "/api/v1/namespaces/default")
    except OSError:
        return False
    return True


def _exists(plane: ControlPlane, path: str) -> bool:
    try:
        plane.call("GET", path)
    except OSError:
        return False
    return True


def _node_is_ready(plane: ControlPlane) -> bool:
    conditions = plane.call("GET", f"/api/v1/nodes/{NODE}").get("status", {}).get("conditions", [])
    return any(condition["type"] == "Ready" and condition["status"] == "True" for condition in conditions)


def _call(kubeconfig: Path, method: str, path: str, body: object = None) -> Any:
    config = json.loads(kubeconfig.read_text(encoding="utf-8"))
    cluster, token = config["clusters"][0]["cluster"], config["users"][0]["user"]["token"]
    trust = ssl.create_default_context(cadata=base64.b64decode(cluster["certificate-authority-data"]).decode())
    request = urllib.request.Request(  # noqa: S310 - a URL of ours
        cluster["server"] + path,
        method=method,
        data=None if body is None else json.dumps(body).encode(),
        headers={"Authorization": f"Bearer {token}", "Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=10, context=trust) as answer:  # noqa: S310 - a URL of ours
        return _decoded(answer.read(), answer.headers)


def _decoded(content: bytes, headers: Message) -> Any:
    return json.loads(content) if "json" in headers.get("Content-Type", "") else content.decode()
