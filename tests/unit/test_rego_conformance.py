"""OPA's own test cases: what the embedded engine takes, it decides as OPA does."""

from __future__ import annotations

import json
from collections import Counter

import pytest

from bondstone.rego.embedded import Embedded
from harness.pinned import TOOLS, ToolMissing
from tools.rego_conformance import SUPPORT, cases, judge


def test_no_case_of_opa_is_decided_wrongly_and_the_table_says_what_came_of_them() -> None:
    try:
        request = cases()
    except ToolMissing as error:
        pytest.skip(str(error))
    engine = Embedded()
    judged = [(case.note, *judge(engine, case)) for case in request]
    engine.close()
    assert [(note, words) for note, verdict, words in judged if verdict == "wrong"] == []
    recorded = json.loads(SUPPORT.read_text(encoding="utf-8"))
    assert dict(Counter(verdict for _, verdict, _ in judged)) == recorded["cases"]


def test_the_table_is_of_the_versions_that_are_in_use() -> None:
    recorded = json.loads(SUPPORT.read_text(encoding="utf-8"))
    assert (recorded["opa"], recorded["embedded"]) == (TOOLS["opa"].version, Embedded().version)
