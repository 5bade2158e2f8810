"""Schemas of promises as Backstage's forms, names of entities, templates: without a Backstage."""

from __future__ import annotations

import json
import re
from pathlib import Path

import jsonschema_rs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bondstone.agents.bounds import bounded
from bondstone.backstage.actions import with_secrets
from bondstone.backstage.entities import MAX_NAME, Places, entity_name
from bondstone.backstage.form_schema import DROPPED, KEPT, TRANSLATED, form_of, secret_field
from bondstone.backstage.templates import promise_templates, verb_templates
from bondstone.base.backstage_settings import BackstageSettings
from bondstone.base.errors import InvalidInput, PromiseInvalid
from bondstone.client.documents.promise import PromiseDocument
from bondstone.promise.validation.schema import KEYWORDS

NAMES = st.from_regex(r"[a-z]([a-z0-9-]{0,46}[a-z0-9])?", fullmatch=True)
PLACES = Places(
    BackstageSettings(url="https://backstage.example", feed_token_file=Path("feed")), "https://bond.example"
)


def promise(schema: dict) -> PromiseDocument:
    return PromiseDocument(
        promise="queue", version="1.0.0", digest="0" * 64, status="active", owner="data", input_schema=schema
    )


def test_newer_keywords_become_those_that_both_validators_know():
    form = form_of(
        {
            "$defs": {"size": {"enum": ["s", "m"], "default": "s"}},
            "properties": {
                "size": {"$ref": "#/$defs/size", "title": "Size"},
                "fixed": {"const": 3},
                "maybe": {"type": ["string", "null"], "default": None},
                "pair": {"prefixItems": [{"type": "string"}, {"type": "integer"}], "items": False},
                "made": {"type": "string", "readOnly": True},
            },
            "required": ["size", "made"],
            "dependentRequired": {"fixed": ["size"]},
            "unevaluatedProperties": False,
        }
    )
    assert form.inputs == {
        "type": "object",
        "properties": {
            "size": {"enum": ["s", "m"], "default": "s", "title": "Size"},
            "fixed": {"enum": [3]},
            "maybe": {"type": "string"},
            "pair": {"items": [{"type": "string"}, {"type": "integer"}], "additionalItems": False},
        },
        "required": ["size"],
        "dependencies": {"fixed": ["size"]},
    }
    assert form.dropped == ("the inputs: unevaluatedProperties",)


def test_secrets_are_no_inputs_of_the_form_wherever_they_are():
    schema = {
        "properties": {
            "login": {
                "type": "object",
                "properties": {"name": {"type": "string"}, "pass-word": {"type": "string", "writeOnly": True}},
                "required": ["pass-word"],
            },
            "key": {"$ref": "#/$defs/key"},
        },
        "required": ["login", "key"],
        "$defs": {"key": {"type": "string", "minLength": 8, "writeOnly": True}},
    }
    form = form_of(schema)
    assert set(form.secrets) == {"login.pass-word", "key"}
    assert set(form.required_secrets) == {"login.pass-word", "key"}
    assert "pass-word" not in json.dumps(form.inputs)
    assert form.inputs["required"] == ["login"]

    made, _ = promise_templates(promise(schema), PLACES)
    ask = made[0]["spec"]["steps"][0]["input"]
    assert ask["secrets"]["key"] == "${{ secrets.key }}"
    assert made[0]["spec"]["secrets"]["schema"]["properties"]["key"]["minLength"] == 8
    page = made[0]["spec"]["parameters"][-1]
    assert {each["ui:field"] for each in page["properties"].values()} == {"Secret"}
    whole = with_secrets({"login": {"name": "ada"}}, {"login.pass-word": "x" * 12, "key": "y" * 12})
    assert jsonschema_rs.validator_for(schema).is_valid(whole)


def test_every_keyword_and_format_of_a_promise_is_in_the_table():
    table = " ".join([*KEPT, *TRANSLATED, *DROPPED])
    known = set(re.findall(r"[$A-Za-z]+", table))
    assert KEYWORDS - known == set()


def test_references_are_followed_to_anchors_and_through_lists():
    schema = {
        "properties": {
            "size": {"$ref": "#sizes"},
            "first": {"$ref": "#/$defs/pair/prefixItems/0"},
        },
        "$defs": {
            "size": {"$anchor": "sizes", "enum": ["s", "m"]},
            "pair": {"prefixItems": [{"type": "integer"}]},
        },
    }
    form = form_of(schema)
    assert form.inputs["properties"] == {"size": {"enum": ["s", "m"]}, "first": {"type": "integer"}}
    assert form.dropped == ()


ALIKE = (
    *(r"^[^@\s]+@[^@\s]+$", r"^[a-z\d\-.]+$", r"^(?:a|b){2,3}?$", r"^\p{L}+$", r"(?<n>a)\/", ""),
    *(r"^[a-z]([a-z0-9-]{0,46}[a-z0-9])?$", r"a\.b", r"^(?!x).*$", r"[\-_]+", r"\p{Script=Greek}"),
)
OTHERWISE = (
    *("(?i)abc", "a++", "a{2}+", "[[:alpha:]]+", r"\Aabc\z", "(?P<x>a)", r"\x{41}", "(?>a)", "(?x: a)"),
    *("[a-z&&[^b]]", r"\h", "["),
    *(r"^[a-z]+\-[a-z]+$", r"a\@b", r"[a\@]", r"\p{Greek}", r"\p{letter}", "^*a", r"\b+a"),  # mistakes with `u`
)


@pytest.mark.parametrize("pattern", ALIKE)
def test_patterns_that_javascript_reads_alike_stay(pattern):
    assert form_of({"properties": {"text": {"pattern": pattern}}}).dropped == ()


@pytest.mark.parametrize("pattern", OTHERWISE)
def test_patterns_that_javascript_reads_otherwise_are_left_to_the_platform(pattern):
    form = form_of({"properties": {"text": {"type": "string", "pattern": pattern}}})
    assert form.inputs["properties"]["text"] == {"type": "string"}
    assert form.dropped == ("text: a pattern that JavaScript reads otherwise",)


def test_a_schema_without_an_end_takes_anything_there_and_says_so():
    tree = {"type": "object", "properties": {"child": {"$ref": "#/$defs/tree"}}}
    form = form_of({"properties": {"root": {"$ref": "#/$defs/tree"}}, "$defs": {"tree": tree}})
    assert form.inputs["properties"]["root"]["properties"]["child"] == {}
    assert form.dropped == ("root.child: a schema that refers to itself",)


def test_a_promise_without_named_inputs_has_no_template_and_says_why():
    with pytest.raises(PromiseInvalid):
        form_of({"type": "array"})
    made, note = promise_templates(promise({"type": "array"}), PLACES)
    assert (made, note) == ([], "It has no template: the inputs are not an object.")


def test_an_update_requires_nothing_and_fills_in_nothing():
    schema = {"properties": {"size": {"type": "string", "default": "s"}}, "required": ["size"]}
    made, _ = promise_templates(promise(schema), PLACES)
    page = made[1]["spec"]["parameters"][1]["properties"]["inputs"]
    assert page == {"title": "", "type": "object", "properties": {"size": {"type": "string"}}}


def test_without_actions_templates_call_through_the_proxy():
    settings = BackstageSettings(url="https://backstage.example", feed_token_file=Path("feed"), proxy="/bondstone")
    made, _ = promise_templates(promise({"properties": {}}), Places(settings, "https://bond.example"))
    steps = made[0]["spec"]["steps"]
    assert {step["action"] for step in steps} == {"http:backstage:request", "debug:log"}
    assert steps[0]["input"]["path"] == "proxy/bondstone/request-service/invoke"
    assert steps[0]["input"]["body"]["name"] == "${{ parameters.name }}"
    assert steps[1]["if"] == "${{ steps.ask.output.body.output.problem }}"
    assert made[0]["spec"]["output"]["links"][0]["url"] == "${{ steps.ask.output.body.output.console }}"


def test_templates_have_names_of_their_own():
    made, _ = promise_templates(promise({"properties": {}}), PLACES)
    names = [each["metadata"]["name"] for each in [*made, *verb_templates(PLACES)]]
    assert len(set(names)) == len(names)


@given(st.lists(st.tuples(NAMES, NAMES), unique=True, max_size=30))
def test_every_service_has_a_name_in_the_catalog_that_is_nobody_elses(services):
    names = [entity_name(*service) for service in services]
    assert len(set(names)) == len(services)
    assert all(0 < len(name) <= MAX_NAME and name[-1].isalnum() for name in names)


@given(st.lists(st.from_regex(r"[ad0_-]{1,6}(\.[ad0_-]{1,6}){0,2}", fullmatch=True), unique=True, max_size=20))
def test_fields_of_secrets_are_told_apart(paths):
    fields = [secret_field(path) for path in paths]
    assert len(set(fields)) == len(paths)
    assert all("." not in field and "-" not in field for field in fields)


def test_a_secret_has_no_place_inside_a_text():
    with pytest.raises(InvalidInput):
        with_secrets({"login": "ada"}, {"login.password": "x"})
    assert with_secrets({}, {"login.password": None, "key": ""}) == {}


LEAVES = st.text(max_size=5000) | st.integers()
TREES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=80) | st.dictionaries(st.text(max_size=20), inner),
    max_leaves=60,
)


@given(TREES)
def test_what_an_agent_is_told_fits_and_says_when_it_was_cut(value):
    shown, cut = bounded(value, 3000)
    assert len(json.dumps(shown)) <= 3000
    assert cut == (shown != value)
