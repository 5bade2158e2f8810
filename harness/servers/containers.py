"""A real container engine with a storage of its own, an image from scratch, and a service that it looks after."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from harness.pinned import ROOT, ToolMissing
from harness.servers.process import LOOPBACK

_SOURCE: Final = ROOT / "harness" / "tool_image"
_DOCKERFILE: Final = 'FROM scratch\nCOPY tool /tool\nENTRYPOINT ["/tool"]\n'


@dataclass
class Things:
    """A small HTTP service that keeps things, JSON objects at `/<space>/<name>`.

    Args:
        url: Where it is.
        spaces: The things by space and name.
        begun: How often somebody began to change things (`POST /<space>/begun`), by space.
    """

    url: str
    spaces: dict[str, dict[str, Any]] = field(default_factory=dict)
    begun: dict[str, int] = field(default_factory=dict)

    def space(self, name: str) -> dict[str, Any]:
        """The things of a space."""
        return self.spaces.setdefault(name, {})


@dataclass(frozen=True)
class Containers:
    """A container engine and an image.

    Args:
        command: For `BOND_CONTAINER_ENGINE`.
        image: By its digest.
        things: What the image's tool looks after.
    """

    command: str
    image: str
    things: Things

    @property
    def environment(self) -> dict[str, str]:
        """The settings of a worker that uses it; the image reaches the service on this machine's network."""
        return {"BOND_CONTAINER_ENGINE": self.command, "BOND_CONTAINER_NETWORK": "host"}

    def engine(self, *arguments: str) -> str:
        """Run the engine; what it printed."""
        done = subprocess.run(
            [*shlex.split(self.command), *arguments], capture_output=True, text=True, check=True, cwd="/"
        )
        return done.stdout

    def names(self) -> list[str]:
        """All its containers."""
        return self.engine("ps", "--all", "--format={{.Names}}").split()


@contextmanager
def engine(directory: Path) -> Iterator[str]:
    """The command of an engine whose images and containers are in a directory; they are gone with it.

    It shares nothing with another one, not even what podman keeps of a machine's boot in /run/libpod. It is not
    `podman system reset` that cleans up: that would take such things away from all others.

    Raises:
        ToolMissing: there is no podman, or no runc.
    """
    podman = shutil.which("podman")
    if podman is None or shutil.which("runc", path=f"{os.environ.get('PATH', '')}:/usr/sbin") is None:
        raise ToolMissing("there is no podman with runc; `apt-get install podman runc` brings them")
    with TemporaryDirectory(prefix="bond-", ignore_cleanup_errors=True) as state:  # podman takes 50 characters
        folders = [f"--root={directory / 'storage'}", f"--runroot={state}/r", f"--tmpdir={state}/t"]
        words = [podman, *folders, "--storage-driver=vfs", "--runtime=runc", "--cgroup-manager=cgroupfs"]
        try:
            yield shlex.join(words)
        finally:
            subprocess.run([*words, "rm", "--force", "--all"], check=False, capture_output=True)


def image(command: str, name: str, source: Path, directory: Path) -> None:
    """Build an image from scratch that holds one static program.

    Args:
        command: Of the engine.
        name: Of the image.
        source: The program, one file of Go.
        directory: A new folder to build in.

    Raises:
        ToolMissing: there is no Go.
    """
    go = shutil.which("go")
    if go is None:
        raise ToolMissing("there is no Go to build the program of an image with; install Go 1.21 or newer")
    directory.mkdir()
    (directory / "Dockerfile").write_text(_DOCKERFILE)
    subprocess.run(
        [go, "build", "-trimpath", "-ldflags=-s -w", "-o", str(directory / "tool"), str(source)],
        check=True,
        env={**os.environ, "CGO_ENABLED": "0", "GO111MODULE": "off", "GOFLAGS": ""},
    )
    build = ["build", "--quiet", f"--tag={name}", str(directory)]
    built = subprocess.run([*shlex.split(command), *build], check=False, capture_output=True, text=True)
    if built.returncode != 0:
        raise RuntimeError(f"the image {name} could not be built: {built.stderr}")


@contextmanager
def running(directory: Path) -> Iterator[Containers]:
    """An engine, an image that keeps the contract, and what that looks after.

    Raises:
        ToolMissing: there is no podman, no runc, or no Go to build the image's tool.
    """
    with engine(directory) as command, _service() as things:
        image(command, "bond-tool", _SOURCE / "main.go", directory / "image")
        inspect = [*shlex.split(command), "image", "inspect", "bond-tool", "--format={{.Digest}}"]
        digest = subprocess.run(inspect, check=True, capture_output=True, text=True).stdout.strip()
        yield Containers(command, f"localhost/bond-tool@{digest}", things)


@contextmanager
def _service() -> Iterator[Things]:
    things = Things("")

    class Handler(BaseHTTPRequestHandler):
        def _answer(self, status: int, value: Any = None) -> None:
            data = json.dumps(value).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def _body(self) -> Any:
            return json.loads(self.rfile.read(int(self.headers["Content-Length"])) or b"null")

        def do_GET(self) -> None:
            self._answer(200, things.space(self.path.split("/")[1]))

        def do_PUT(self) -> None:
            _, space, name = self.path.split("/")
            things.space(space)[name] = self._body()
            self._answer(200)

        def do_POST(self) -> None:
            self._body()
            space = self.path.split("/")[1]
            things.begun[space] = things.begun.get(space, 0) + 1
            self._answer(200)

        def do_DELETE(self) -> None:
            self._body()
            _, space, name = self.path.split("/")
            things.space(space).pop(name, None)
            self._answer(200)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer((LOOPBACK, 0), Handler)
    things.url = f"http://{LOOPBACK}:{server.server_port}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield things
    finally:
        server.shutdown()
        server.server_close()
