"""What is said of a state that the platform does not keep: where it is, and how to get at it there."""

from __future__ import annotations

import json

import pytest

from bondstone.base.errors import Refused
from bondstone.client.direct.states import by_step, refuse_own
from bondstone.promise.load import parse_promise

MANIFEST = b"""
apiVersion: bondstone.dev/v1
kind: Promise
metadata: {name: db, version: 1.0.0}
spec:
  steps:
    - {id: away, terraform: {module: m, backend: own, backend_config: {path: "/x/${service.name}"}}}
    - {id: here, terraform: {module: m}}
"""
STATE = json.dumps({"version": 4, "serial": 1, "lineage": "one", "resources": []}).encode()


def test_a_state_that_is_elsewhere_is_not_pushed_pulled_or_adopted() -> None:
    promise = parse_promise(MANIFEST)
    refuse_own(promise, "here")
    refuse_own(promise, "a hook of an older revision")
    with pytest.raises(Refused, match="kept by the module's own backend") as caught:
        refuse_own(promise, "away")
    assert "terraform state pull" in caught.value.hint
    assert set(by_step(promise, {"here": STATE})) == {"here"}
    with pytest.raises(Refused, match="own backend"):
        by_step(promise, {"away": STATE})
