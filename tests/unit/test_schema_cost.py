"""A schema cannot keep a process busy or end it: what would is refused before any validator is made of it."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from promise_samples import EXECUTORS

from bondstone.base.errors import BondError, InputsInvalid, PromiseInvalid
from bondstone.promise.inputs import complete_inputs
from bondstone.promise.load import parse_promise
from bondstone.promise.schema_cost import MAX_PARTS_DEEP, check_evaluations, check_ways
from bondstone.promise.validation.before_publish import validate


def chain(word: str, length: int, **more: Any) -> dict[str, Any]:
    """A schema whose parts refer twice each to the next one."""
    defs: dict[str, Any] = {
        f"d{n}": {word: [{"$ref": f"#/$defs/d{n + 1}"}, {"$ref": f"#/$defs/d{n + 1}"}], **more}
        for n in range(length)
    }
    defs[f"d{length}"] = {"type": "string"}
    return {"type": "object", "properties": {"x": {"$ref": "#/$defs/d0"}}, "$defs": defs}


def itself(*words: str) -> dict[str, Any]:
    """A schema that refers to itself several times over, each time deeper in the value."""
    part = {"type": "object", "properties": {"x": {"$ref": "#/$defs/a"}}}
    choices = [{**part, "required": [word]} for word in words]
    return {"type": "object", "properties": {"x": {"$ref": "#/$defs/a"}}, "$defs": {"a": {"anyOf": choices}}}


def nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = {"x": value}
    return value


def manifest(inputs: dict[str, Any]) -> str:
    whole = {
        "apiVersion": "bondstone.dev/v1",
        "kind": "Promise",
        "metadata": {"name": "costly", "version": "1.0.0"},
        "spec": {"inputs": inputs, "steps": [{"id": "one", "terraform": {"module": "m"}}]},
    }
    return json.dumps(whole)


SELF = {"$ref": "#/$defs/a", "$defs": {"a": {"allOf": [{"$ref": "#/$defs/b"}]}, "b": {"$ref": "#/$defs/a"}}}
LONG = {f"d{n}": {"$ref": f"#/$defs/d{n + 1}"} for n in range(MAX_PARTS_DEEP + 5)}


@pytest.mark.parametrize(
    ("schema", "words"),
    [
        (chain("anyOf", 20), "too many ways"),
        (chain("allOf", 20), "too many ways"),
        (chain("oneOf", 25), "too many ways"),
        (chain("anyOf", 8, unevaluatedProperties=False), "too many ways"),
        ({"type": "object", **SELF}, "refers to itself"),
        ({"type": "object", "not": {"$ref": "#"}}, "refers to itself"),
        ({"type": "object", "properties": {"x": {"$ref": "#/$defs/d0"}}, "$defs": LONG}, "inside one another"),
    ],
)
def test_a_schema_that_no_validator_should_be_made_of_is_not_published(
    schema: dict[str, Any], words: str, tmp_path: Path
) -> None:
    with pytest.raises(PromiseInvalid, match=words):
        check_ways(schema)
    (tmp_path / "promise.yaml").write_text(manifest(schema), encoding="utf-8")
    started = time.monotonic()
    messages = [problem.message for problem in validate(tmp_path, EXECUTORS).problems]
    assert any(words in message for message in messages), messages
    with pytest.raises(BondError):
        complete_inputs(parse_promise(manifest(schema).encode()), {"x": "y"})
    assert time.monotonic() - started < 60


def test_a_value_that_would_take_minutes_is_refused_at_once() -> None:
    promise = parse_promise(manifest(itself("y", "z")).encode())
    started = time.monotonic()
    with pytest.raises(InputsInvalid, match="too long"):
        complete_inputs(promise, nested(28))
    assert time.monotonic() - started < 60


@pytest.mark.parametrize("depth", [1, 5, 9])
def test_a_schema_that_refers_to_itself_is_fine_where_the_value_is_shallow(depth: int) -> None:
    check_evaluations(itself("x", "y"), nested(depth))


def test_large_inputs_of_plain_schemas_are_fine() -> None:
    rule = {"type": "object", "properties": {"port": {"type": "integer"}, "name": {"type": "string"}}}
    schema = {"type": "object", "properties": {"rules": {"type": "array", "items": rule}, "tags": {"items": {}}}}
    promise = parse_promise(manifest(schema).encode())
    rules = [{"port": n, "name": f"r{n}"} for n in range(3000)]
    assert len(complete_inputs(promise, {"rules": rules, "tags": list(range(20_000))})["rules"]) == 3000


def test_many_wrong_inputs_are_told_up_to_a_bound() -> None:
    schema = {"type": "object", "properties": {"tags": {"type": "array", "items": {"type": "string"}}}}
    with pytest.raises(InputsInvalid) as caught:
        complete_inputs(parse_promise(manifest(schema).encode()), {"tags": list(range(5000))})
    assert len(caught.value.problems) == 100


def test_the_validator_itself_does_take_that_long() -> None:
    # If this ends, the library has got a bound of its own, and ours may go.
    script = (
        "import json, sys, jsonschema_rs as j; s, v = json.load(sys.stdin); j.Draft202012Validator(s).evaluate(v)"
    )
    inputs = json.dumps([itself("y", "z"), nested(28)])
    with pytest.raises(subprocess.TimeoutExpired):
        subprocess.run([sys.executable, "-c", script], input=inputs, text=True, timeout=3, check=False)
