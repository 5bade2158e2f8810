"""Forms of promises, as the form library and Backstage's server check them: both agree with the platform."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import jsonschema_rs
import pytest

from bondstone.backstage.form_schema import form_of
from bondstone.promise.load import load_promise
from bondstone.promise.schema import validator
from bondstone.promise.validation.schema import FORMATS
from harness.servers.backstage.packages import INSTALLED, NODE

PROMISES = Path(__file__).parents[2] / "promises"
SHIPPED = ("sqlite-database", "static-site", "web-app", "queue", "fraud-detection")

if not NODE.exists():
    pytest.skip("Backstage's packages are not installed: `make backstage-packages`", allow_module_level=True)


def verdicts(cases: list[tuple[dict, object]]) -> list[dict[str, bool]]:
    questions = json.dumps([{"schema": schema, "value": value} for schema, value in cases])
    command = [str(NODE), str(INSTALLED / "validators.js")]
    ran = subprocess.run(command, input=questions, capture_output=True, text=True, timeout=120, check=False)
    assert ran.returncode == 0, ran.stderr
    return json.loads(ran.stdout)


CASES = [
    ({"properties": {"size": {"const": 3}}}, {"size": 3}, {"size": 4}),
    (
        {"properties": {"size": {"$ref": "#/$defs/s"}}, "$defs": {"s": {"enum": ["a"]}}},
        {"size": "a"},
        {"size": "b"},
    ),
    ({"properties": {"a": {}, "b": {}}, "dependentRequired": {"a": ["b"]}}, {"a": 1, "b": 2}, {"a": 1}),
    (
        {"properties": {"a": {}}, "dependentSchemas": {"a": {"required": ["b"]}}},
        {"a": 1, "b": 1},
        {"a": 1},
    ),
    (
        {"properties": {"pair": {"prefixItems": [{"type": "string"}], "items": False}}},
        {"pair": ["x"]},
        {"pair": [1]},
    ),
    ({"properties": {"pair": {"prefixItems": [{}], "items": False}}}, {"pair": ["x"]}, {"pair": ["x", "y"]}),
    ({"properties": {"n": {"type": "integer", "exclusiveMinimum": 2}}}, {"n": 3}, {"n": 2}),
    ({"properties": {"n": {"multipleOf": 5}}}, {"n": 10}, {"n": 11}),
    ({"properties": {"t": {"type": "string", "pattern": "^a+$", "maxLength": 3}}}, {"t": "aa"}, {"t": "aaaa"}),
    ({"properties": {"l": {"items": {"type": "object", "required": ["x"]}}}}, {"l": [{"x": 1}]}, {"l": [{}]}),
    ({"properties": {"u": {"uniqueItems": True, "type": "array"}}}, {"u": [1, 2]}, {"u": [1, 1]}),
    ({"properties": {"o": {"anyOf": [{"type": "string"}, {"minimum": 5}]}}}, {"o": 6}, {"o": 4}),
    ({"properties": {"known": {}}, "additionalProperties": False}, {"known": 1}, {"other": 1}),
    ({"required": ["name"], "properties": {"name": {"type": "string"}}}, {"name": "x"}, {}),
]


def test_what_is_translated_is_checked_by_both_as_the_platform_checks_it():
    examples = []
    for schema, good, bad in CASES:
        assert jsonschema_rs.validator_for(schema).is_valid(good)
        assert not jsonschema_rs.validator_for(schema).is_valid(bad)
        form = form_of(schema)
        assert form.dropped == ()
        examples += [(form.inputs, good), (form.inputs, bad)]
    expected = [{"form": True, "server": True}, {"form": False, "server": False}] * len(CASES)
    answers = verdicts(examples)
    wrong = [
        (case, verdict)
        for case, verdict, right in zip(examples, answers, expected, strict=True)
        if verdict != right
    ]
    assert wrong == []


FORMATS_WITH_A_VALUE = {
    "date": "2024-02-29",
    "date-time": "2024-02-29T10:00:00.5+02:00",
    "duration": "PT5M",
    "email": "ada@example.com",
    "hostname": "db.example.com",
    "idn-email": "ü@bücher.example",
    "idn-hostname": "bücher.example",
    "ipv4": "10.0.0.1",
    "ipv6": "fe80::1",
    "iri": "https://bücher.example/ü",
    "iri-reference": "/ü",
    "json-pointer": "/a/b~0",
    "regex": "^a+$",
    "relative-json-pointer": "1/a",
    "time": "10:00:00+02:00",
    "uri": "https://example.com/x",
    "uri-reference": "/x#y",
    "uri-template": "https://example.com/{id}",
    "uuid": "123e4567-e89b-12d3-a456-426614174000",
}


def test_no_format_of_a_promise_refuses_what_the_platform_takes():
    assert set(FORMATS_WITH_A_VALUE) == FORMATS
    cases = []
    for name, value in FORMATS_WITH_A_VALUE.items():
        schema = {"properties": {"text": {"type": "string", "format": name}}}
        assert validator(schema).is_valid({"text": value}), name
        cases.append((form_of(schema).inputs, {"text": value}))
    answers = dict(zip(FORMATS_WITH_A_VALUE, verdicts(cases), strict=True))
    assert {name for name, verdict in answers.items() if not (verdict["form"] and verdict["server"])} == set()


def test_no_pattern_that_is_kept_breaks_a_form():
    """The server throws at a pattern that JavaScript does not compile, and `\\A` means the letter to it."""
    values = {"(?i)abc": "ABC", r"\Aabc\z": "abc", "a++b": "aab", r"^\p{L}{2}$": "äö"}
    values |= {r"^a\-b\@c$": "a-b@c", r"^\p{Greek}$": "\u03b1", "^*a": "a"}
    cases = []
    for pattern, value in values.items():
        schema = {"properties": {"text": {"type": "string", "pattern": pattern}}}
        assert validator(schema).is_valid({"text": value}), pattern
        cases.append((form_of(schema).inputs, {"text": value}))
    assert verdicts(cases) == [{"form": True, "server": True}] * len(values)


def test_what_the_server_would_ignore_is_why_it_is_translated():
    """The newer keywords as they are: the server's check takes values that the platform refuses."""
    schema = {"properties": {"a": {}, "b": {}}, "dependentRequired": {"a": ["b"]}}
    assert verdicts([(schema, {"a": 1})])[0]["server"]


@pytest.mark.parametrize("name", SHIPPED)
def test_the_forms_of_shipped_promises_take_their_own_defaults(name):
    schema = load_promise(PROMISES / name).spec.inputs
    form = form_of(schema)
    properties = form.inputs.get("properties", {})
    defaults = {key: each["default"] for key, each in properties.items() if "default" in each}
    missing = [key for key in form.inputs.get("required", ()) if key not in defaults]
    loose = {**form.inputs, "required": [key for key in form.inputs.get("required", ()) if key not in missing]}
    assert verdicts([(loose, defaults)]) == [{"form": True, "server": True}]
