"""Several API processes: any serves any request, and the clients of one that stops continue at another."""

from __future__ import annotations

import http.client
import json
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from urllib.parse import urlsplit

import httpx2
import pytest
from platforms import LocalPlatform

from harness.api_process import ApiProcess

pytestmark = pytest.mark.integration

PATIENCE = 240


@pytest.fixture(scope="module")
def both(platform: LocalPlatform) -> Iterator[tuple[ApiProcess, ApiProcess]]:
    with ApiProcess(platform, "api-2") as one, ApiProcess(platform, "api-3") as other:
        yield one, other


def client(api: ApiProcess, token: str = "") -> httpx2.Client:
    headers = {"Authorization": f"Bearer {token}"} if token else api.bearer
    return httpx2.Client(base_url=f"{api.url}/api/v1", headers=headers, trust_env=False, timeout=PATIENCE)


def test_a_token_a_key_and_a_sign_in_of_one_process_are_known_to_the_other(both):
    one, other = both
    with client(one) as first, client(other) as second:
        grants = [{"roles": ["developer"], "scope": "everything"}]
        token = first.post("/tokens", json={"name": "shared", "grants": grants}).json()["token"]
        body = {"promise": "patient", "service": "processes/shared", "inputs": {}}
        with client(other, token) as elsewhere:
            accepted = elsewhere.post("/services", json=body, headers={"Idempotency-Key": "shared-1"})
            assert accepted.status_code == 202, accepted.text
        with client(one, token) as again:
            repeated = again.post("/services", json=body, headers={"Idempotency-Key": "shared-1"})
            assert repeated.json()["id"] == accepted.json()["id"]
        second.delete("/tokens/shared")
        with client(one, token) as revoked:
            answer = revoked.get("/whoami")
            assert (answer.status_code, answer.json()["code"]) == (401, "TOKEN_REVOKED")


def test_a_browser_that_signed_in_at_one_process_is_known_to_the_other(platform, both):
    one, other = both
    code = urlsplit(json.loads(platform.bond("--as", "ada", "open", "--print", "-o", "json").stdout)["url"]).query
    with httpx2.Client(trust_env=False, timeout=PATIENCE) as browser:
        assert browser.get(f"{one.url}/sign-in/code?{code}").status_code == 303
        for api in (one, other):  # both are 127.0.0.1, so that the cookie is for both
            assert browser.get(f"{api.url}/api/v1/whoami").json()["subject"] == "ada"
        browser.cookies.clear()
        again = browser.get(f"{other.url}/sign-in/code?{code}")
        assert again.status_code >= 400, "the code is good once, wherever"


def test_a_process_that_is_told_to_stop_ends_its_streams_and_finishes_what_it_has_begun(platform, both):
    one, _ = both
    with ApiProcess(platform, "api-4") as stopped, client(stopped) as first, client(one) as second:
        body = {"promise": "patient", "service": "processes/drained", "inputs": {"seconds": 3}}
        operation = first.post("/services", json=body).json()["id"]
        path = f"/operations/{operation}/events"
        begun = threading.Event()
        in_flight = http.client.HTTPConnection(stopped.url.removeprefix("http://"), timeout=PATIENCE)
        with closing(in_flight), ThreadPoolExecutor(1) as pool:
            in_flight.request("GET", f"/api/v1/operations/{operation}?wait=60", headers=stopped.bearer)
            stream = pool.submit(followed, stopped, path, begun)
            assert begun.wait(PATIENCE)
            assert stopped.server.process is not None
            stopped.server.process.send_signal(signal.SIGTERM)
            events = stream.result(PATIENCE)
            with in_flight.getresponse() as answer:
                assert answer.status == 200, "a request in flight is answered"
                assert json.load(answer)["id"] == operation
        assert stopped.server.process.wait(PATIENCE) == 0
        assert events[0] == {"retry": "1000"}, "the stream says when to come back"
        told = [event for event in events if "data" in event]
        assert told
        assert told[-1].get("event") != "end", "it did not end for good"
        with second.stream("GET", path, headers={"Last-Event-ID": told[-1]["id"]}) as resumed:
            rest = list(parsed(resumed))
        assert rest[-1]["event"] == "end", "another process continues it"
        assert json.loads(rest[-2]["data"])["status"] == "succeeded"


def followed(api: ApiProcess, path: str, begun: threading.Event) -> list[dict[str, str]]:
    """The events of a stream until it ends; `begun` is set with the first that says something."""
    events = []
    with client(api) as one, one.stream("GET", path) as stream:
        for event in parsed(stream):
            events.append(event)
            if "data" in event:
                begun.set()
    return events


def parsed(stream: httpx2.Response) -> Iterator[dict[str, str]]:
    event: dict[str, str] = {}
    for line in stream.iter_lines():
        if not line and event:
            yield event
            event = {}
        elif line and not line.startswith(":"):
            name, _, value = line.partition(": ")
            event[name] = value
