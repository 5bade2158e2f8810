"""Inputs of a request: defaults, the schema's word, and secrets that nothing repeats."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from promise_samples import EXECUTORS, promise

from bondstone.base.errors import InputsInvalid
from bondstone.model.promise import Promise
from bondstone.model.secret import SecretRef
from bondstone.model.service import OperationKind, ServiceId, StepOutputs
from bondstone.promise.inputs import (
    complete_inputs,
    require_references,
    secret_paths,
    split_secrets,
    with_secrets,
)
from bondstone.promise.load import parse_promise
from bondstone.promise.schema import types
from bondstone.promise.validation.before_publish import validate
from bondstone.promise.variables import variables_for

CANARY = "canary-7f3a"

NESTED = """\
apiVersion: bondstone.dev/v1
kind: Promise
metadata: {name: nested, version: 1.0.0}
spec:
  inputs:
    type: object
    additionalProperties: false
    $defs:
      account:
        type: object
        required: [user]
        properties:
          user: {type: string, default: admin}
          password: {type: string, minLength: 8, writeOnly: true}
    properties:
      account: {$ref: "#/$defs/account"}
      accounts: {type: array, items: {$ref: "#/$defs/account"}}
      token: {type: [string, "null"], writeOnly: true, format: uuid}
      ratio: {type: number, maximum: 10}
      count: {type: integer, default: 2}
      mail: {type: string, format: email}
      free: {type: object, additionalProperties: {type: string}}
      tags: {type: array, items: {type: string}, default: [a]}
  steps: [{id: one, terraform: {module: m}}]
"""


@pytest.fixture
def nested() -> Promise:
    return parse_promise(NESTED.encode())


def test_defaults_are_filled_in_inside_objects_and_lists_too(nested: Promise) -> None:
    inputs = {"account": {"password": "long-enough"}, "accounts": [{}, {"user": "x"}]}
    assert complete_inputs(nested, inputs) == {
        "account": {"user": "admin", "password": "long-enough"},
        "accounts": [{"user": "admin"}, {"user": "x"}],
        "count": 2,
        "tags": ["a"],
    }
    assert inputs == {"account": {"password": "long-enough"}, "accounts": [{}, {"user": "x"}]}


def test_an_object_that_was_not_given_is_not_made_up() -> None:
    assert complete_inputs(promise(), {}) == {"size": "small", "region": "eu"}
    assert complete_inputs(promise(), {"network": {}})["network"] == {"cidr": "10.0.0.0/16"}


def test_a_default_belongs_to_nobody(nested: Promise) -> None:
    complete_inputs(nested, {})["tags"].append("mine")
    assert complete_inputs(nested, {})["tags"] == ["a"]


def test_every_wrong_field_is_named(nested: Promise) -> None:
    inputs = {"ratio": 11, "mail": "nobody", "conut": 3, "account": {"user": 3}, "tags": ["a", 1]}
    with pytest.raises(InputsInvalid) as caught:
        complete_inputs(nested, inputs)
    assert [str(problem) for problem in caught.value.problems] == [
        'account.user: 3 is not of type "string"',
        "conut: there is no such input (did you mean 'count'?)",
        'mail: "nobody" is not a "email"',
        "ratio: 11 is greater than the maximum of 10",
        'tags.1: 1 is not of type "string"',
    ]
    assert caught.value.message == "the inputs do not fit nested@1.0.0: 5 problems"


@pytest.mark.parametrize(
    "inputs",
    [
        {"token": CANARY},
        {"token": [CANARY]},
        {"account": {"password": CANARY[:7]}},
        {"account": {"password": {"x": CANARY}}},
        {"account": CANARY},
        {"account": [CANARY]},
        {"accounts": [{"password": {"x": CANARY}}]},
        {"accounts": CANARY},
        {"account": {"password": 17}, "token": {"$secret": CANARY, "more": CANARY}},
    ],
)
def test_no_message_repeats_a_secret(nested: Promise, inputs: dict[str, Any]) -> None:
    with pytest.raises(InputsInvalid) as caught:
        complete_inputs(nested, inputs)
    error = caught.value
    assert CANARY[:7] not in f"{error} {error.info()} {error.__cause__!r} {error.__context__!r}"


def test_a_secret_is_checked_behind_its_reference_without_being_repeated() -> None:
    schema = ("adminPassword: {type: string, writeOnly", "adminPassword: {type: string, minLength: 20, writeOnly")
    ref = {"$secret": "secrets/a/b/k"}
    with pytest.raises(InputsInvalid) as caught:
        complete_inputs(promise(schema), {"adminPassword": ref}, lambda _: CANARY)
    assert [str(problem) for problem in caught.value.problems] == [
        "adminPassword: the value is shorter than 20 characters"
    ]
    done = complete_inputs(promise(schema), {"adminPassword": ref}, lambda _: CANARY * 4)
    assert done["adminPassword"] == ref
    assert complete_inputs(promise(schema), {"adminPassword": ref})["adminPassword"] == ref


def test_a_reference_where_no_secret_belongs_is_refused() -> None:
    for request in ({"region": {"$secret": "k"}}, {"network": {"cidr": {"$secret": "k"}}}):
        with pytest.raises(InputsInvalid, match="not a secret input, so it takes no reference"):
            complete_inputs(promise(), request, lambda _: "eu")


def test_a_plain_value_for_a_secret_input_is_refused_without_repeating_it() -> None:
    with pytest.raises(InputsInvalid) as caught:
        require_references(promise(), {"adminPassword": CANARY})
    assert "adminPassword" in str(caught.value)
    assert CANARY not in str(caught.value)
    require_references(promise(), {"adminPassword": {"$secret": "k"}, "size": "small"})


def test_a_secret_inside_a_list_makes_the_whole_list_secret(nested: Promise) -> None:
    assert secret_paths(nested) == {"account.password", "accounts", "token"}
    public, values = split_secrets(
        nested, {"account": {"user": "u", "password": "p"}, "accounts": [{"password": "q"}], "token": None}
    )
    assert public == {"account": {"user": "u"}, "token": None}
    assert values == {"account.password": "p", "accounts": [{"password": "q"}]}


@given(
    st.fixed_dictionaries(
        {},
        optional={
            "account": st.fixed_dictionaries({"user": st.text()}, optional={"password": st.text()}),
            "accounts": st.lists(st.fixed_dictionaries({"password": st.text()}), max_size=2),
            "token": st.none() | st.text(),
            "count": st.integers(),
        },
    )
)
@settings(max_examples=60, deadline=None)
def test_secrets_taken_out_and_put_back_are_all_there(inputs: dict[str, Any]) -> None:
    nested = parse_promise(NESTED.encode())
    public, values = split_secrets(nested, inputs)
    whole = with_secrets(public, {path: SecretRef(key=path) for path in values})
    require_references(nested, whole)
    for path, value in values.items():
        holder = whole
        *parents, last = path.split(".")
        for name in parents:
            holder = holder[name]
        assert holder[last] == {"$secret": path}
        holder[last] = value
    assert whole == inputs


@pytest.mark.parametrize(
    ("inputs", "words"),
    [
        ({"region": "x" * 300_000}, "larger than"),
        ({"region": float("nan")}, "not JSON: region is nan"),
        ({"region": "\ud800"}, "not JSON: region holds characters"),
        ({"region": {"a": [1, {1, 2}]}}, r"not JSON: region\.a\[1\] is a set"),
    ],
)
def test_inputs_are_bounded_json(inputs: dict[str, Any], words: str) -> None:
    with pytest.raises(InputsInvalid, match=words):
        complete_inputs(promise(), inputs)


def test_inputs_nested_too_deeply_are_refused() -> None:
    deep: Any = "x"
    for _ in range(5000):
        deep = [deep]
    with pytest.raises(InputsInvalid, match="nested deeper"):
        complete_inputs(promise(), {"region": deep})


def test_types_of_inputs_as_expressions_see_them(nested: Promise) -> None:
    assert types(nested.spec.inputs) == {
        "inputs.account": "object?",
        "inputs.account.user": "string?",
        "inputs.account.password": "string?",
        "inputs.accounts": "list<dyn>?",
        "inputs.token": "string?",
        "inputs.ratio": "double?",
        "inputs.count": "int",
        "inputs.mail": "string?",
        "inputs.free": "map<string, string>?",
        "inputs.tags": "list<string>",
    }


def test_variables_hold_every_declared_input_and_numbers_by_their_type(nested: Promise) -> None:
    result = variables_for(
        nested,
        service=ServiceId(team="payments", name="orders"),
        labels={"tier": "gold"},
        kind=OperationKind.PROVISION,
        inputs={"ratio": 3, "count": 2.0, "account": {"user": "u", "password": {"$secret": "k"}}},
        outputs={"one": StepOutputs(values={"url": "http://x"})},
        service_outputs={"url": "http://y"},
    )
    assert repr(result["inputs.ratio"]) == "3.0"
    assert repr(result["inputs.count"]) == "2"
    assert result["inputs.account.user"] == "u"
    assert result["inputs.account.password"] == {"$secret": "k"}
    assert result["inputs.mail"] is None
    assert result["inputs.free"] is None
    assert (result["service.team"], result["service.name"]) == ("payments", "orders")
    assert result["service.labels"] == {"tier": "gold"}
    assert result["context.operation"] == "provision"
    assert result["steps.one.outputs.url"] == "http://x"
    assert result["outputs.url"] == "http://y"


def promise_of(inputs: dict[str, Any]) -> Promise:
    return parse_promise(
        json.dumps(
            {
                "apiVersion": "bondstone.dev/v1",
                "kind": "Promise",
                "metadata": {"name": "sample", "version": "1.0.0"},
                "spec": {
                    "inputs": {"type": "object", **inputs},
                    "steps": [{"id": "one", "terraform": {"module": "m"}}],
                },
            }
        ).encode()
    )


def test_the_default_of_a_secret_stops_no_later_operation_and_any_other_plain_value_does() -> None:
    declared = promise_of({"properties": {"x": {"type": "string", "writeOnly": True, "default": "public"}}})
    require_references(declared, complete_inputs(declared, {}))
    with pytest.raises(InputsInvalid, match="passed by reference"):
        require_references(declared, {"x": "hunter2"})


CLOSED = {"allOf": [{"properties": {"x": {"type": "string"}}}], "additionalProperties": False}


@pytest.mark.parametrize("beside", [{}, {"properties": {"z": {"type": "string"}}}])
def test_an_input_that_only_all_of_declares_is_not_named_as_its_own_correction(beside: dict[str, Any]) -> None:
    with pytest.raises(InputsInvalid) as refused:
        complete_inputs(promise_of({**beside, **CLOSED}), {"x": "given"})
    assert "unevaluatedProperties: false" in refused.value.problems[0].hint
    opened = {name: value for name, value in CLOSED.items() if name != "additionalProperties"}
    complete_inputs(promise_of({**beside, **opened, "unevaluatedProperties": False}), {"x": "given"})


def test_publishing_refuses_inputs_that_no_request_can_give(tmp_path: Path) -> None:
    (tmp_path / "promise.yaml").write_text(json.dumps(promise_of(CLOSED).model_dump(by_alias=True, mode="json")))
    messages = [problem.message for problem in validate(tmp_path, EXECUTORS).problems]
    assert [message for message in messages if message.startswith("no request can give 'x'")], messages


def test_null_for_an_optional_input_is_nothing_given_unless_its_type_knows_null() -> None:
    nested = parse_promise(NESTED.encode())
    given_null = {"count": None, "ratio": None, "token": None, "account": {"user": None, "password": None}}
    filled = complete_inputs(nested, {**given_null, "account": {"user": "a", "password": None}})
    assert filled == {"count": 2, "token": None, "account": {"user": "a"}, "tags": ["a"]}
    with pytest.raises(InputsInvalid) as refused:
        complete_inputs(nested, {"tags": [None]})
    assert "tags.0" in str(refused.value.problems[0])
    assert complete_inputs(nested, given_null)["account"] == {"user": "admin"}
