"""What must be refused, each by a code of its own, in words, with a line in the log, and without a change."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any
from urllib.parse import urlsplit

import httpx2
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from jwt.algorithms import RSAAlgorithm

from bondstone.base.data_directory import LOCAL_TOKEN_FILE
from bondstone.base.issuer_settings import IssuerSettings
from bondstone.base.settings import Settings
from harness.light_api import Listed, a_service, serving

pytestmark = pytest.mark.integration

ISSUER = "https://ci.example.com"
ONCE = "https://once.example.com"
KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
STRANGER = rsa.generate_private_key(public_exponent=65537, key_size=2048)
HOUR = 3600


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    directory = tmp_path_factory.mktemp("bad-input")
    keys = directory / "keys.jwks"
    public = RSAAlgorithm.to_jwk(KEY.public_key(), as_dict=True)
    keys.write_text(json.dumps({"keys": [{**public, "kid": "one", "use": "sig"}]}))
    issuers = (
        IssuerSettings(issuer=ISSUER, audience=("bondstone",), keys_file=keys, subject_prefix="ci:"),
        IssuerSettings(issuer=ONCE, audience=("bondstone",), keys_file=keys, subject_prefix="once:", once=True),
    )
    listed = Listed([a_service(f"payments/s{number}", number=number) for number in range(3)])
    admins = ("user:ci:deploy", "user:once:deploy")
    with serving(directory / "data", listed, issuers=issuers, admins=admins) as settings:
        yield settings


@pytest.fixture
def client(api: Settings) -> Iterator[httpx2.Client]:
    with httpx2.Client(base_url=f"{api.api}/api/v1", trust_env=False, timeout=60) as one:
        yield one


def local(api: Settings) -> dict[str, str]:
    return {"Authorization": f"Bearer {(api.data / LOCAL_TOKEN_FILE).read_text().strip()}"}


def claims(**changed: Any) -> dict[str, Any]:
    now = int(datetime.now(UTC).timestamp())
    made = {"iss": ISSUER, "aud": "bondstone", "sub": "deploy", "iat": now, "exp": now + HOUR, **changed}
    return {name: value for name, value in made.items() if value is not None}


def signed(key: Any = KEY, *, kid: str = "one", algorithm: str = "RS256", **changed: Any) -> str:
    return jwt.encode(claims(**changed), key, algorithm, headers={"kid": kid})


def in_minutes(minutes: float) -> int:
    return int((datetime.now(UTC) + timedelta(minutes=minutes)).timestamp())


def kept(api: Settings) -> set[str]:
    """Every object of the platform but what notes the use of credentials."""
    return {
        str(path.relative_to(api.data)) for path in (api.data / "objects").rglob("*")
        if path.is_file() and "tokens/once" not in str(path)
    }  # fmt: skip


def check(answer: httpx2.Response, status: int, code: str) -> dict[str, Any]:
    assert answer.headers["content-type"] == "application/problem+json", answer.text[:300]
    problem: dict[str, Any] = answer.json()
    assert (answer.status_code, problem["code"]) == (status, code), problem
    assert len(problem["detail"]) > 10
    return problem


def logged(capture: pytest.CaptureFixture[str], code: str) -> bool:
    return f"code={code}" in capture.readouterr().out


PUBLIC_PEM = KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def forged_with_the_public_key() -> str:
    """HS256 with the issuer's public key as the secret, as a library that takes any algorithm would accept it."""
    import base64  # noqa: PLC0415 - only here, as the next
    import hashlib  # noqa: PLC0415
    import hmac  # noqa: PLC0415

    def part(data: bytes) -> str:
        return base64.urlsafe_b64encode(data).rstrip(b"=").decode()

    head = part(json.dumps({"alg": "HS256", "typ": "JWT", "kid": "one"}).encode())
    body = part(json.dumps(claims()).encode())
    return f"{head}.{body}.{part(hmac.digest(PUBLIC_PEM, f'{head}.{body}'.encode(), hashlib.sha256))}"


TOKENS = {
    "expired": (lambda: signed(iat=in_minutes(-90), exp=in_minutes(-30)), "TOKEN_EXPIRED"),
    "expired by a clock five minutes behind": (
        lambda: signed(iat=in_minutes(-65), exp=in_minutes(-5)), "TOKEN_EXPIRED"),
    "issued by a clock five minutes ahead": (
        lambda: signed(iat=in_minutes(5), exp=in_minutes(65)), "TOKEN_NOT_YET_VALID"),
    "not valid before five minutes from now": (lambda: signed(nbf=in_minutes(5)), "TOKEN_NOT_YET_VALID"),
    "of a foreign issuer": (lambda: signed(iss="https://elsewhere.example.com"), "TOKEN_FOREIGN"),
    "signed by a stranger": (lambda: signed(STRANGER), "TOKEN_FOREIGN"),
    "of a key that nobody knows": (lambda: signed(kid="two"), "TOKEN_FOREIGN"),
    "alg none": (lambda: signed("", algorithm="none"), "TOKEN_UNSIGNED"),
    "without its signature": (lambda: signed().rpartition(".")[0] + ".", "TOKEN_UNSIGNED"),
    "HS256 with the public key": (forged_with_the_public_key, "TOKEN_INVALID"),
    "for another application": (lambda: signed(aud="another"), "TOKEN_AUDIENCE"),
    "without an end": (lambda: signed(exp=None), "TOKEN_INVALID"),
    "that lasts for a month": (lambda: signed(exp=in_minutes(60 * 24 * 31)), "TOKEN_INVALID"),
    "of nobody": (lambda: signed(sub=""), "TOKEN_INVALID"),
    "no token": (lambda: "a.b.c", "TOKEN_INVALID"),
    "longer than any": (lambda: "a" * 20_000 + ".b.c", "TOKEN_INVALID"),
}  # fmt: skip


def test_a_good_token_of_the_issuer_is_taken(client):
    answer = client.get("/whoami", headers={"Authorization": f"Bearer {signed()}"})
    assert answer.json()["subject"] == "ci:deploy", answer.text


@pytest.mark.parametrize("case", TOKENS)
def test_a_token_that_must_not_count_is_refused_by_its_code(client, api, case, capsys):
    make, code = TOKENS[case]
    before = kept(api)
    answer = client.post("/access", json={"source": "x"}, headers={"Authorization": f"Bearer {make()}"})
    check(answer, 401, code)
    assert logged(capsys, code)
    assert kept(api) == before


def test_a_token_that_is_good_once_is_refused_the_second_time_and_changes_nothing(client, api, capsys):
    header = {"Authorization": f"Bearer {signed(iss=ONCE, jti='request-1')}"}
    body = {"name": "replayed", "grants": GRANTS}
    assert client.post("/tokens", json=body, headers=header).status_code == 201
    before = kept(api)
    check(client.post("/tokens", json={**body, "name": "again"}, headers=header), 401, "TOKEN_REPLAYED")
    assert logged(capsys, "TOKEN_REPLAYED")
    assert kept(api) == before


JSON = {"Content-Type": "application/json"}
GRANTS = [{"roles": ["viewer"], "scope": "everything"}]
REQUESTS: dict[str, tuple[Mapping[str, Any], int, str]] = {
    "malformed JSON": ({"content": b"{", "headers": JSON}, 400, "REQUEST_INVALID"),
    "JSON that is not UTF-8": ({"content": b'{"name": "\xff"}', "headers": JSON}, 400, "REQUEST_INVALID"),
    "JSON nested without end": ({"content": b"[" * 500_000, "headers": JSON}, 400, "REQUEST_INVALID"),
    "a list for an object": ({"json": []}, 422, "INVALID_INPUT"),
    "a wrong type": ({"json": {"name": 7, "grants": GRANTS}}, 422, "INVALID_INPUT"),
    "a number that is none": ({"content": b'{"name": "x", "days": NaN}', "headers": JSON}, 422, "INVALID_INPUT"),
    "an unknown field": ({"json": {"name": "x", "grants": GRANTS, "dayz": 1}}, 422, "INVALID_INPUT"),
    "an unknown role": ({"json": {"name": "x", "grants": [{"roles": ["boss"], "scope": "everything"}]}}, 422,
                        "INVALID_INPUT"),
    "a scope that is null": ({"json": {"name": "x", "grants": [{"roles": ["viewer"], "scope": None}]}}, 422,
                             "INVALID_INPUT"),
    "no scope": ({"json": {"name": "x", "grants": [{"roles": ["viewer"]}]}}, 422, "INVALID_INPUT"),
    "an unknown parameter": ({"json": {"name": "x", "grants": GRANTS}, "params": {"dry": "1"}}, 422,
                             "INVALID_INPUT"),
    "a body over the limit": ({"content": b'"' + b"x" * 2**20 + b'"', "headers": JSON}, 413, "BODY_TOO_LARGE"),
    "ten megabytes": ({"content": b"x" * 10_000_000, "headers": {"Content-Type": "application/gzip"}}, 413,
                      "BODY_TOO_LARGE"),
    "an address over the limit": ({"params": {"q": "x" * 9000}}, 414, "ADDRESS_TOO_LONG"),
    "another host": ({"headers": {"Host": "evil.example.com"}}, 421, "HOST_UNKNOWN"),
    "a page of another site": ({"headers": {"Origin": "https://evil.example.com"}}, 403, "ORIGIN_REFUSED"),
    "200 headers": ({"headers": {f"X-{number}": "x" for number in range(200)}}, 431, "HEADERS_TOO_LARGE"),
}  # fmt: skip


@pytest.mark.parametrize("case", REQUESTS)
def test_a_bad_request_is_refused_by_its_code_and_changes_nothing(client, api, case, capsys):
    request, status, code = REQUESTS[case]
    before = kept(api)
    answer = client.post("/tokens", **{**request, "headers": {**local(api), **request.get("headers", {})}})
    check(answer, status, code)
    assert logged(capsys, code)
    assert kept(api) == before


def test_ten_thousand_headers_are_refused_in_words_and_change_nothing(api, capsys):
    place = urlsplit(api.api)
    body = json.dumps({"name": "many-headers", "grants": GRANTS})
    needed = {"Host": place.netloc, **JSON, **local(api), "Content-Length": str(len(body))}
    names = [*needed.items(), *((f"X-{number}", "x") for number in range(10_000))]
    head = "".join(f"{name}: {value}\r\n" for name, value in names)
    before = kept(api)
    with socket.create_connection((place.hostname or "", place.port or 0), 30) as connection:
        connection.sendall(f"POST /api/v1/tokens HTTP/1.1\r\n{head}\r\n{body}".encode())
        connection.shutdown(socket.SHUT_WR)
        answer = b"".join(iter(partial(connection.recv, 65536), b"")).decode()
    assert answer.startswith("HTTP/1.1 431 "), answer[:200]
    assert "HEADERS_TOO_LARGE" in answer
    assert logged(capsys, "HEADERS_TOO_LARGE")
    assert kept(api) == before


@pytest.mark.parametrize(
    ("parameters", "changed"),
    [({"sort": "id"}, {"sort": "-id"}), ({"team": "payments"}, {"team": "shop"}), ({}, {"where": "name == 's1'"})],
)
def test_a_cursor_of_another_list_is_refused(client, api, parameters, changed, capsys):
    first = client.get("/services", params={**parameters, "limit": 1}, headers=local(api)).json()
    other = {**parameters, **changed, "limit": 1, "cursor": first["next"]}
    check(client.get("/services", params=other, headers=local(api)), 400, "CURSOR_INVALID")
    assert logged(capsys, "CURSOR_INVALID")


@pytest.mark.parametrize("cursor", ["x", "e30", "WyJhIiwx", "bnVsbA", "W1tbW1tb"])
def test_what_is_no_cursor_is_refused(client, api, cursor):
    check(client.get("/services", params={"cursor": cursor}, headers=local(api)), 400, "CURSOR_INVALID")


def test_the_same_name_of_a_token_is_refused_and_the_first_stays(client, api):
    body = {"name": "twice", "grants": GRANTS}
    made = client.post("/tokens", json=body, headers=local(api)).json()["token"]
    check(client.post("/tokens", json=body, headers=local(api)), 409, "ALREADY_EXISTS")
    assert client.get("/whoami", headers={"Authorization": f"Bearer {made}"}).status_code == 200
