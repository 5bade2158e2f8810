"""Plays the folders of Grafana's HTTP API: what the image of the promise `dashboards` speaks to."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final

from harness.servers.process import LOOPBACK

TOKEN: Final = "glsa_0123456789"  # noqa: S105 - of this stand-in
"""The only one that it takes."""


class Grafana(ThreadingHTTPServer):
    """Folders by uid."""

    folders: dict[str, dict[str, Any]]

    @property
    def url(self) -> str:
        """Where it is."""
        return f"http://{LOOPBACK}:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    server: Grafana

    def do_GET(self) -> None:
        self._answer("GET")

    def do_POST(self) -> None:
        self._answer("POST")

    def do_PUT(self) -> None:
        self._answer("PUT")

    def do_DELETE(self) -> None:
        self._answer("DELETE")

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def _answer(self, method: str) -> None:
        body = json.loads(self.rfile.read(int(self.headers.get("Content-Length") or 0)) or b"{}")
        folders, uid = self.server.folders, self.path.rpartition("/")[2]
        status, folder = 200, folders.get(uid)
        if self.headers["Authorization"] != f"Bearer {TOKEN}":
            status = 401
        elif method == "POST":
            folder = folders[body["uid"]] = {**body, "version": 1}
        elif folder is None:
            status = 404
        elif method == "PUT":
            status = 200 if body["version"] == folder["version"] else 412
            folder |= {"title": body["title"], "version": folder["version"] + 1} if status == 200 else {}
        elif method == "DELETE":
            folders.pop(uid)
        self.send_response(status)
        self.end_headers()
        self.wfile.write(json.dumps(folder).encode())


@contextmanager
def running() -> Iterator[Grafana]:
    """A server without folders."""
    server = Grafana((LOOPBACK, 0), _Handler)
    server.folders = {}
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
