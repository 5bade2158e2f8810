"""What must be refused, each by a code of its own, in words, with a line in the log, and without a change.

One table, sent to a real API process on a real platform.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import http.client
import json
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx2
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from jwt.algorithms import RSAAlgorithm
from platforms import LocalPlatform

from bondstone.api.pages import Cursors
from harness.api_process import ApiProcess
from harness.waiting import wait_until

pytestmark = pytest.mark.integration

ISSUER = "https://ci.example.com"
ONCE = "https://once.example.com"
KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
STRANGER = rsa.generate_private_key(public_exponent=65537, key_size=2048)
HOUR = 3600
GATE = "bad/gate"
GRANTS = [{"roles": ["viewer"], "scope": "everything"}]
NOT_OF_REQUESTS = ("tokens/once/", "tokens/used/", "refusals/", "fleet/")
"""Objects that note what was refused, that credentials were used, and what lists begin with."""


@dataclass(frozen=True)
class Scene:
    """An API process with a service that waits for an approval, and what was accepted under two keys."""

    api: ApiProcess
    client: httpx2.Client
    objects: Path
    operation: str

    def refusals(self) -> list[dict[str, Any]]:
        """What the process has logged of requests that it refused."""
        lines = self.api.server.log.read_text(errors="replace").splitlines()
        return [json.loads(line) for line in lines if '"event": "refused"' in line]

    def everything(self) -> tuple[set[str], str]:
        """Every object that requests leave, and the state of the service."""
        paths = set()
        for folder, _, names in os.walk(self.objects):  # pathlib would take ten times as long, for each case
            below = f"{folder}/".removeprefix(f"{self.objects}/")
            if not below.startswith(NOT_OF_REQUESTS):
                paths.update(below + name for name in names)
        etag = self.client.get(f"/services/{GATE}", headers=self.api.bearer).headers["ETag"]
        return paths, etag


@pytest.fixture(scope="module")
def scene(platform: LocalPlatform, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    keys = tmp_path_factory.mktemp("issuer") / "keys.jwks"
    public = RSAAlgorithm.to_jwk(KEY.public_key(), as_dict=True)
    keys.write_text(json.dumps({"keys": [{**public, "kid": "one", "use": "sig"}]}))
    issuer = {"audience": ["bondstone"], "keys_file": str(keys)}
    issuers = [
        {**issuer, "issuer": ISSUER, "subject_prefix": "ci:"},
        {**issuer, "issuer": ONCE, "subject_prefix": "once:", "once": True},
    ]
    trusting = {"BOND_ISSUERS": json.dumps(issuers), "BOND_ADMINS": '["user:ci:deploy", "user:once:deploy"]'}
    with (
        ApiProcess(platform, "api-bad-input", trusting) as api,
        httpx2.Client(base_url=f"{api.url}/api/v1", trust_env=False, timeout=240) as client,
    ):
        gate = {"promise": "patient", "service": GATE, "ask": True}
        requested = client.post("/services", json=gate, headers={**api.bearer, "Idempotency-Key": "bad-gate"})
        operation = requested.json()["id"]
        wait_until(
            lambda: (
                client.get(f"/operations/{operation}", headers=api.bearer).json()["status"] == "awaiting-approval"
            )
        )
        token = {"name": "bad-first", "grants": GRANTS}
        headers = {**api.bearer, "Idempotency-Key": "bad-token"}
        assert client.post("/tokens", json=token, headers=headers).status_code == 201
        yield Scene(api, client, platform.data / "objects", operation)
        client.post(f"/services/{GATE}/cancel", json={}, params={"wait": 60}, headers=api.bearer)
        client.delete("/tokens/bad-first", headers=api.bearer)


Send = Callable[[Scene], httpx2.Response]


def asking(method: str, path: str, *, authorized: bool = True, **how: Any) -> Send:
    """A request, by default of an administrator; in the path `OPERATION` stands for the one that waits."""

    def send(scene: Scene) -> httpx2.Response:
        bearer = scene.api.bearer if authorized else {}
        headers = {**bearer, **how.get("headers", {})}
        return scene.client.request(
            method, path.replace("OPERATION", scene.operation), **{**how, "headers": headers}
        )

    return send


def token_request(**how: Any) -> Send:
    return asking("POST", "/tokens", **how)


def service_request(**body: Any) -> Send:
    return asking("POST", "/services", json={"promise": "patient", "service": "bad/new", **body})


def bearing(make: Callable[[], str]) -> Send:
    """A change by whoever a token stands for."""

    def send(scene: Scene) -> httpx2.Response:
        bearer = {"Authorization": f"Bearer {make()}"}
        return asking("POST", "/tokens", authorized=False, json={"name": "x", "grants": GRANTS}, headers=bearer)(
            scene
        )

    return send


def replayed(scene: Scene) -> httpx2.Response:
    token = signed(iss=ONCE, jti="request-1")
    first = asking("GET", "/whoami", authorized=False, headers={"Authorization": f"Bearer {token}"})(scene)
    assert first.json()["subject"] == "once:deploy", "it is good once"
    return bearing(lambda: token)(scene)


def ten_thousand_headers(scene: Scene) -> httpx2.Response:
    body = json.dumps({"name": "x", "grants": GRANTS})
    needed = {**JSON, **scene.api.bearer, "Content-Length": str(len(body))}
    connection = http.client.HTTPConnection(urlsplit(scene.api.url).netloc, timeout=60)
    connection.putrequest("POST", "/api/v1/tokens")
    for name, value in [*needed.items(), *((f"X-{number}", "x") for number in range(10_000))]:
        connection.putheader(name, value)
    connection.endheaders(body.encode())
    answer = connection.getresponse()
    content = answer.read()
    connection.close()
    return httpx2.Response(answer.status, headers=dict(answer.getheaders()), content=content)


ALL = {"sort": "id", "team": "", "promise": "", "phase": None, "labels": {}, "where": "", "ended": False}
"""The order and the filter of the whole list of services."""


def by_cursor(of: str = "services", **other: Any) -> Send:
    """A page of all services by the cursor of a list of another thing, order or filter."""
    cursor = Cursors(**{"list": of, **ALL, **other}).encode([GATE, GATE])
    return asking("GET", "/services", params={"cursor": cursor})


def claims(**changed: Any) -> dict[str, Any]:
    now = int(datetime.now(UTC).timestamp())
    made = {"iss": ISSUER, "aud": "bondstone", "sub": "deploy", "iat": now, "exp": now + HOUR, **changed}
    return {name: value for name, value in made.items() if value is not None}


def signed(key: Any = KEY, *, kid: str = "one", algorithm: str = "RS256", **changed: Any) -> str:
    return jwt.encode(claims(**changed), key, algorithm, headers={"kid": kid})


def in_minutes(minutes: float) -> int:
    return int((datetime.now(UTC) + timedelta(minutes=minutes)).timestamp())


PUBLIC_PEM = KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def forged_with_the_public_key() -> str:
    """HS256 with the issuer's public key as the secret, as a library that takes any algorithm would accept it."""

    def part(data: bytes) -> str:
        return base64.urlsafe_b64encode(data).rstrip(b"=").decode()

    head = part(json.dumps({"alg": "HS256", "typ": "JWT", "kid": "one"}).encode())
    body = part(json.dumps(claims()).encode())
    return f"{head}.{body}.{part(hmac.digest(PUBLIC_PEM, f'{head}.{body}'.encode(), hashlib.sha256))}"


JSON = {"Content-Type": "application/json"}
Bad = tuple[Send, int, str, str]
"""The request, the status, the code, and words that say why."""

TOKENS: dict[str, Bad] = {
    name: (bearing(make), 401, code, words)
    for name, (make, code, words) in {
        "expired": (lambda: signed(iat=in_minutes(-90), exp=in_minutes(-30)), "TOKEN_EXPIRED", "expired at"),
        "expired by a clock five minutes behind": (
            lambda: signed(iat=in_minutes(-65), exp=in_minutes(-5)), "TOKEN_EXPIRED", "expired at .*, and it is"),
        "issued by a clock five minutes ahead": (
            lambda: signed(iat=in_minutes(5), exp=in_minutes(65)), "TOKEN_NOT_YET_VALID",
            "valid from .*, and it is"),
        "not valid before five minutes from now": (
            lambda: signed(nbf=in_minutes(5)), "TOKEN_NOT_YET_VALID", "valid from"),
        "of a foreign issuer": (
            lambda: signed(iss="https://elsewhere.example.com"), "TOKEN_FOREIGN", "elsewhere.* is not trusted"),
        "signed by a stranger": (lambda: signed(STRANGER), "TOKEN_FOREIGN", "not signed by https://ci"),
        "of a key that nobody knows": (lambda: signed(kid="two"), "TOKEN_FOREIGN", "two"),
        "alg none": (lambda: signed("", algorithm="none"), "TOKEN_UNSIGNED", "not signed"),
        "without its signature": (lambda: signed().rpartition(".")[0] + ".", "TOKEN_UNSIGNED", "not signed"),
        "HS256 with the public key": (forged_with_the_public_key, "TOKEN_INVALID", "signed with 'HS256'"),
        "for another application": (lambda: signed(aud="another"), "TOKEN_AUDIENCE", "issued for another"),
        "without an end": (lambda: signed(exp=None), "TOKEN_INVALID", "no `exp`"),
        "that lasts for a month": (lambda: signed(exp=in_minutes(60 * 24 * 31)), "TOKEN_INVALID", "longer than"),
        "of nobody": (lambda: signed(sub=""), "TOKEN_INVALID", "does not name anybody"),
        "no token": (lambda: "a.b.c", "TOKEN_INVALID", "cannot be read"),
        "longer than any": (lambda: "a" * 20_000 + ".b.c", "TOKEN_INVALID", "larger than"),
        "an API token that is none": (
            lambda: "bond_000000000000_" + "x" * 43, "TOKEN_INVALID", "not an API token"),
    }.items()
}  # fmt: skip

NOT_FIT = "does not fit the schema"
REQUESTS: dict[str, Bad] = {
    "no credential": (token_request(authorized=False, json={}), 401, "UNAUTHENTICATED", "not signed in"),
    "a token that was used": (replayed, 401, "TOKEN_REPLAYED", "good once"),
    "malformed JSON": (token_request(content=b"{", headers=JSON), 400, "REQUEST_INVALID", "not JSON"),
    "JSON that is not UTF-8": (
        token_request(content=b'{"name": "\xff"}', headers=JSON), 400, "REQUEST_INVALID", "body"),
    "JSON nested without end": (
        token_request(content=b"[" * 500_000, headers=JSON), 400, "REQUEST_INVALID", "body"),
    "a list for an object": (token_request(json=[]), 422, "INVALID_INPUT", NOT_FIT),
    "a wrong type": (token_request(json={"name": 7, "grants": GRANTS}), 422, "INVALID_INPUT", "body.name"),
    "a number that is none": (
        token_request(content=b'{"name": "x", "days": NaN}', headers=JSON), 422, "INVALID_INPUT", "body.days"),
    "an unknown field": (
        token_request(json={"name": "x", "grants": GRANTS, "dayz": 1}), 422, "INVALID_INPUT", "body.dayz"),
    "an unknown role": (
        token_request(json={"name": "x", "grants": [{"roles": ["boss"], "scope": "everything"}]}), 422,
        "INVALID_INPUT", "boss"),
    "a scope that is null": (
        token_request(json={"name": "x", "grants": [{"roles": ["viewer"], "scope": None}]}), 422, "INVALID_INPUT",
        "write `everything`"),
    "no scope": (
        token_request(json={"name": "x", "grants": [{"roles": ["viewer"]}]}), 422, "INVALID_INPUT",
        "scope: Field"),
    "an unknown parameter": (
        token_request(json={"name": "x", "grants": GRANTS}, params={"dry": "1"}), 422, "INVALID_INPUT", "'dry'"),
    "a key that is none": (
        token_request(json={"name": "x", "grants": GRANTS}, headers={"Idempotency-Key": "a b"}), 422,
        "INVALID_INPUT", "Idempotency-Key"),
    "a body over the limit": (
        token_request(content=b'"' + b"x" * 2**20 + b'"', headers=JSON), 413, "BODY_TOO_LARGE", "1024 KiB"),
    "ten megabytes": (
        token_request(content=b"x" * 10_000_000, headers={"Content-Type": "application/gzip"}), 413,
        "BODY_TOO_LARGE", "9216 KiB"),
    "an address over the limit": (token_request(params={"q": "x" * 9000}), 414, "ADDRESS_TOO_LONG", "address"),
    "another host": (token_request(headers={"Host": "evil.example.com"}), 421, "HOST_UNKNOWN", "evil.example.com"),
    "a page of another site": (
        token_request(headers={"Origin": "https://evil.example.com"}), 403, "ORIGIN_REFUSED", "evil.example.com"),
    "200 headers": (
        token_request(headers={f"X-{number}": "x" for number in range(200)}), 431, "HEADERS_TOO_LARGE", "headers"),
    "10,000 headers": (ten_thousand_headers, 431, "HEADERS_TOO_LARGE", "headers"),
    "another method": (asking("PATCH", "/tokens", json={}), 405, "METHOD_NOT_ALLOWED", "method"),
    "no such address": (asking("POST", "/tokenz", json={}), 404, "NOT_FOUND", "nothing at this address"),
    "no service's name": (service_request(service="bad"), 422, "INVALID_INPUT", "body.service"),
    "a wrong input": (service_request(inputs={"seconds": "x"}), 422, "INPUTS_INVALID", "seconds"),
    "parts at a decommission": (
        asking("POST", f"/services/{GATE}/decommission", json={"parts": True}), 422, "INVALID_INPUT",
        "body.parts"),
    "no such promise": (service_request(promise="nothing"), 404, "NOT_FOUND", "nothing"),
    "a cursor of another order": (
        by_cursor(sort="-id"), 400, "CURSOR_INVALID", "another list, order or filter"),
    "a cursor of another filter": (
        by_cursor(where="name != 's1'"), 400, "CURSOR_INVALID", "another list, order or filter"),
    "a cursor of another list": (by_cursor("campaigns"), 400, "CURSOR_INVALID", "another list, order or filter"),
    **{
        f"no cursor, {cursor}": (
            asking("GET", "/services", params={"cursor": cursor}), 400, "CURSOR_INVALID", "cursor")
        for cursor in ("x", "e30", "WyJhIiwx", "bnVsbA", "W1tbW1tb")
    },
    "a stale digest": (
        asking("POST", "/operations/OPERATION/approve", json={"digest": "0" * 64}), 412, "VOTE_STALE",
        "no plan 000000000000 waits"),
    "a stale ETag": (
        asking("POST", f"/services/{GATE}/labels", json={"set": {"a": "b"}}, headers={"If-Match": '"0"'}), 412,
        "CHANGED", "changed"),
    "a stale access document": (
        asking("POST", "/access", json={
            "source": "apiVersion: bondstone.dev/v1\nkind: Access\nspec:\n  grants:\n"
            "    - {subjects: [{user: x}], roles: [admin], scope: everything}\n", "expected": 700,
        }), 412, "CHANGED", "is in force now"),
    "the key of a token with another body": (
        token_request(json={"name": "x", "grants": GRANTS}, headers={"Idempotency-Key": "bad-token"}), 422,
        "KEY_REUSED", "'bad-token'"),
    "the key of a request with another body": (
        asking("POST", "/services", json={"promise": "patient", "service": GATE, "inputs": {"seconds": 1}},
               headers={"Idempotency-Key": "bad-gate"}), 422, "KEY_REUSED", "bad-gate"),
    "a name that is taken": (
        token_request(json={"name": "bad-first", "grants": GRANTS}), 409, "ALREADY_EXISTS", "bad-first"),
}  # fmt: skip
TABLE = {f"token {name}": row for name, row in TOKENS.items()} | REQUESTS


@pytest.mark.parametrize("case", TABLE)
def test_bad_input_is_refused_by_its_code_in_words_with_a_log_line_and_changes_nothing(scene, case):
    send, status, code, words = TABLE[case]
    before, logged = scene.everything(), len(scene.refusals())
    answer = send(scene)
    assert answer.headers["content-type"] == "application/problem+json", answer.text[:300]
    problem = answer.json()
    assert (answer.status_code, problem["code"], problem["status"]) == (status, code, status), problem
    messages = [problem["detail"], *(each["message"] for each in problem["problems"])]
    assert any(re.search(words, message) for message in messages), messages
    [line] = wait_until(lambda: scene.refusals()[logged:], "the line in the log")
    assert (line["code"], line["status"]) == (code, status)
    assert line["message"]
    assert scene.everything() == before


def test_a_good_token_of_the_issuer_is_taken(scene):
    answer = scene.client.get("/whoami", headers={"Authorization": f"Bearer {signed()}"})
    assert answer.json()["subject"] == "ci:deploy", answer.text


def test_a_cursor_of_the_list_is_taken(scene):
    assert by_cursor()(scene).status_code == 200
