"""States that people bring: what is none is refused, and so is what would take another one's place unasked."""

from __future__ import annotations

import json

import pytest

from bondstone.base.errors import InvalidInput, Refused
from bondstone.executors.state_file import ParsedState, check_successor, read_state_file


def state(serial: int = 3, lineage: str = "one", **fields: object) -> bytes:
    return json.dumps({"version": 4, "serial": serial, "lineage": lineage, "resources": [], **fields}).encode()


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (b"", "not JSON"),
        (b"\x00plan", "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b"[4]", "no `version`"),
        (b'{"format_version": "1.2"}', "no `version`"),
        (state(version=3), "format is 3"),
        (state(lineage=""), "no `lineage`"),
        (state(serial=-1), "no `serial`"),
        (b'{"version": 4, "lineage": "x", "serial": true}', "no `serial`"),
        (state(resources={}), "not a list"),
    ],
)
def test_what_is_no_state_is_refused_in_words(raw, words):
    with pytest.raises(InvalidInput, match=words):
        read_state_file(raw, where="terraform.tfstate")


def test_the_objects_of_a_state_are_called_as_terraform_calls_them():
    resources = [
        {"mode": "managed", "type": "disk", "name": "a", "instances": [{}]},
        {"mode": "managed", "module": "module.m", "type": "disk", "name": "b", "instances": [{"index_key": 0}]},
        {"mode": "managed", "type": "disk", "name": "c", "instances": [{"index_key": "x"}, {"index_key": "y"}]},
        {"mode": "data", "type": "disk", "name": "d", "instances": [{}]},
    ]
    addresses = read_state_file(state(resources=resources)).addresses
    assert addresses == ("disk.a", "module.m.disk.b[0]", 'disk.c["x"]', 'disk.c["y"]')


@pytest.mark.parametrize(
    ("serial", "lineage", "flags", "words"),
    [
        (4, "one", {}, ""),
        (3, "one", {}, "as old as"),
        (2, "one", {}, "older than"),
        (2, "one", {"force": True}, ""),
        (2, "one", {"force_lineage": True}, "older than"),
        (9, "two", {}, "lineage"),
        (9, "two", {"force": True}, "lineage"),
        (1, "two", {"force_lineage": True}, ""),
    ],
)
def test_a_state_takes_anothers_place_only_if_it_continues_it(serial, lineage, flags, words):
    new, current = read(serial, lineage), read(3, "one")
    check_successor(new, None)
    if not words:
        check_successor(new, current, **flags)
        return
    with pytest.raises(Refused, match=words):
        check_successor(new, current, **flags)


def read(serial: int, lineage: str) -> ParsedState:
    return read_state_file(state(serial, lineage))
