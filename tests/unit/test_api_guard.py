"""What no handler of the API ever sees: foreign hosts and origins, too many or too slow bytes or requests."""

import asyncio
import json

import pytest
from structlog.testing import capture_logs

from bondstone.api import guard
from bondstone.api.rates import Rates
from bondstone.base.errors import TooManyRequests
from bondstone.base.settings import Settings


def echo():
    """An application that answers with the size of the body it was given."""

    async def app(_scope, receive, send):
        message = await receive()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": str(len(message["body"])).encode()})

    return app


async def ask(app, *, path="/api/v1/services", headers=(), chunks=(b"",), never_ends=False, method="POST"):
    """Status, headers and body of the answer; None when nothing was answered."""
    pending = [
        {"type": "http.request", "body": chunk, "more_body": never_ends or index + 1 < len(chunks)}
        for index, chunk in enumerate(chunks)
    ]
    sent = []

    async def receive():
        if not pending:
            await asyncio.sleep(3600)
        return pending.pop(0)

    async def send(message):
        sent.append(message)

    inputs = {"host": "127.0.0.1:8080", **dict(headers)}
    scope = {
        "type": "http", "method": method, "path": path, "raw_path": path.encode(), "query_string": b"",
        "headers": [(name.encode(), value.encode()) for name, value in inputs.items()],
    }  # fmt: skip
    await app(scope, receive, send)
    return sent[0]["status"], dict(sent[0]["headers"]), b"".join(part.get("body", b"") for part in sent[1:])


def guarded(**settings):
    return guard.Guard(echo(), guard.hosts(Settings(**settings)), body_seconds=0.2)


async def test_a_request_for_this_host_reaches_its_handler_with_its_body():
    status, headers, body = await ask(guarded(), chunks=(b"abc", b"de"))
    assert (status, body) == (200, b"5")
    assert headers[b"x-content-type-options"] == b"nosniff"


@pytest.mark.parametrize(
    ("host", "settings", "status"),
    [
        ("localhost:8080", {}, 200),
        ("[::1]:8080", {}, 200),
        ("evil.example", {}, 421),
        ("", {}, 421),
        ("127.0.0.1.evil.example:8080", {}, 421),
        ("bond.example.com", {"api": "https://bond.example.com"}, 200),
        ("bond", {"api_hosts": ("bond",)}, 200),
        ("0.0.0.0:8080", {"api_bind": "0.0.0.0:8080"}, 421),
    ],
)
async def test_only_hosts_of_the_platform_are_answered_for(host, settings, status):
    answered, _, body = await ask(guarded(**settings), headers={"host": host})
    assert answered == status
    assert status == 200 or json.loads(body)["code"] == "HOST_UNKNOWN"


async def test_a_probe_by_the_address_of_a_pod_is_answered():
    assert (await ask(guarded(), path="/healthz", headers={"host": "10.1.2.3:8080"}))[0] == 200


@pytest.mark.parametrize(
    ("origin", "status"),
    [
        ("http://127.0.0.1:8080", 200),
        ("http://127.0.0.1:9090", 403),
        ("https://evil.example", 403),
        ("null", 403),
        ("http://[", 403),
    ],
)
async def test_a_page_of_another_origin_is_refused(origin, status):
    assert (await ask(guarded(), headers={"origin": origin}))[0] == status


async def test_a_body_over_the_limit_is_refused_whether_or_not_its_length_was_announced():
    announced = await ask(guarded(), headers={"content-length": str(guard.MAX_BODY_BYTES + 1)})
    streamed = await ask(guarded(), chunks=(b"x" * guard.MAX_BODY_BYTES, b"x"))
    assert announced[0] == streamed[0] == 413
    assert (await ask(guarded(), chunks=(b"x" * guard.MAX_BODY_BYTES,)))[0] == 200


async def test_an_upload_may_be_larger_and_has_a_limit_too():
    kind = {"content-type": "application/gzip"}
    assert (await ask(guarded(), headers=kind, chunks=(b"x" * (guard.MAX_BODY_BYTES + 1),)))[0] == 200
    assert (await ask(guarded(), headers=kind, chunks=(b"x" * (guard.MAX_UPLOAD_BYTES + 1),)))[0] == 413


async def test_a_body_that_does_not_arrive_is_not_waited_for():
    status, _, body = await ask(guarded(), chunks=(b"{",), never_ends=True)
    assert (status, json.loads(body)["code"]) == (408, "REQUEST_TOO_SLOW")


async def test_many_or_large_headers_and_long_addresses_are_refused():
    assert (await ask(guarded(), headers={f"x-{n}": "" for n in range(10_000)}))[0] == 431
    assert (await ask(guarded(), headers={"x-large": "x" * guard.MAX_HEADER_BYTES}))[0] == 431
    assert (await ask(guarded(), path="/" + "x" * guard.MAX_URL_BYTES))[0] == 414


def test_a_caller_that_sends_too_much_is_told_when_to_come_back_and_others_are_not_held_up():
    now = [0.0]
    rates = Rates(2, 3, lambda: now[0])
    for _ in range(3):
        rates.count("ada")
    with pytest.raises(TooManyRequests) as refused:
        rates.count("ada")
    assert refused.value.retry_after_seconds == 1
    rates.count("grace")
    now[0] = 0.5
    rates.count("ada")
    with pytest.raises(TooManyRequests):
        rates.count("ada")


async def test_what_a_client_makes_up_fills_no_log():
    with capture_logs() as logs:
        for method, path in (("M" * 60_000, "/api/v1/services"), ("POST", "/" + "p" * 60_000)):
            status, _, _ = await ask(guarded(), path=path, headers={"host": "elsewhere.example"}, method=method)
            assert status >= 400
    assert [entry["method"] for entry in logs] == ["", "POST"]
    assert max(len(str(entry)) for entry in logs) < 2000


async def test_the_secret_in_an_address_of_the_feed_is_not_logged():
    with capture_logs() as logs:
        status, _, _ = await ask(
            guarded(),
            path="/backstage/v1/secret/catalog.yaml",
            headers={"host": "elsewhere.example"},
            method="GET",
        )
    assert status >= 400
    assert logs
    assert "secret" not in str(logs)
