"""A state backend with a lock, as teams have one: what Terraform's `http` backend speaks, in memory."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock, Thread
from typing import Final

LOCKED: Final = 423


class _Handler(BaseHTTPRequestHandler):
    server: Backend

    def do_GET(self) -> None:
        with self.server.guard:
            state = self.server.states.get(self.path)
        self._answer(200 if state else 404, state or b"")

    def do_POST(self) -> None:
        body = self._body()
        with self.server.guard:
            self.server.states[self.path.partition("?")[0]] = body
        self._answer(200)

    def do_LOCK(self) -> None:
        body = self._body()
        with self.server.guard:
            holder = self.server.locks.setdefault(self.path, body)
        self._answer(200 if holder is body else LOCKED, holder)

    def do_UNLOCK(self) -> None:
        body = self._body()
        with self.server.guard:
            self.server.locks.pop(self.path, None)
        self._answer(200, body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def _body(self) -> bytes:
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def _answer(self, status: int, body: bytes = b"") -> None:
        with suppress(ConnectionError):  # who asked was killed meanwhile
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)


class Backend(ThreadingHTTPServer):
    """States and locks by path."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.guard = Lock()
        self.states: dict[str, bytes] = {}
        self.locks: dict[str, bytes] = {}

    def url(self, name: str) -> str:
        """Where the state of this name is."""
        return f"http://127.0.0.1:{self.server_port}/{name}"

    def lock_id(self, name: str) -> str:
        """Who holds the lock; empty when nobody does."""
        with self.guard:
            holder = self.locks.get(f"/{name}")
        return str(json.loads(holder)["ID"]) if holder else ""


@contextmanager
def serving() -> Iterator[Backend]:
    """A backend for as long as it is needed."""
    with Backend() as backend:
        Thread(target=backend.serve_forever, daemon=True).start()
        try:
            yield backend
        finally:
            backend.shutdown()
