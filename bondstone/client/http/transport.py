"""Requests to the HTTP API: connections kept and reused, failures as our errors, lost requests sent again.

On the standard library's `http.client`, each request in a thread: it loads in a tenth of the time of a client with
an event loop of its own, and starting fast is what the transport is for.
"""

from __future__ import annotations

import asyncio
import http.client
import json
import ssl
import uuid
from collections import deque
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote, urlencode, urlsplit

from bondstone.base.tracing import spans
from bondstone.client.http.address import ApiAddress

if TYPE_CHECKING:
    from io import BytesIO

    from bondstone.base.errors import BondError

TIMEOUT_SECONDS: Final = 100.0
"""Longer than the longest wait that the API takes."""
STREAM_SECONDS: Final = 45.0
"""A stream is pinged each 15 s; one that is silent for longer is dead."""
TRIES: Final = 6
FIRST_PAUSE_SECONDS: Final = 0.1
MAX_ANSWER_BYTES: Final = 64 * 1024 * 1024
IDLE_CONNECTIONS: Final = 8
TRANSIENT: Final = frozenset({502, 503, 504})

_KEY_HEADER: Final = "Idempotency-Key"

Query = Mapping[str, str | int | bool | list[str] | None]


@dataclass(frozen=True, slots=True)
class HttpAnswer:
    """What the API answered."""

    status: int
    headers: http.client.HTTPMessage
    body: bytes

    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)


@dataclass(frozen=True, slots=True)
class Event:
    """One server-sent event."""

    kind: str
    data: str
    id: str


class Transport:
    """Connections to one API.

    Args:
        address: Where it is, and the token.
        acting_as: Whose name to act in, for the holder of a data directory; empty for one's own.
    """

    def __init__(self, address: ApiAddress, acting_as: str = "") -> None:
        self._address = address
        place = urlsplit(address.url)
        self._secure = place.scheme == "https"
        self._host, self._port = place.hostname or "", place.port
        self._prefix = place.path.rstrip("/") + "/api/v1"
        self._headers = {"Accept": "application/json", "User-Agent": "bond"}
        if acting_as:
            self._headers["Bond-As"] = acting_as
        self._idle: deque[http.client.HTTPConnection] = deque()

    def acting_as(self, by: str) -> Transport:
        """The same API in another name, over the same connections."""
        other = Transport(self._address, by)
        other._idle = self._idle
        return other

    def close(self) -> None:
        """Close the connections."""
        while (connection := self._take()) is not None:
            connection.close()

    async def get(self, path: str, query: Query | None = None) -> Any:
        """JSON of an address."""
        return (await self.send("GET", path, query=query)).json()

    async def post(
        self, path: str, body: object | None = None, *, query: Query | None = None, key: str | None = ""
    ) -> Any:
        """Ask for a change; the JSON of the answer, None where there is none.

        Args:
            path: The address.
            body: JSON.
            query: Parameters.
            key: The request id, see `send`.
        """
        headers = {"Content-Type": "application/json"}
        content = json.dumps({} if body is None else body).encode()
        answer = await self.send("POST", path, query=query, content=content, headers=headers, key=key)
        return answer.json() if answer.body else None

    async def send(
        self,
        method: str,
        path: str,
        *,
        query: Query | None = None,
        content: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        key: str | None = "",
    ) -> HttpAnswer:
        """Send a request, and again when no answer came: under its request id a change is carried out once.

        Args:
            method: As in `GET`.
            path: Below `/api/v1`, quoted.
            query: Parameters; those that are None or empty are left out.
            content: The body.
            headers: Further headers.
            key: The request id. Empty for a new one; None for what only reads, which the API takes no key for.

        Raises:
            Unreachable: the API does not answer.
            BondError: as the API refused, by its own class.
        """
        target = self._prefix + path + encoded(query)
        all_headers = {**self._headers, **(headers or {})}
        if traceparent := spans.here():
            all_headers[spans.HEADER] = traceparent
        if method != "GET" and key is not None:
            all_headers[_KEY_HEADER] = key or f"req-{uuid.uuid4()}"
        pause = FIRST_PAUSE_SECONDS
        for attempt in range(1, TRIES + 1):
            last = attempt == TRIES
            try:
                answer = await asyncio.to_thread(self._send, method, target, content, all_headers)
            except (OSError, http.client.HTTPException) as error:
                if last:
                    raise self._unreachable(error) from error
            else:
                if answer.status < http.client.BAD_REQUEST:
                    return answer
                if last or answer.status not in TRANSIENT:
                    raise error_of(answer)
            await asyncio.sleep(pause)
            pause *= 2
        raise AssertionError("the last attempt returns or raises")

    async def events(self, path: str, query: Query | None = None, *, last_id: str = "") -> AsyncIterator[Event]:
        """The events of one stream until it ends or breaks; pings are left out.

        Args:
            path: Below `/api/v1`, quoted.
            query: Parameters.
            last_id: Of the last event that was heard.

        Raises:
            Unreachable: the API does not answer, or went away.
            BondError: as the API refused.
        """
        headers = await asyncio.to_thread(self._authorized, self._headers)
        headers["Accept"] = "text/event-stream"
        if last_id:
            headers["Last-Event-ID"] = last_id
        target = self._prefix + path + encoded(query)
        connection = self._connection(STREAM_SECONDS)
        try:
            response = await asyncio.to_thread(_open, connection, target, headers)
            if response.status >= http.client.BAD_REQUEST:
                body = await asyncio.to_thread(response.read, MAX_ANSWER_BYTES)
                raise error_of(HttpAnswer(response.status, response.headers, body))
            while response.status == http.client.OK:
                event = await asyncio.to_thread(next_event, response)
                if event is None:
                    return
                yield event
        except (OSError, http.client.HTTPException) as error:
            raise self._unreachable(error) from error
        finally:
            connection.close()

    def _authorized(self, headers: Mapping[str, str]) -> dict[str, str]:
        """Headers with the credential of this moment: a sign-in is renewed while a command waits."""
        bearer = self._address.bearer()
        return {**headers, "Authorization": f"Bearer {bearer}"} if bearer else dict(headers)

    def _send(self, method: str, target: str, content: bytes | None, headers: dict[str, str]) -> HttpAnswer:
        headers = self._authorized(headers)
        kept = self._take()
        if kept is not None:
            try:
                return self._ask(kept, method, target, content, headers)
            except (http.client.RemoteDisconnected, ConnectionResetError, BrokenPipeError):
                kept.close()
        connection = self._connection(TIMEOUT_SECONDS)
        return self._ask(connection, method, target, content, headers)

    def _ask(
        self,
        connection: http.client.HTTPConnection,
        method: str,
        target: str,
        content: bytes | None,
        headers: dict[str, str],
    ) -> HttpAnswer:
        try:
            connection.request(method, target, content, headers)
            response = connection.getresponse()
            body = response.read(MAX_ANSWER_BYTES + 1)
        except BaseException:
            connection.close()
            raise
        if len(body) > MAX_ANSWER_BYTES:
            connection.close()
            raise http.client.HTTPException("the answer is larger than a client takes")
        if response.will_close or len(self._idle) >= IDLE_CONNECTIONS:
            connection.close()
        else:
            self._idle.append(connection)
        return HttpAnswer(response.status, response.headers, body)

    def _take(self) -> http.client.HTTPConnection | None:
        try:
            return self._idle.pop()
        except IndexError:
            return None

    def _connection(self, timeout: float) -> http.client.HTTPConnection:
        if self._secure:
            context = ssl.create_default_context()
            return http.client.HTTPSConnection(self._host, self._port, timeout=timeout, context=context)
        return http.client.HTTPConnection(self._host, self._port, timeout=timeout)

    def _unreachable(self, error: Exception) -> BondError:
        from bondstone.base.connection_words import connection_words  # noqa: PLC0415 - failures only
        from bondstone.base.errors import Unreachable  # noqa: PLC0415 - failures only

        return Unreachable(
            f"the API does not answer at {self._address.url}",
            where=connection_words(error)[:200],
            hint="`bond status` shows what runs here; BOND_API names another API",
        )


def error_of(answer: HttpAnswer) -> BondError:
    """One of our errors for what the API refused with."""
    from bondstone.base.errors import BondError, ErrorInfo, Unauthenticated, from_info  # noqa: PLC0415 - failures only

    try:
        problem = answer.json()
        info = ErrorInfo.model_validate({**problem, "message": problem["detail"]})
    except (ValueError, KeyError, TypeError):
        return BondError(
            f"the API answered {answer.status} and no problem document",
            where=answer.body[:200].decode(errors="replace"),
            hint="is there a proxy between? does BOND_API name an API of Bondstone?",
        )
    error = from_info(info)
    if isinstance(error, Unauthenticated) and not info.hint:
        error.hint = "sign in with `bond login`, or set BOND_TOKEN"
    return error


def service_path(service: str, *more: str) -> str:
    """The address of a service, or below it.

    Raises:
        InvalidInput: that is no `TEAM/NAME`.
    """
    from bondstone.base.names import parse_service  # noqa: PLC0415 - not for lists

    return segments("services", *parse_service(service), *more)


def operation_path(operation: str, *more: str) -> str:
    """The address of an operation, or below it.

    Raises:
        InvalidInput: that is no `TEAM/NAME/op/N`.
    """
    from bondstone.base.names import parse_operation  # noqa: PLC0415 - not for lists

    team, name, number = parse_operation(operation)
    return segments("operations", team, name, "op", str(number), *more)


def segments(*parts: str) -> str:
    """An address of these parts, quoted."""
    return "".join(f"/{quote(part, safe='')}" for part in parts)


def encoded(query: Query | None) -> str:
    """The parameters as they stand in an address, with `?`; those that are None, false or empty are left out."""
    pairs: list[tuple[str, str]] = []
    for name, value in (query or {}).items():
        if value is None or value == "" or value is False:
            continue
        values = value if isinstance(value, list) else ["true" if value is True else str(value)]
        pairs += [(name, each) for each in values]
    return f"?{urlencode(pairs)}" if pairs else ""


def _open(
    connection: http.client.HTTPConnection, target: str, headers: dict[str, str]
) -> http.client.HTTPResponse:
    connection.request("GET", target, headers=headers)
    return connection.getresponse()


def next_event(response: http.client.HTTPResponse | BytesIO) -> Event | None:
    """The next event of a stream of server-sent events; None at its end."""
    kind, event_id = "", ""
    data: list[str] = []
    while True:
        line = response.readline(MAX_ANSWER_BYTES)
        if not line:
            return None
        text = line.decode("utf-8").rstrip("\r\n")
        if not text and (data or kind):
            return Event(kind or "message", "\n".join(data), event_id)
        name, _, value = text.partition(":")
        value = value.removeprefix(" ")
        match name:
            case "event":
                kind = value
            case "id":
                event_id = value
            case "data":
                data.append(value)
            case _:
                continue
