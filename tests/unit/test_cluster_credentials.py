"""A client of a cluster: its credentials are read anew when they have run out, its refusals are short."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import pytest

from bondstone.activities.clusters.api import Cluster
from bondstone.activities.clusters.refusals import ApiRefusal


class Issued(Cluster):
    """A cluster that takes each token once, and an issuer that has some."""

    def __init__(self, tokens: list[str], valid: set[str]) -> None:
        self.tokens = tokens
        self.valid = valid
        connection: Any = SimpleNamespace(name="default")
        super().__init__(connection, "bondstone")

    def _connect(self) -> None:
        self.token = self.tokens.pop(0)

    def _sent(self, *_: Any) -> tuple[int, bytes]:
        return (200, b'{"ok": 1}') if self.token in self.valid else (401, b"")


def test_a_token_that_runs_out_while_an_activity_lasts_is_replaced():
    cluster = Issued(["first", "second", "third"], {"first"})
    assert cluster.request("GET", "/version") == {"ok": 1}
    cluster.valid = {"second"}
    assert cluster.request("GET", "/version") == {"ok": 1}
    cluster.valid = set()
    with pytest.raises(ApiRefusal) as refusal:
        cluster.request("GET", "/version")
    assert (refusal.value.status, cluster.tokens) == (401, [])


def test_credentials_that_were_never_taken_are_refused_at_once():
    cluster = Issued(["first", "second"], set())
    with pytest.raises(ApiRefusal):
        cluster.request("GET", "/version")
    assert cluster.tokens == ["second"]


BODY = json.dumps({"spec": {"containers": [{"name": "x" * 5000}]}})
NESTED = json.dumps({"note": f"Invalid value: {BODY}"})
MAP = f'"map[spec:map[extra:{"x" * 900}]]"'


class Refusing(Issued):
    """A cluster that refuses everything for one reason."""

    def __init__(self, message: str) -> None:
        super().__init__(["only"], {"only"})
        cause = {"field": "spec", "message": message}
        self.answer = json.dumps({"message": message, "details": {"causes": [cause]}}).encode()

    def _sent(self, *_: Any) -> tuple[int, bytes]:
        return 422, self.answer


@pytest.mark.parametrize(
    ("message", "shown"),
    [
        (f"a: Invalid value: {BODY}: field is immutable", "a: Invalid value: {…}: field is immutable"),
        (f'a: Invalid value: {MAP}: unknown field "b"', 'a: Invalid value: {…}: unknown field "b"'),
        (f"Invalid value: {BODY}: a; Invalid value: {NESTED}: b", "Invalid value: {…}: a; Invalid value: {…}: b"),
        *((text, text) for text in ('Invalid value: {"app":"other"}: no', "Invalid value: {not JSON}: no")),
    ],
)
def test_a_refusal_has_the_reason_without_the_object(message, shown):
    with pytest.raises(ApiRefusal) as refusal:
        Refusing(message).request("PATCH", "/x")
    assert refusal.value.message == f"the API server refused (422): {shown}"
    assert refusal.value.causes[0]["message"] == shown
