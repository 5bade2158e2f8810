"""The client sends each change under a request id, and again under the same when no answer came."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from typing_extensions import override

from bondstone.client.http import transport as transport_module
from bondstone.client.http.address import ApiAddress
from bondstone.client.http.freezes import HttpFreezes
from bondstone.client.http.schedules import HttpSchedules
from bondstone.client.http.state import HttpState
from bondstone.client.http.transport import HttpAnswer, Transport

Ask = Callable[[Transport], Awaitable[Any]]
CHANGES: dict[str, Ask] = {
    "a state push": lambda http: HttpState(http).push("shop/cart", b"{}"),
    "the end of a freeze": lambda http: HttpFreezes(http).delete("winter"),
    "an upload": lambda http: http.send("POST", "/promises", content=b"tar"),
    "a trigger": lambda http: HttpSchedules(http).trigger("nightly"),
    "a change": lambda http: http.post("/services/shop/cart/pause"),
}


class Answered(Exception):
    """Ends the test where the answer would be read."""


class Broken(Transport):
    """An API that takes two requests without an answer, and ends with the third."""

    def __init__(self) -> None:
        super().__init__(ApiAddress("http://127.0.0.1:9"))
        self.requests: list[tuple[str, str]] = []

    @override
    def _send(self, method: str, target: str, content: bytes | None, headers: dict[str, str]) -> HttpAnswer:
        del target, content
        self.requests.append((method, headers.get("Idempotency-Key", "")))
        if len(self.requests) < 3:
            raise ConnectionResetError
        raise Answered


async def keys_of(ask: Ask) -> list[str]:
    http = Broken()
    with pytest.raises(Answered):
        await ask(http)
    return [key for _, key in http.requests]


@pytest.mark.parametrize("change", CHANGES)
async def test_a_change_has_one_key_of_its_own_for_all_its_tries(change, monkeypatch):
    monkeypatch.setattr(transport_module, "FIRST_PAUSE_SECONDS", 0.0)
    first, other = await keys_of(CHANGES[change]), await keys_of(CHANGES[change])
    assert len(first) == 3
    assert len(set(first)) == len(set(other)) == 1
    assert first[0].startswith("req-")
    assert first[0] != other[0]


async def test_what_only_reads_has_no_key(monkeypatch):
    monkeypatch.setattr(transport_module, "FIRST_PAUSE_SECONDS", 0.0)
    assert await keys_of(lambda http: http.get("/services")) == ["", "", ""]
    assert await keys_of(lambda http: http.post("/policies/check", key=None)) == ["", "", ""]
