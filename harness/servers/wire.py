"""What stands between a client and an HTTP server: counts what passes, and fails as networks and servers do."""

from __future__ import annotations

import asyncio
import ssl
import threading
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal, Self

from harness.servers.process import LOOPBACK

Mode = Literal["open", "closed", "unavailable", "half"]
"""As it is; no connection is taken up; 503; the first half of each answer, and then nothing."""
_HEAD_END: Final = b"\r\n\r\n"
_MAX_HEAD: Final = 64 * 1024
_UNAVAILABLE: Final = b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"


@dataclass
class Traffic:
    """What has passed.

    Args:
        requests: By method and path.
        statuses: By status.
        refused: Connections that were not taken up.
        received: Bytes of requests.
        sent: Bytes of answers.
        authorizations: Headers of the last requests, by path.
        moments: When the last request for a path came and when its answer had passed, by `time.monotonic`.
    """

    requests: Counter[str] = field(default_factory=Counter)
    statuses: Counter[int] = field(default_factory=Counter)
    refused: int = 0
    received: int = 0
    sent: int = 0
    authorizations: dict[str, str] = field(default_factory=dict)
    moments: dict[str, tuple[float, float]] = field(default_factory=dict)


class Wire:
    """One that listens on a port of its own.

    Args:
        target: URL of the server, without TLS; another may be set at any time.
        certificate: What it shows to clients, with its key, in files: it ends their TLS, as a reverse proxy does.
    """

    def __init__(self, target: str, certificate: tuple[Path, Path] | None = None) -> None:
        self.target = target
        self._tls: ssl.SSLContext | None = None
        if certificate is not None:
            self._tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
            self._tls.load_cert_chain(*certificate)
        self.mode: Mode = "open"
        self.traffic = Traffic()
        self.url = ""
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._listens = threading.Event()
        self._serving: set[asyncio.Task[None] | None] = set()  # the loop itself keeps no task alive

    def __enter__(self) -> Self:
        """Listen."""
        self._thread.start()
        self._listens.wait()
        return self

    def __exit__(self, *_: object) -> None:
        """Listen no more."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    def count_anew(self) -> Traffic:
        """What has passed until now; counting begins again."""
        before, self.traffic = self.traffic, Traffic()
        return before

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        listening = asyncio.start_server(self._serve, LOOPBACK, 0, limit=_MAX_HEAD, ssl=self._tls)
        server = self._loop.run_until_complete(listening)
        self.url = f"{'https' if self._tls else 'http'}://{LOOPBACK}:{server.sockets[0].getsockname()[1]}"
        self._listens.set()
        self._loop.run_forever()
        server.close()
        while tasks := asyncio.all_tasks(self._loop):  # a last connection may come while others end
            for task in tasks:
                task.cancel()
            self._loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
        self._loop.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One request of a connection; the next one needs another connection."""
        task = asyncio.current_task()
        self._serving.add(task)
        try:
            await self._answer(reader, writer)
        except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass  # either side has gone
        finally:
            await _close(writer)
            self._serving.discard(task)

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.mode == "closed":
            self.traffic.refused += 1
            writer.transport.abort()
            return
        head = await reader.readuntil(_HEAD_END)
        body = await _body(head, reader)
        request = head.split(b"\r\n", 1)[0].decode("latin-1").rpartition(" ")[0]
        headers = _headers(head)
        traffic, began = self.traffic, time.monotonic()
        traffic.requests[request] += 1
        traffic.received += len(head) + len(body)
        if "authorization" in headers:
            traffic.authorizations[request.partition(" ")[2]] = headers["authorization"]
        if self.mode == "unavailable":
            traffic.statuses[503] += 1
            writer.write(_UNAVAILABLE)
            await writer.drain()
        else:
            await self._relay(head, body, writer, traffic)
        traffic.moments[request.partition(" ")[2]] = (began, time.monotonic())

    async def _relay(self, head: bytes, body: bytes, writer: asyncio.StreamWriter, traffic: Traffic) -> None:
        host, _, port = self.target.partition("://")[2].partition(":")
        reader, upstream = await asyncio.open_connection(host, int(port), limit=_MAX_HEAD)
        try:
            if self._tls:
                head = head.removesuffix(_HEAD_END) + b"\r\nx-forwarded-proto: https" + _HEAD_END
            upstream.write(_closing(head, whole=self.mode == "half") + body)
            await upstream.drain()
            answer = await reader.readuntil(_HEAD_END)
            traffic.statuses[int(answer.split(b" ", 2)[1])] += 1
            traffic.sent += len(answer)
            writer.write(answer)
            left = int(_headers(answer).get("content-length", "0")) // 2 if self.mode == "half" else None
            while left != 0 and (data := await reader.read(65536 if left is None else left)):
                traffic.sent += len(data)
                writer.write(data)
                await writer.drain()
                left = None if left is None else left - len(data)
        finally:
            await _close(upstream)


async def _close(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with suppress(OSError):
        await writer.wait_closed()


def _headers(head: bytes) -> dict[str, str]:
    lines = head.decode("latin-1").split("\r\n")[1:]
    pairs = (line.partition(":") for line in lines if line)
    return {name.strip().lower(): value.strip() for name, _, value in pairs}


def _closing(head: bytes, *, whole: bool) -> bytes:
    """The head of a request after whose answer the server closes; with the whole of it, known or not."""
    dropped = (b"connection:", b"if-none-match:") if whole else (b"connection:",)
    lines = head.removesuffix(_HEAD_END).split(b"\r\n")
    kept = [line for line in lines if not line.lower().startswith(dropped)]
    return b"\r\n".join([*kept, b"connection: close"]) + _HEAD_END


async def _body(head: bytes, reader: asyncio.StreamReader) -> bytes:
    headers = _headers(head)
    if "chunked" in headers.get("transfer-encoding", ""):
        body = b""
        while not body.endswith(b"0\r\n\r\n"):
            body += await reader.readuntil(b"\r\n")
        return body
    return await reader.readexactly(int(headers.get("content-length", "0")))
