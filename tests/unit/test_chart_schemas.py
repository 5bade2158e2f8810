"""`bond promise init --from helm:`: charts whose `values.schema.json` is of another draft, or refers elsewhere."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from bondstone.activities.helm.scaffold import draft
from bondstone.base.errors import InvalidInput
from bondstone.executors.registry import load_executors
from bondstone.executors.scaffold import write_promise
from bondstone.promise.validation.before_publish import validate

ALERT = {"type": "object", "properties": {"enabled": {"type": "boolean"}}, "required": ["enabled"]}


def chart(folder: Path, schema: Any, values: str = "size: 2\n") -> Path:
    (folder / "templates").mkdir(parents=True)
    (folder / "Chart.yaml").write_text("{apiVersion: v2, name: shop, version: 1.0.0}")
    (folder / "values.yaml").write_text(values)
    text = schema if isinstance(schema, str) else json.dumps(schema)
    (folder / "values.schema.json").write_text(text)
    return folder


def of_size(size: Any, **rest: Any) -> dict[str, Any]:
    return {"type": "object", "properties": {"size": size}, **rest}


def test_definitions_of_a_chart_are_followed_where_its_defaults_are_checked(tmp_path: Path) -> None:
    alerts = {"type": "object", "properties": {"down": {"$ref": "#/definitions/alert"}}}
    schema = {
        "$schema": "https://json-schema.org/draft-07/schema#",
        "definitions": {"alert": ALERT},
        "properties": {"alerts": alerts, "bad": {"$ref": "#/definitions/alert"}},
    }
    made = draft(chart(tmp_path, schema, "alerts: {down: {enabled: true}}\nbad: {enabled: 7}\n"))
    assert made.inputs["properties"]["alerts"]["default"] == {"down": {"enabled": True}}
    assert "default" not in made.inputs["properties"]["bad"]
    assert made.untranslated == ["value bad: the chart's default does not fit the chart's own schema"]


UNUSUAL: list[tuple[str, Any, dict[str, Any], str]] = [
    ("remote reference", of_size({"$ref": "https://example.com/size.json"}), {"default": 2}, "outside the file"),
    ("relative file", of_size({"$ref": "size.json#/definitions/x"}), {"default": 2}, "outside the file"),
    ("dangling reference", of_size({"$ref": "#/definitions/none"}), {"default": 2}, "does not have"),
    ("dangling anchor", of_size({"$ref": "#none"}), {"default": 2}, "does not have"),
    (
        "place that is not kept",
        of_size({"$ref": "#/components/x"}, components={"x": {}}),
        {"default": 2},
        "does not",
    ),
    ("whole schema", of_size({"$ref": "#"}), {"default": 2}, "whole schema"),
    (
        "own identifier",
        of_size({"$ref": "https://a.b/c#/$defs/x"}, **{"$id": "https://a.b/c", "$defs": {"x": {"maximum": 3}}}),
        {"$ref": "#/$defs/x", "default": 2},
        "",
    ),
    ("identifier within", of_size({"$id": "https://a.b/d", "maximum": 3}), {"maximum": 3, "default": 2}, ""),
    (
        "draft 4 bounds",
        of_size({"id": "#size", "maximum": 3, "exclusiveMaximum": True, "minimum": 0, "exclusiveMinimum": False}),
        {"exclusiveMaximum": 3, "minimum": 0, "default": 2},
        "",
    ),
    (
        "items by place",
        of_size({"items": [{"type": "integer"}], "additionalItems": False}),
        {"prefixItems": [{"type": "integer"}], "items": False, "default": 2},
        "",
    ),
    ("draft 3 type", of_size({"type": "any"}), {"default": 2}, "means nothing in JSON Schema 2020-12"),
    ("pattern of another dialect", of_size({"pattern": "^(?!x)"}), {"default": 2}, "properties.size"),
    ("draft 3 required", of_size({"required": True}, required=True), {"default": 2}, ""),
    ("anything", of_size(True), {"default": 2}, ""),
    ("null for a schema", of_size(None), {"default": 2}, ""),
    ("properties that are none", {"properties": [], "required": "size", "definitions": 7}, {"default": 2}, ""),
    ("true", True, {"type": "integer", "default": 2}, ""),
    (
        "recursive",
        of_size(
            {"$ref": "#/$defs/a"},
            **{"$defs": {"a": {"type": ["integer", "array"], "items": {"$ref": "#/$defs/a"}}}},
        ),
        {"$ref": "#/$defs/a", "default": 2},
        "",
    ),
    (
        "definition that nothing can use",
        of_size({"$ref": "#/definitions/x"}, definitions={"x": {"type": "any"}}),
        {"$ref": "#/definitions/x", "default": 2},
        "definitions.x",
    ),
    ("required, and no property", of_size({}, required=["size", "name"]), {"default": 2}, "value name"),
]


@pytest.mark.parametrize(("schema", "size", "note"), [row[1:] for row in UNUSUAL], ids=[row[0] for row in UNUSUAL])
def test_an_unusual_schema_of_a_chart_becomes_a_valid_promise(
    tmp_path: Path, schema: Any, size: dict[str, Any], note: str
) -> None:
    made = draft(chart(tmp_path / "chart", schema))
    assert made.inputs["properties"]["size"] == size
    assert any(note in line for line in made.untranslated) is bool(note)
    write_promise(tmp_path / "promise", "shop", made)
    assert validate(tmp_path / "promise", load_executors()).problems == ()


def test_a_value_that_the_schema_forbids_is_no_input(tmp_path: Path) -> None:
    made = draft(chart(tmp_path, of_size(False, required=["name"]), ""))
    assert (made.inputs["properties"], len(made.untranslated)) == ({}, 2)


def test_a_value_that_nobody_needs_is_no_input_where_null_would_be_refused(tmp_path: Path) -> None:
    schema = of_size({}, required=["name"])
    schema["properties"] |= {"name": {"type": "string"}, "note": {"type": "string"}, "any": {}}
    made = draft(chart(tmp_path, schema))
    assert (list(made.inputs["properties"]), made.inputs["required"]) == (["size", "name", "any"], ["name"])
    assert made.untranslated == ["value note: the chart has no default for it, and its schema refuses null"]


def test_values_get_names_that_expressions_can_say(tmp_path: Path) -> None:
    values = "frr-k8s: {enabled: true}\n8080: x\na.b: 1\n"
    made = draft(
        chart(tmp_path, {"required": ["db-size"], "properties": {"db-size": {"type": "integer"}}}, values)
    )
    assert made.section["values"] == {"frr-k8s": "${inputs.frrK8s}", "db-size": "${inputs.dbSize}"}
    assert (list(made.inputs["properties"]), made.inputs["required"]) == (["frrK8s", "dbSize"], ["dbSize"])
    assert sum("no input can have this name" in line for line in made.untranslated) == 2


def test_a_value_of_the_charts_own_is_known_whatever_its_schema_calls_it(tmp_path: Path) -> None:
    schema = {"properties": {"fullNameOverride": {"type": "string"}}}
    made = draft(chart(tmp_path / "chart", schema, "fullnameOverride: ''\n"))
    write_promise(tmp_path / "promise", "shop", made)
    assert validate(tmp_path / "promise", load_executors()).problems == ()


@pytest.mark.parametrize("text", ["{", "[]", "7", "[" * 100_000])
def test_a_schema_that_is_none_is_refused_in_words(tmp_path: Path, text: str) -> None:
    with pytest.raises(InvalidInput, match=r"values\.schema\.json"):
        draft(chart(tmp_path, text))
