"""Request forms drawn from JSON Schemas, with what the choices in them ask for."""

import re

import jsonschema_rs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bondstone.base.errors import InputsInvalid
from bondstone.console.conditions import deciding, effective
from bondstone.console.forms import drawn, fields, typed, unseen
from bondstone.console.rendering import environment

IF = {
    "type": "object",
    "properties": {"exposed": {"type": "boolean", "default": False}, "size": {"enum": ["small", "large"]}},
    "required": ["size"],
    "if": {"properties": {"exposed": {"const": True}}, "required": ["exposed"]},
    "then": {
        "properties": {"host": {"type": "string"}, "size": {"const": "large"}},
        "required": ["host"],
        "if": {"properties": {"size": {"const": "large"}}},
        "then": {"properties": {"replicas": {"type": "integer"}}},
    },
    "else": {"properties": {"note": {"type": "string"}}},
    "unevaluatedProperties": False,
}
DEPENDENT = {
    "properties": {
        "user": {"type": "string"},
        "password": {"type": "string", "writeOnly": True},
        "a": {},
        "b": {},
    },
    "dependentRequired": {"user": ["password"]},
    "dependentSchemas": {"a": {"properties": {"c": {"type": "string"}}}},
}
ONE_OF = {
    "$defs": {"hot": {"required": ["lag"], "properties": {
        "kind": {"const": "hot", "title": "Kind of copy"}, "lag": {"type": "integer"},
    }}},
    "properties": {"name": {"type": "string"}},
    "oneOf": [
        {"$ref": "#/$defs/hot"},
        {"properties": {"kind": {"const": "cold"}, "bucket": {"type": "string"}}, "required": ["bucket"]},
    ],
}  # fmt: skip
NESTED = {
    "properties": {"copy": {"type": "object", **ONE_OF}, "all": {"type": "string"}},
    "$defs": ONE_OF["$defs"],
}


def names(schema: dict, form: dict[str, str]) -> dict[str, bool]:
    """The paths of a form's fields, and whether each is needed."""
    return {field.path: field.required for field in drawn(schema, form)}


@pytest.mark.parametrize(
    ("schema", "form", "needed"),
    [
        (IF, {}, {"exposed": False, "size": True, "note": False}),
        (IF, {"input.exposed": "false"}, {"exposed": False, "size": True, "note": False}),
        (IF, {"input.exposed": "true"}, {"exposed": False, "size": True, "host": True, "replicas": False}),
        (IF, {"input.exposed": "nonsense"}, {"exposed": False, "size": True, "note": False}),
        (DEPENDENT, {}, {"user": False, "password": False, "a": False, "b": False}),
        (DEPENDENT, {"input.user": "ada"}, {"user": False, "password": True, "a": False, "b": False}),
        (DEPENDENT, {"input.a": "1"}, {"user": False, "password": False, "a": False, "b": False, "c": False}),
        (ONE_OF, {}, {"name": False, "kind": True}),
        (ONE_OF, {"input.kind": '"hot"'}, {"name": False, "kind": True, "lag": True}),
        (ONE_OF, {"input.kind": '"cold"'}, {"name": False, "kind": True, "bucket": True}),
        (NESTED, {"input.copy.kind": '"cold"'},
         {"copy.name": False, "copy.kind": True, "copy.bucket": True, "all": False}),
    ],
)  # fmt: skip
def test_a_form_asks_for_what_its_choices_need(schema, form, needed):
    assert names(schema, form) == needed


def test_the_field_that_decides_is_marked_and_offers_every_choice():
    by_path = {field.path: field for field in drawn(ONE_OF, {"input.kind": '"hot"'})}
    assert [path for path, field in by_path.items() if field.decides] == ["kind"]
    assert by_path["kind"].options == (('"hot"', "hot"), ('"cold"', "cold"))
    assert (by_path["kind"].title, by_path["kind"].value) == ("Kind of copy", '"hot"')
    assert deciding(IF, IF) == {"exposed", "size"}
    assert deciding(DEPENDENT, DEPENDENT) == {"user", "a"}
    only = next(field for field in drawn(IF, {"input.exposed": "true"}) if field.path == "size")
    assert only.options == (('"large"', "large"),)


def test_what_was_not_in_the_form_is_named_once_a_choice_asks_for_it():
    sent = {"input.exposed": "true", "input.size": '"large"', "input.note": "x"}
    assert unseen(drawn(IF, sent), sent) == ["host", "replicas"]
    sent |= {"input.host": "a.example", "input.replicas": ""}
    assert unseen(drawn(IF, sent), sent) == []
    plain = {"properties": {"a": {"type": "string"}}}
    assert unseen(drawn(plain, {}), {}) == []


def test_inputs_are_those_of_the_choices_and_not_what_was_typed_before_them():
    sent = {"input.kind": '"cold"', "input.bucket": "b", "input.lag": "3"}
    assert typed(ONE_OF, sent) == {"kind": "cold", "bucket": "b"}
    assert typed(IF, {"input.exposed": "true", "input.replicas": "3", "input.note": "x"}) == {
        "exposed": True, "replicas": 3,
    }  # fmt: skip
    with pytest.raises(InputsInvalid, match="cannot be read"):
        typed(ONE_OF, {"input.kind": '"hot"', "input.lag": "many"})


def test_a_secret_is_never_drawn_with_its_value():
    secret = next(
        field for field in drawn(DEPENDENT, {"input.password": "canary-of-twelve"}) if field.path == "password"
    )
    assert (secret.widget, secret.value) == ("secret", "")
    assert all(
        field.value == "" for field in fields(DEPENDENT, {"password": "canary"}) if field.widget == "secret"
    )


def test_a_property_that_a_branch_forbids_has_no_field():
    schema = {
        "properties": {"a": {"enum": [1, 2]}, "b": {"type": "string"}},
        "if": {"properties": {"a": {"const": 1}}, "required": ["a"]},
        "then": {"properties": {"b": False}},
    }
    assert names(schema, {"input.a": "1"}) == {"a": False}
    assert names(schema, {"input.a": "2"}) == {"a": False, "b": False}


@given(
    exposed=st.sampled_from(["", "true", "false"]),
    size=st.sampled_from(['"small"', '"large"']),
    host=st.text(max_size=5),
)
def test_what_a_filled_in_form_gives_fits_the_schema(exposed, size, host):
    form = {"input.exposed": exposed, "input.size": size, "input.host": f"h{host}", "input.replicas": "2"}
    if exposed == "true":
        form["input.size"] = '"large"'
    inputs = {"exposed": False, **typed(IF, form)}
    assert jsonschema_rs.is_valid(IF, inputs)


@pytest.mark.parametrize("condition", [True, False, None, 3, {"type": 7}, {"$ref": "#/$defs/none"}])
def test_a_condition_that_makes_no_sense_breaks_no_form(condition):
    schema = {
        "properties": {"a": {}},
        "if": condition,
        "then": {"required": ["a"]},
        "oneOf": [{}, {"properties": {}}],
    }
    assert effective(schema, {}, schema)["properties"] == {"a": {}}
    assert [field.path for field in fields(schema)] == ["a"]


def test_an_update_takes_back_what_other_choices_no_longer_ask_for():
    has = {"kind": "hot", "lag": 3, "name": "orders"}
    cold = {"input.kind": '"cold"', "input.bucket": "b", "input.name": "orders"}
    assert typed(ONE_OF, cold, has) == {"kind": "cold", "bucket": "b", "lag": None, "name": "orders"}
    nested = {f"input.copy.{name.removeprefix('input.')}": text for name, text in cold.items()}
    made = typed(NESTED, nested | {"input.all": ""}, {"copy": has})
    assert made == {"copy": typed(ONE_OF, cold, has), "all": None}
    hot = {"input.kind": '"hot"', "input.lag": "3", "input.name": "orders"}
    assert typed(ONE_OF, hot, has) == has


def test_an_update_keeps_what_a_secret_asks_for_that_is_not_typed_again():
    schema = {
        "properties": {"password": {"type": "string", "writeOnly": True}},
        "dependentSchemas": {"password": {"properties": {"days": {"type": "integer"}}}},
    }
    has = {"password": "***", "days": 30}
    form = {"input.password": "", "input.days": "60"}
    assert [field.path for field in drawn(schema, form, has)] == ["password", "days"]
    assert typed(schema, form, has) == {"days": 60}


def test_a_text_of_several_lines_keeps_its_lines():
    lines = {"properties": {"certificate": {"type": "string"}}}
    [field] = fields(lines, {"certificate": "one\ntwo\n"})
    assert field.widget == "textarea"
    assert typed(lines, {field.name: "one\r\ntwo\r\n"}) == {"certificate": "one\ntwo\n"}


def test_json_that_lies_too_deep_is_refused_in_words():
    with pytest.raises(InputsInvalid, match="cannot be read"):
        typed({"properties": {"list": {"type": "array"}}}, {"input.list": "[" * 100_000})


SECRET = {"type": "string", "writeOnly": True}


@pytest.mark.parametrize(
    "declared",
    [
        {"$ref": "#/$defs/token"},
        {"allOf": [{"$ref": "#/$defs/token"}]},
        {"type": "array", "items": {"type": "object", "properties": {"key": SECRET}}},
        {"type": "object", "properties": {"user": {"type": "string"}}, "additionalProperties": SECRET},
    ],
)
def test_whatever_makes_an_input_a_secret_its_field_hides_it_and_is_typed_again(declared):
    schema = {"$defs": {"token": {"$ref": "#/$defs/secret"}, "secret": SECRET}, "properties": {"it": declared}}
    [field] = drawn(schema, {"input.it": '"canary-of-twelve"'}, {"it": "***"})
    assert (field.path, field.widget, field.value) == ("it", "secret", "")


def test_a_mask_never_goes_back_as_the_value_of_a_secret_however_deep_it_lies():
    schema: dict = {"properties": {"key": SECRET, "size": {"type": "integer"}}}
    has: dict = {"key": "***", "size": 1}
    for name in "dcba":
        schema, has = {"properties": {name: {"type": "object", **schema}}}, {name: has}
    shown = fields(schema, has)
    assert [(field.path, field.widget) for field in shown] == [
        ("a.b.c.d.key", "secret"),
        ("a.b.c.d.size", "number"),
    ]
    sent = {field.name: field.value for field in shown}
    assert typed(schema, sent, has) == {"a": {"b": {"c": {"d": {"size": 1}}}}}


PEM = "-----BEGIN PRIVATE KEY-----\nMIIEvQ\n-----END PRIVATE KEY-----\n"


def test_a_secret_of_several_lines_has_a_field_that_keeps_them_and_never_shows_them():
    schema = {"properties": {"key": {"type": "string", "writeOnly": True, "title": "TLS key", "maxLength": 9000}}}
    form = {"input.key": PEM.replace("\n", "\r\n")}  # as a browser sends them
    [drawn_again] = drawn(schema, form, {"key": "canary"})
    page = (
        environment()
        .from_string('{% from "macros.html" import field %}{{ field(item) }}')
        .render(item=drawn_again)
    )
    [area] = re.findall(r"<textarea[^>]*>[^<]*</textarea>", page)
    assert "<input" not in page
    assert area.endswith("></textarea>"), "never with its value"
    assert 'autocomplete="off"' in area
    assert 'class="secret"' in area
    assert '<label for="f-key">TLS key</label>' in page
    [hint] = re.findall(r'aria-describedby="([^"]+)"', area)
    assert f'id="{hint}"' in page
    assert typed(schema, form) == {"key": PEM}
    assert typed(schema, {"input.key": "canary-of-twelve\r\n"}) == {"key": "canary-of-twelve"}


@pytest.mark.parametrize(
    ("rules", "has_lines"),
    [
        ({}, True),
        ({"type": "string"}, True),
        ({"type": "string", "pattern": "^-----BEGIN"}, True),
        ({"type": "string", "pattern": r"^-----BEGIN[\s\S]+-----$"}, True),
        ({"type": "string", "pattern": "^[^ ]+$"}, True),
        ({"type": "string", "pattern": "^[a-z]+$|x"}, True),
        ({"type": "string", "pattern": "^[A-Za-z0-9]{20}$"}, False),
        ({"enum": ["a", "b"]}, False),
        ({"type": "integer"}, False),
        ({"type": "object"}, False),
    ],
)
def test_a_secret_whose_schema_rules_out_ends_of_lines_is_a_password(rules, has_lines):
    [field] = fields({"properties": {"it": {**rules, "writeOnly": True}}})
    assert (field.widget, field.has_lines) == ("secret", has_lines)


def test_a_text_of_a_format_has_one_line_however_long_it_may_be():
    schema = {
        "properties": {
            "host": {"type": "string", "format": "hostname", "maxLength": 253},
            "notes": {"type": "string", "maxLength": 253},
        }
    }
    assert [field.widget for field in fields(schema)] == ["text", "textarea"]
