"""Notifications of a real platform: a workflow for each, signed, tried again, and visible when they fail."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from platforms import LocalPlatform

from harness.waiting import wait_until

pytestmark = pytest.mark.integration


class Receiver:
    """A receiver of webhooks on this machine.

    Args:
        answers: Status codes of its first answers; 204 from then on.
    """

    def __init__(self, *answers: int) -> None:
        self.received: list[tuple[dict[str, str], bytes]] = []
        left = list(answers)
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                receiver.received.append(({k.lower(): v for k, v in self.headers.items()}, body))
                self.send_response(left.pop(0) if left else 204)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/hook"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def events(self, kind: str = "") -> list[dict]:
        events = [json.loads(body) for _, body in self.received]
        return [event for event in events if event["type"] == f"dev.bondstone.{kind}" or not kind]


@pytest.fixture
def receiver(request: pytest.FixtureRequest) -> Iterator[Receiver]:
    one = Receiver(*getattr(request, "param", ()))
    yield one
    one.close()


def subscribe(platform: LocalPlatform, name: str, receiver: Receiver, *more: str) -> bytes:
    """The secret of a new subscription."""
    ran = platform.bond("notification", "create", name, "--url", receiver.url, *more, "-o", "json")
    return base64.b64decode(json.loads(ran.stdout)["secret"].removeprefix("whsec_"))


def deliveries(platform: LocalPlatform, name: str) -> list[dict]:
    return json.loads(platform.bond("notification", "deliveries", name, "-o", "json").stdout)


def requested(platform: LocalPlatform, service: str, *more: str) -> None:
    platform.bond("service", "request", "patient", service, "--set", "seconds=0", *more)


def test_an_operation_that_ends_is_told_once_signed_and_to_its_team_only(platform, receiver):
    elsewhere = Receiver()
    secret = subscribe(platform, "hooks", receiver, "--team", "told")
    subscribe(platform, "others", elsewhere, "--team", "quiet")
    time.sleep(2.5)  # until every worker knows of it: `announcing.FRESH_SECONDS`
    requested(platform, "told/one", "--wait")
    [event] = wait_until(lambda: receiver.events("operation"), "the event")
    assert (event["subject"], event["data"]["status"], event["specversion"]) == (
        "told/one/op/1",
        "succeeded",
        "1.0",
    )

    headers, body = receiver.received[0]
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    expected = base64.b64encode(hmac.new(secret, signed, hashlib.sha256).digest()).decode()
    assert headers["webhook-signature"] == f"v1,{expected}"
    assert abs(time.time() - int(headers["webhook-timestamp"])) < 60

    wait_until(lambda: [row["status"] for row in deliveries(platform, "hooks")] == ["delivered"], "its delivery")
    assert (len(receiver.received), elsewhere.received) == (1, [])
    elsewhere.close()
    for name in ("hooks", "others"):
        platform.bond("notification", "delete", name)


def test_a_plan_that_waits_for_people_is_told(platform, receiver):
    subscribe(platform, "gates", receiver, "--kind", "approval")
    time.sleep(2.5)
    requested(platform, "told/asks", "--ask")
    [event] = wait_until(lambda: receiver.events("approval"), "the event")
    assert event["data"]["operation"] == "told/asks/op/1"
    assert len(event["data"]["digest"]) >= 64
    platform.bond("operation", "cancel", "told/asks/op/1", status=None)
    platform.bond("notification", "delete", "gates")


@pytest.mark.parametrize("receiver", [(500,)], indirect=True)
def test_a_receiver_that_failed_is_tried_again_with_the_same_id(platform, receiver):
    subscribe(platform, "flaky", receiver)
    platform.bond("notification", "test", "flaky")
    wait_until(lambda: len(receiver.received) == 2, "the second attempt")
    assert len({headers["webhook-id"] for headers, _ in receiver.received}) == 1
    wait_until(lambda: [row["status"] for row in deliveries(platform, "flaky")] == ["delivered"])
    platform.bond("notification", "delete", "flaky")


@pytest.mark.parametrize("receiver", [(410,)], indirect=True)
def test_what_did_not_arrive_is_visible_and_can_be_sent_again(platform, receiver):
    subscribe(platform, "gone", receiver)
    platform.bond("notification", "test", "gone")
    [row] = wait_until(
        lambda: [row for row in deliveries(platform, "gone") if row["status"] == "failed"], "the failure"
    )
    assert "answered 410" in row["error"]
    platform.bond("notification", "retry", "gone", row["event"])
    wait_until(lambda: len(receiver.received) == 2, "the delivery")
    platform.bond("notification", "delete", "gone")


def test_an_address_without_tls_elsewhere_is_refused(platform):
    ran = platform.bond("notification", "create", "plain", "--url", "http://hooks.example/", status=2)
    assert "over TLS only" in ran.stderr
    assert "no subscription" in platform.bond("notification", "test", "nobody", status=None).stderr
