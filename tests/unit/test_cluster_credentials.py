"""A client of a cluster reads its credentials anew when they have run out."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from bondstone.activities.clusters.api import ApiRefusal, Cluster


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
