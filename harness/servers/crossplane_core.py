"""Crossplane itself on a real control plane, with a function and a provider, each a process of this machine.

`make peers` builds them (`harness/pinned.py`). Packages come from a registry of this process on loopback, made of
the files in the modules of the programs. Nothing runs in pods: the package runtime is `External`,
and what an external runtime would do, running the function and writing its address, is done here.
"""

from __future__ import annotations

import base64
import fcntl
import gzip
import hashlib
import http.server
import io
import json
import os
import subprocess
import sys
import tarfile
import tempfile
import threading
import urllib.error
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

from harness.pinned import PEERS, SOURCES, ToolMissing, find
from harness.servers.certificates import certificate_pem, key_pem, new_key
from harness.servers.kubernetes import ControlPlane
from harness.servers.process import LOOPBACK, Server, ServerFailed, answers, free_port, listens
from harness.waiting import NotInTime, wait_until

FUNCTION: Final = "function-patch-and-transform"
PROVIDER: Final = "provider-nop"

_NAMESPACE: Final = "crossplane-system"
_TLS_NAME: Final = "server-of-packages"
"""Crossplane reads a package only once its runtime has named a certificate; nothing here uses it."""
_PACKAGES: Final = "/apis/pkg.crossplane.io/v1"
_SECONDS: Final = 120
_INITIALIZATIONS: Final = 10
"""It uses kinds before the API server serves them, and fails; a cluster starts it again until it does not."""
_WEBHOOKS_PORT: Final = 9443
"""Of the provider, which has no option for it: one run on a machine at a time."""
_LOCK: Final = Path(tempfile.gettempdir()) / "bond-peers-provider.lock"
_TURN_SECONDS: Final = 480
_MANIFEST: Final = "application/vnd.oci.image.manifest.v1+json"


@dataclass(frozen=True)
class CrossplaneCore:
    """Crossplane that runs.

    Args:
        plane: The control plane.
        core, function, provider: Its processes, to kill and to start again.
    """

    plane: ControlPlane
    core: Server
    function: Server
    provider: Server

    @property
    def servers(self) -> tuple[Server, ...]:
        """All of them."""
        return self.core, self.function, self.provider


@contextmanager
def running(plane: ControlPlane, directory: Path) -> Iterator[CrossplaneCore]:
    """Crossplane on a control plane, ready for definitions and compositions.

    Args:
        plane: The control plane; it is Crossplane's from now on.
        directory: For certificates, caches and logs.

    Raises:
        ToolMissing: `make peers` has not built all of it.
        ServerFailed: it does not come up, or another run on this machine does not end.
    """
    for name in ("crossplane", FUNCTION, PROVIDER):
        find(name)
    with _turn(), _running(plane, directory) as crossplane:
        yield crossplane


@contextmanager
def _turn() -> Iterator[None]:
    """Wait until no other run on this machine has the provider's port."""
    with _LOCK.open("a") as lock:

        def is_ours() -> bool:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return False
            return True

        if not is_ours():
            print(f"another run of tests/peers has port {_WEBHOOKS_PORT}; waiting for it ...", file=sys.stderr)
            try:
                wait_until(is_ours, f"port {_WEBHOOKS_PORT}", seconds=_TURN_SECONDS)
            except NotInTime as error:
                raise ServerFailed(
                    f"another run of tests/peers has had port {_WEBHOOKS_PORT} here for {_TURN_SECONDS} s, "
                    f"and {PROVIDER} knows no other port: end that run, which has locked {_LOCK}"
                ) from error
        yield


@contextmanager
def _running(plane: ControlPlane, directory: Path) -> Iterator[CrossplaneCore]:
    _write_certificates(directory)
    _initialize(plane)
    certificate = base64.b64encode((directory / "server" / "tls.crt").read_bytes()).decode()
    secret = {"metadata": {"name": _TLS_NAME}, "data": {"tls.crt": certificate}}
    plane.call("POST", f"/api/v1/namespaces/{_NAMESPACE}/secrets", secret)
    address = f"localhost:{free_port()}"
    crossplane = CrossplaneCore(
        plane, _core(plane, directory), _function(directory, address), _provider(plane, directory)
    )
    with ExitStack() as stack:
        for server in crossplane.servers:
            stack.callback(server.kill)
        registry = stack.enter_context(_registry({name: _image(name) for name in (FUNCTION, PROVIDER)}))
        crossplane.core.launch()
        crossplane.function.launch()
        crossplane.core.wait()
        for kind, name in (("Function", FUNCTION), ("Provider", PROVIDER)):
            package = {"package": f"{registry}/{name}:v{PEERS[name].version}"}
            body = {
                "apiVersion": "pkg.crossplane.io/v1",
                "kind": kind,
                "metadata": {"name": name},
                "spec": package,
            }
            plane.call("POST", f"{_PACKAGES}/{kind.lower()}s", body)
        runtime = {"tlsServerSecretName": _TLS_NAME}
        for plural, status in (
            ("functionrevisions", {**runtime, "endpoint": f"dns:///{address}"}),
            ("providerrevisions", runtime),
        ):
            _wait(partial(_write_status, plane, plural, status), f"{plural} of the packages", crossplane.core)
            _wait(partial(_is_healthy, plane, plural), f"healthy {plural}", crossplane.core)
        _wait(lambda: _serves_kinds(plane), "the kinds of the provider", crossplane.core)
        crossplane.provider.launch()
        crossplane.function.wait()
        crossplane.provider.wait()
        yield crossplane


def module_directory(name: str) -> Path:
    """Where the Go command keeps the module that a program was built from."""
    tool = PEERS[name]
    command = ["go", "list", "-mod=readonly", "-find", "-f", "{{.Module.Dir}}", tool.import_path]
    environment = {**os.environ, "GOFLAGS": "", "GOWORK": "off"}
    try:
        done = subprocess.run(
            command,
            cwd=SOURCES / tool.folder,
            env=environment,
            capture_output=True,
            text=True,
            timeout=_SECONDS,
            check=True,
        )
    except FileNotFoundError as error:
        raise ToolMissing("no Go: the files of Crossplane's modules cannot be located") from error
    except subprocess.CalledProcessError as error:
        raise ToolMissing(f"the files of {tool.module} cannot be located: {error.stderr.strip()}") from error
    return Path(done.stdout.strip())


def _initialize(plane: ControlPlane) -> None:
    """Define Crossplane's own kinds, as its init container does."""
    plane.call("POST", "/api/v1/namespaces", {"metadata": {"name": _NAMESPACE}})
    crds = module_directory("crossplane") / "cluster" / "crds"
    command = [str(find("crossplane")), "core", "init", "--enable-webhooks=false", f"--cr-ds-path={crds}"]
    command += [f"--namespace={_NAMESPACE}", "--activation=*", "--tlsca-secret-name=crossplane-root-ca"]
    command += ["--tls-client-secret-name=crossplane-tls-client"]
    environment = {**os.environ, **plane.environment}
    for _ in range(_INITIALIZATIONS):
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=_SECONDS, check=False
        )
        if not done.returncode:
            return
    raise ServerFailed(f"crossplane core init failed:\n{done.stdout}{done.stderr}")


def _core(plane: ControlPlane, directory: Path) -> Server:
    health = free_port()
    options = {
        "namespace": _NAMESPACE,
        "package-runtime": "External",
        "xpkg-cache-dir": directory / "packages",
        "tls-client-certs-dir": directory / "client",
        "health-probe-port": health,
        "metrics-port": free_port(),
        "sync-interval": "10m",
        "poll-interval": "5s",
    }
    (directory / "packages").mkdir()
    arguments = [str(find("crossplane")), "core", "start", "--debug", "--enable-webhooks=false"]
    arguments += [f"--{name}={value}" for name, value in options.items()]
    ready = answers(f"http://{LOOPBACK}:{health}/readyz")
    return Server("crossplane", arguments, directory / "crossplane.log", ready, environment=plane.environment)


def _function(directory: Path, address: str) -> Server:
    port = address.rpartition(":")[2]
    arguments = [str(find(FUNCTION)), f"--address={LOOPBACK}:{port}"]
    certificates = {"TLS_SERVER_CERTS_DIR": str(directory / "server")}
    return Server(FUNCTION, arguments, directory / "function.log", listens(int(port)), environment=certificates)


def _provider(plane: ControlPlane, directory: Path) -> Server:
    """It has no option for the port of its webhooks, which nothing calls here."""
    arguments = [str(find(PROVIDER)), "--debug", "--poll=1s", "--max-reconcile-rate=10"]
    environment = {**plane.environment, "TLS_SERVER_CERTS_DIR": str(directory / "server")}
    log = directory / "provider.log"
    return Server(PROVIDER, arguments, log, listens(_WEBHOOKS_PORT), environment=environment)


def _is_healthy(plane: ControlPlane, plural: str) -> bool:
    revisions = plane.call("GET", f"{_PACKAGES}/{plural}")["items"]
    conditions = [one for item in revisions for one in (item.get("status") or {}).get("conditions") or ()]
    return any(one["type"] == "RevisionHealthy" and one["status"] == "True" for one in conditions)


def _serves_kinds(plane: ControlPlane) -> bool:
    try:
        plane.call("GET", "/apis/nop.crossplane.io/v1alpha1/nopresources")
    except urllib.error.HTTPError:
        return False
    return True


def _write_status(plane: ControlPlane, plural: str, status: Mapping[str, str]) -> bool:
    """Write what a package runtime says of what it runs; whether it was taken."""
    for revision in plane.call("GET", f"{_PACKAGES}/{plural}")["items"]:
        path = f"{_PACKAGES}/{plural}/{revision['metadata']['name']}/status"
        try:
            plane.call("PUT", path, {**revision, "status": {**(revision.get("status") or {}), **status}})
        except urllib.error.HTTPError as error:
            if error.code != 409:  # it was written meanwhile
                raise
            return False
        return True
    return False


def _wait(is_done: Callable[[], bool], what: str, server: Server) -> None:
    try:
        wait_until(is_done, what)
    except AssertionError as error:
        raise ServerFailed(f"{error}:\n{server.tail()}") from error


@dataclass(frozen=True)
class _Image:
    """A container image of one layer."""

    manifest: bytes
    blobs: Mapping[str, bytes]


def _image(name: str) -> _Image:
    """A package as the `crossplane xpkg build` command makes it: an image that holds `package.yaml`."""
    folder = module_directory(name) / "package"
    parts = [folder / "crossplane.yaml", *sorted(folder.glob("crds/*.yaml")), *sorted(folder.glob("input/*.yaml"))]
    text = "\n---\n".join(part.read_text(encoding="utf-8") for part in parts).encode()
    tar = io.BytesIO()
    with tarfile.open(fileobj=tar, mode="w") as archive:
        entry = tarfile.TarInfo("package.yaml")
        entry.size, entry.mode = len(text), 0o644
        archive.addfile(entry, io.BytesIO(text))
    layer = gzip.compress(tar.getvalue(), mtime=0)
    rootfs = {"type": "layers", "diff_ids": [_digest(tar.getvalue())]}
    config = json.dumps({"architecture": "amd64", "os": "linux", "config": {}, "rootfs": rootfs}).encode()
    manifest = {
        "schemaVersion": 2,
        "mediaType": _MANIFEST,
        "config": _descriptor("application/vnd.oci.image.config.v1+json", config),
        "layers": [_descriptor("application/vnd.oci.image.layer.v1.tar+gzip", layer)],
    }
    return _Image(json.dumps(manifest).encode(), {_digest(blob): blob for blob in (config, layer)})


def _digest(blob: bytes) -> str:
    return f"sha256:{hashlib.sha256(blob).hexdigest()}"


def _descriptor(media_type: str, blob: bytes) -> dict[str, Any]:
    return {"mediaType": media_type, "size": len(blob), "digest": _digest(blob)}


@contextmanager
def _registry(images: Mapping[str, _Image]) -> Iterator[str]:
    """A registry to read from, as the OCI distribution specification has it; its address."""

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self._answer(with_body=True)

        def do_HEAD(self) -> None:
            self._answer(with_body=False)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name in http.server
            """Say nothing."""

        def _answer(self, *, with_body: bool) -> None:
            parts = self.path.split("?")[0].strip("/").split("/")
            body, media_type, status = b"{}", "application/json", 200
            if parts != ["v2"]:
                image = images.get(parts[1])
                content = None
                if image is not None:
                    is_manifest = parts[2] == "manifests"
                    content = image.manifest if is_manifest else image.blobs.get(parts[3])
                    media_type = _MANIFEST if is_manifest else "application/octet-stream"
                body, status = (b"{}", 404) if content is None else (content, 200)
            self.send_response(status)
            self.send_header("Content-Type", media_type)
            self.send_header("Content-Length", str(len(body)))
            self.send_header("Docker-Content-Digest", _digest(body))
            self.end_headers()
            if with_body:
                self.wfile.write(body)

    server = http.server.ThreadingHTTPServer((LOOPBACK, 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"{LOOPBACK}:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _write_certificates(directory: Path) -> None:
    """Certificates with which Crossplane and its function know each other: `client/` and `server/`."""
    authority = new_key()
    root = certificate_pem("authority", authority, is_authority=True)
    for name in ("client", "server"):
        key = new_key()
        folder = directory / name
        folder.mkdir()
        (folder / "ca.crt").write_bytes(root)
        (folder / "tls.crt").write_bytes(certificate_pem(name, key, "authority", authority))
        (folder / "tls.key").touch(mode=0o600)
        (folder / "tls.key").write_bytes(key_pem(key))
