"""No `writeOnly` is missed, wherever it stands in a schema: its values are taken out, or publishing is refused."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from promise_samples import EXECUTORS

from bondstone.base.settings import Settings
from bondstone.client.direct.campaigns.secret_inputs import secret_inputs
from bondstone.model.promise import Promise
from bondstone.promise.bundle import pack
from bondstone.promise.inputs import complete_inputs, split_secrets
from bondstone.promise.load import parse_promise
from bondstone.promise.schema import MAX_FIELDS, count_fields, secret_paths, uncovered_secrets
from bondstone.promise.validation.before_publish import validate
from bondstone.store import Store

CANARY = "canary-81f2"
HIDDEN = {"type": "string", "writeOnly": True}
HOLDER = {"type": "object", "properties": {"password": HIDDEN}}
NODE = {
    "type": "object",
    "properties": {"password": HIDDEN, "left": {"$ref": "#/$defs/node"}, "right": {"$ref": "#/$defs/node"}},
}


def manifest(inputs: Mapping[str, Any]) -> str:
    whole = {
        "apiVersion": "bondstone.dev/v1",
        "kind": "Promise",
        "metadata": {"name": "hidden", "version": "1.0.0"},
        "spec": {"inputs": {"type": "object", **inputs}, "steps": [{"id": "one", "terraform": {"module": "m"}}]},
    }
    return json.dumps(whole)


def promise(inputs: Mapping[str, Any]) -> Promise:
    return parse_promise(manifest(inputs).encode())


def problems_of(inputs: Mapping[str, Any], folder: Path) -> list[str]:
    """What is said when the promise is published."""
    (folder / "promise.yaml").write_text(manifest(inputs), encoding="utf-8")
    return [problem.message for problem in validate(folder, EXECUTORS).problems]


def below(schema: Mapping[str, Any], **more: Any) -> dict[str, Any]:
    """Inputs with one property `x` of that schema."""
    return {"properties": {"x": schema}, **more}


def nested(depth: int, leaf: Any, name: str = "a") -> Any:
    for _ in range(depth):
        leaf = {name: leaf}
    return leaf


def nested_schema(depth: int, leaf: Mapping[str, Any]) -> Mapping[str, Any]:
    for _ in range(depth):
        leaf = {"type": "object", "properties": {"a": leaf}}
    return leaf


COVERED: dict[str, tuple[dict[str, Any], Any]] = {
    "property": (below(HIDDEN), {"x": CANARY}),
    "object": (below(HOLDER), {"x": {"password": CANARY}}),
    "$ref": (below({"$ref": "#/$defs/s"}, **{"$defs": {"s": HIDDEN}}), {"x": CANARY}),
    "$ref beside properties": (
        below({"$ref": "#/$defs/s", "properties": {"y": {}}}, **{"$defs": {"s": HOLDER}}),
        {"x": {"password": CANARY}},
    ),
    "$ref with an escaped name": (
        below({"$ref": "#/$defs/a~1b%20c"}, **{"$defs": {"a/b c": HIDDEN}}),
        {"x": CANARY},
    ),
    "$anchor": (below({"$ref": "#s"}, **{"$defs": {"s": {**HIDDEN, "$anchor": "s"}}}), {"x": CANARY}),
    "$dynamicRef": (
        below({"$dynamicRef": "#s"}, **{"$defs": {"s": {**HOLDER, "$dynamicAnchor": "s"}}}),
        {"x": {"password": CANARY}},
    ),
    "$ref to the root": (
        {"properties": {"password": HIDDEN, "next": {"$ref": "#"}}},
        nested(5, {"password": CANARY}, "next"),
    ),
    "two definitions of one property": (
        {"properties": {"x": {"properties": {"y": {}}}}, "allOf": [below(HOLDER)]},
        {"x": {"password": CANARY}},
    ),
    "allOf": ({"allOf": [below(HIDDEN)]}, {"x": CANARY}),
    "anyOf": (below({"anyOf": [{"type": "integer"}, HIDDEN]}), {"x": CANARY}),
    "oneOf": (below({"oneOf": [{"type": "integer"}, HOLDER]}), {"x": {"password": CANARY}}),
    "if": ({"if": below(HIDDEN)}, {"x": CANARY}),
    "then": ({"if": {"required": ["y"]}, "then": below(HIDDEN)}, {"x": CANARY, "y": 1}),
    "else": ({"if": {"required": ["y"]}, "else": below(HOLDER)}, {"x": {"password": CANARY}}),
    "dependentSchemas": ({"dependentSchemas": {"y": below(HIDDEN)}}, {"x": CANARY, "y": 1}),
    "dependentSchemas inside": (below({"dependentSchemas": {"y": HOLDER}}), {"x": {"y": 1, "password": CANARY}}),
    "items": (below({"type": "array", "items": HOLDER}), {"x": [{"password": CANARY}]}),
    "items of items": (below({"items": {"items": HIDDEN}}), {"x": [[CANARY]]}),
    "prefixItems": (below({"prefixItems": [{}, HIDDEN]}), {"x": [1, CANARY]}),
    "contains": (below({"contains": HIDDEN}), {"x": [CANARY]}),
    "unevaluatedItems": (below({"prefixItems": [{}], "unevaluatedItems": HIDDEN}), {"x": [1, CANARY]}),
    "unevaluatedProperties": (below({"unevaluatedProperties": HIDDEN}), {"x": {"any": CANARY}}),
    "additionalProperties": (below({"additionalProperties": HOLDER}), {"x": {"any": {"password": CANARY}}}),
    "patternProperties": (below({"patternProperties": {"^p": HIDDEN}}), {"x": {"pa": CANARY}}),
    "propertyNames": (below({"propertyNames": HIDDEN}), {"x": {CANARY: 1}}),
    "contentSchema": (
        below({"type": "string", "contentMediaType": "application/json", "contentSchema": HOLDER}),
        {"x": json.dumps({"password": CANARY})},
    ),
    "not": (below({"not": {"type": "integer", "writeOnly": True}}), {"x": CANARY}),
    "deep": (below(nested_schema(11, HIDDEN)), {"x": nested(11, CANARY)}),
    "deeper than fields are counted": (below(nested_schema(15, HIDDEN)), {"x": nested(15, CANARY)}),
    "a list deep inside": (below(nested_schema(9, {"items": HOLDER})), {"x": nested(9, [{"password": CANARY}])}),
    "a schema of itself": (
        below({"$ref": "#/$defs/node"}, **{"$defs": {"node": {**NODE, "properties": {
            "password": HIDDEN, "left": {"$ref": "#/$defs/node"}}}}}),
        {"x": nested(20, {"password": CANARY}, "left")},
    ),
    "a property called writeOnly": (
        {"properties": {"writeOnly": {"type": "string"}, "x": HIDDEN}},
        {"writeOnly": "plain", "x": CANARY},
    ),
}  # fmt: skip

REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "additionalProperties of the inputs": ({"additionalProperties": HIDDEN}, "additionalProperties"),
    "patternProperties of the inputs": ({"patternProperties": {"x": HOLDER}}, "patternProperties.x"),
    "unevaluatedProperties of the inputs": ({"unevaluatedProperties": HIDDEN}, "unevaluatedProperties"),
    "not of the inputs": ({"not": below(HIDDEN)}, "not"),
    "the inputs as a whole, over allOf": ({"allOf": [{"writeOnly": True}]}, "allOf.0"),
    "a definition that nothing uses": ({"$defs": {"s": HIDDEN}}, "$defs.s"),
    "a keyword that does not exist": (below({"definitionz": {"s": HIDDEN}}), "properties.x.definitionz.s"),
    "a keyword that is misspelt": (below({"itemz": HIDDEN}), "properties.x.itemz"),
    "the same definition, once named and once not": (
        {**below({"$ref": "#/$defs/s"}), "additionalProperties": {"$ref": "#/$defs/s"}, "$defs": {"s": HIDDEN}},
        "additionalProperties",
    ),
}


@pytest.mark.parametrize("kind", COVERED)
def test_a_secret_is_taken_out_wherever_the_schema_says_so(kind: str) -> None:
    schema, inputs = COVERED[kind]
    result = promise(schema)
    assert uncovered_secrets(result.spec.inputs) == []
    public, values = split_secrets(result, complete_inputs(result, inputs))
    assert CANARY not in json.dumps(public)
    assert CANARY in json.dumps(values)


@pytest.mark.parametrize("kind", REFUSED)
def test_a_secret_that_no_declared_input_covers_is_refused(kind: str, tmp_path: Path) -> None:
    schema, place = REFUSED[kind]
    assert place in [".".join(map(str, entry)) for entry in uncovered_secrets(schema)]
    messages = problems_of(schema, tmp_path)
    assert any("kept in plain" in message or "means nothing" in message for message in messages), messages


@pytest.mark.parametrize(
    "value",
    [{"$id": "https://x/y", "properties": {"p": HIDDEN}}, {"$dynamicRef": "other.json#s"}],
)
def test_what_gives_references_another_meaning_is_refused(value: dict[str, Any], tmp_path: Path) -> None:
    messages = problems_of(below(value), tmp_path)
    assert any("reference" in message for message in messages), messages


@pytest.mark.parametrize(
    "schema",
    [
        below({**HOLDER, "default": {"password": CANARY}}),
        below({"type": "array", "items": {**HOLDER, "properties": {"password": {**HIDDEN, "default": CANARY}}}}),
        below({**HIDDEN, "default": CANARY}),
    ],
)
def test_a_default_never_holds_a_secret(schema: dict[str, Any], tmp_path: Path) -> None:
    problems = problems_of(schema, tmp_path)
    assert any("default" in problem for problem in problems)
    assert CANARY not in str(problems)


def test_a_schema_that_refers_to_itself_over_and_over_is_bounded() -> None:
    schema = below({"$ref": "#/$defs/node"}, **{"$defs": {"node": NODE}})
    assert count_fields(schema) >= MAX_FIELDS
    result = promise(schema)
    public, values = split_secrets(result, {"x": nested(18, {"password": CANARY}, "right")})
    assert CANARY not in json.dumps(public)
    assert CANARY in json.dumps(values)


WORDS = st.sampled_from(
    ["allOf", "anyOf", "items", "prefixItems", "additionalProperties", "dependentSchemas", "not"]
)


def wrapped(word: str, inner: dict[str, Any]) -> dict[str, Any]:
    if word in {"allOf", "anyOf", "prefixItems"}:
        return {word: [inner]}
    return {word: {"k": inner}} if word == "dependentSchemas" else {word: inner}


@settings(max_examples=60, deadline=None)
@given(st.lists(WORDS | st.just("properties"), min_size=1, max_size=16))
def test_a_secret_below_any_chain_of_keywords_makes_the_input_secret(chain: list[str]) -> None:
    schema: dict[str, Any] = dict(HIDDEN)
    for word in chain:
        schema = {"properties": {"p": schema}} if word == "properties" else wrapped(word, schema)
    result = promise(below(schema))
    assert uncovered_secrets(result.spec.inputs) == []
    assert any(path == "x" or path.startswith("x.") for path in secret_paths(result))


async def test_campaigns_and_schedules_are_told_which_of_their_inputs_are_secrets(tmp_path: Path) -> None:
    folder = tmp_path / "hidden"
    folder.mkdir()
    inputs = {"properties": {"token": HIDDEN, "admin": HOLDER, "size": {"type": "integer"}}}
    (folder / "promise.yaml").write_text(manifest(inputs), encoding="utf-8")
    store = await Store.open(Settings(data=tmp_path / "data"), create_keys=True)
    await store.revisions.publish(pack(folder), promise(inputs))
    values = {"token": CANARY, "admin": {"password": CANARY}, "size": 1}
    flaws = await secret_inputs(store, "hidden", values)
    assert [flaw.message.partition(" is a secret")[0] for flaw in flaws] == ["admin.password", "token"]
    assert CANARY not in repr(flaws)
    assert await secret_inputs(store, "hidden", {"size": 1}) == []
