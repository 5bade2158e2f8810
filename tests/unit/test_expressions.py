"""Templates and expressions: what they give, what they refuse, and their bounds."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bondstone.base.errors import ExpressionInvalid
from bondstone.cel import MAX_EXPRESSION, VariableScope
from bondstone.cel.templates import check, evaluate, references, references_in, render

VARIABLES: dict[str, Any] = {
    "inputs.size": "small",
    "inputs.count": 3,
    "inputs.ratio": 3.5,
    "inputs.flag": True,
    "inputs.missing": None,
    "inputs.in": "operator",
    "inputs.tags": ["a", "b"],
    "inputs.network": {"cidr": "10.0.0.0/8", "more": {"deep": 1}},
    "inputs.network.cidr": "10.0.0.0/8",
    "inputs.password": "hunter2-canary",
    "steps.my-db.outputs.endpoint": "db.local",
    "service.name": "orders",
    "service.labels": {"tier": "gold"},
}

SCOPE = VariableScope(
    {
        "inputs.size": "string",
        "inputs.count": "int",
        "inputs.ratio": "double",
        "inputs.maybe": "string?",
        "inputs.tags": "list<string>",
        "inputs.network": "object",
        "inputs.network.cidr": "string",
        "steps.my-db.outputs.endpoint": "string",
        "service.labels": "map<string, string>",
    }
)


@pytest.mark.parametrize(
    ("template", "value"),
    [
        ("${inputs.count}", 3),
        ("${inputs.ratio}", 3.5),
        ("${inputs.flag}", True),
        ("${inputs.missing}", None),
        ("${inputs.tags}", ["a", "b"]),
        ("${inputs.network}", {"cidr": "10.0.0.0/8", "more": {"deep": 1}}),
        ("${ inputs.size }", "small"),
        ("n-${inputs.count}", "n-3"),
        ("${inputs.count}${inputs.count}", "33"),
        ("${inputs.flag}!", "true!"),
        ("${inputs.ratio} ${3.0}", "3.5 3"),
        ("$${inputs.size}", "${inputs.size}"),
        ("$$${inputs.size}", "$${inputs.size}"),
        ("costs $5 {x}", "costs $5 {x}"),
        ("${ {'a': '}'}.a }", "}"),
        ("${'${'}", "${"),
        ("${steps.my-db.outputs.endpoint}:5432", "db.local:5432"),
        ("${inputs.in}", "operator"),
        ("${inputs.in + '!'}", "operator!"),
        ("${service.labels.tier}", "gold"),
        ("${inputs.network.more.deep + 1}", 2),
        ("${steps.skipped.outputs.url}", None),
        ("${steps.skipped.outputs.url == null ? 'none' : 'some'}", "none"),
        ("${inputs.tags.map(t, t.upperAscii()).join('-')}", "A-B"),
        ("${service.name.replace('o', '0').trim()}", "0rders"),
        ("${{'b': 1, 'a': 2}}", {"a": 2, "b": 1}),
        ("${duration('90s')}", "90s"),
        ("${timestamp('2024-01-02T03:04:05Z')}", "2024-01-02T03:04:05Z"),
        ({"a": ["${inputs.count}", 1, None], "${not a key}": True}, {"a": [3, 1, None], "${not a key}": True}),
    ],
)
def test_a_template_gives(template: Any, value: Any) -> None:
    rendered = render(template, VARIABLES)
    assert rendered == value
    assert json.dumps(rendered) == json.dumps(value)  # 3 is not 3.0, and keys are in order


@pytest.mark.parametrize(
    ("template", "words"),
    [
        ("${inputs.sizze}", "there is no `inputs.sizze`"),
        ("${inputs}", "there is no `inputs`"),
        ("${inputs['password']}", "there is no `inputs`"),
        ("x-${inputs.missing}", "null cannot be joined into text"),
        ("x-${inputs.tags}", "a list or a map cannot be joined into text"),
        ("${inputs.missing + 'x'}", "`+` does not work on (null, string)"),
        ("${inputs.count / 0}", "it divides by zero"),
        ("${inputs.tags[7]}", "an index is outside the list"),
        ("${service.labels.nope}", "the map has no such key"),
        ("${9223372036854775807 + 1}", "a number is too large"),
        ("${b'x'}", "the result is bytearray, which JSON does not have"),
        ("${{1: 2}}", "the keys of a map must be text"),
        ("${double('nan')}", "the result is not a finite number"),
        ("${has(inputs.size)}", "`has()` does not work on `inputs.size`"),
        ("${inputs.size", "`${` has no closing `}`"),
        ("${}", "the expression is empty"),
        ("${1 +}", "the expression ends too early"),
        ("${nothing}", "there is nothing named `nothing`"),
        ("${" + "(" * 40 + "1" + ")" * 40 + "}", "the expression is nested too deeply"),
    ],
)
def test_a_template_is_refused_in_words(template: str, words: str) -> None:
    with pytest.raises(ExpressionInvalid) as caught:
        render(template, VARIABLES)
    assert caught.value.message == words


@pytest.mark.parametrize(
    "expression",
    [
        "int(inputs.password)",
        "inputs.password + 1",
        "{}[inputs.password]",
        "inputs.tags[inputs.password]",
        "timestamp(inputs.password)",
        "'x'.matches('(' + inputs.password)",
        "service.labels[inputs.password]",
        "duration(inputs.password)",
    ],
)
def test_an_error_never_repeats_a_value(expression: str) -> None:
    with pytest.raises(ExpressionInvalid) as caught:
        evaluate(expression, VARIABLES)
    error = caught.value
    assert "hunter2" not in f"{error} {error.hint} {error.where} {error.__cause__!r} {error.info()}"


@pytest.mark.parametrize(
    ("expression", "variables", "words"),
    [
        ("1" + " + 1" * MAX_EXPRESSION, {}, "an expression may have"),
        ("inputs.x + 'a'", {"inputs.x": "a" * (2 << 20)}, "the values it uses are too large"),
        ("inputs.x.replace('', inputs.x)", {"inputs.x": "a" * 2000}, "the result is too large"),
        ("['a']" + ".map(x, x + x)" * 20, {}, "the expression copies values too many times"),
        ("inputs.l.map(x, inputs.s + x)", {"inputs.l": ["a"] * 9000, "inputs.s": "a" * 500_000}, "too large"),
        ("inputs.m.size()", {"inputs.m": {"a\0b": 1}}, "characters that are not text"),
        ("inputs.s + ''", {"inputs.s": "a\0b"}, "characters that are not text"),
        ("inputs.s + ''", {"inputs.s": "\ud800"}, "characters that are not text"),
        ("inputs.l.all(x, inputs.l.all(y, true))", {"inputs.l": list(range(300))}, "too many iterations"),
        ("inputs.l.map(x, inputs.l.map(y, 1))", {"inputs.l": list(range(3000))}, "too large for what"),
        ("inputs.t.split('').all(x, x != 'b')", {"inputs.t": "a," * 50_000}, "too large"),
        ("inputs.t.split('').exists(x, x == 'b')", {"inputs.t": "a" * 1001}, "too large"),
        ("inputs.t.split(',').map(x, x + 'b')", {"inputs.t": "a," * 50_000}, "too large"),
        ("inputs.l.map(x, x)", {"inputs.l": list(range(9000))}, "too large for what"),
        ("inputs.l.filter(x, x > 0)", {"inputs.l": list(range(9000))}, "too large for what"),
        (
            "inputs.l.all(x, (inputs.t + inputs.t).size() > 0)",
            {"inputs.l": [1] * 9000, "inputs.t": "a" * 100_000},
            "too",
        ),
        (
            "inputs.l.all(x, inputs.t.contains('b'))",
            {"inputs.l": [1] * 9000, "inputs.t": "a" * 500_000},
            "too large",
        ),
        (
            "inputs.l.all(x, inputs.t.replace('a', inputs.t) == '')",
            {"inputs.l": [1] * 900, "inputs.t": "a" * 900},
            "too",
        ),
        ("+".join(["inputs.t"] * 200), {"inputs.t": "a" * 500_000}, "too large"),
    ],
)
def test_an_expression_is_bounded(expression: str, variables: dict[str, Any], words: str) -> None:
    with pytest.raises(ExpressionInvalid, match=words):
        evaluate(expression, variables)


@pytest.mark.parametrize(
    ("expression", "kind"),
    [
        ("inputs.size", "string"),
        ("inputs.count + 1", "int"),
        ("inputs.ratio * 2.0", "double"),
        ("inputs.maybe == null ? 'x' : inputs.maybe", "string"),
        ("inputs.tags.exists(t, t == 'a')", "bool"),
        ("inputs.tags.map(t, t + '!')", "list"),
        ("steps.my-db.outputs.endpoint + 'x'", "string"),
        ("inputs.size in ['a']", "bool"),
        ("inputs.maybe == 'x'", "bool"),
        ("inputs.network", "dyn"),
    ],
)
def test_a_scope_knows_the_type(expression: str, kind: str) -> None:
    compiled = SCOPE.compile(expression)
    assert (compiled.faults, compiled.type) == ((), kind)


@pytest.mark.parametrize(
    ("expression", "line", "column", "message"),
    [
        ("inputs.sizze", 1, 1, "there is no `inputs.sizze`"),
        ("inputs.size +\n  inputs.nope", 2, 3, "there is no `inputs.nope`"),
        ("inputs.network.cdir", 1, 1, "there is no `inputs.network.cdir`"),
        ("inputs.ratio * 2", 1, 14, "`*` does not work on (double, int)"),
        ("steps.my-db.outputs.endpoint + 3", 1, 30, "`+` does not work on (string, int)"),
        ("inputs.maybe + 'x'", 1, 14, "this fails where `inputs.maybe` is null"),
        ("inputs.size ? 1 : 2", 1, 13, "`? :` does not work on (string, int, int)"),
        ("inputs.tags.sizze()", 1, 18, "there is nothing named `sizze`"),
    ],
)
def test_a_scope_names_the_place(expression: str, line: int, column: int, message: str) -> None:
    fault = SCOPE.compile(expression).faults[0]
    assert (fault.line, fault.column, fault.message) == (line, column, message)


def test_references_are_paths_outside_of_text_and_without_methods() -> None:
    expression = (
        "inputs.a.size() > 1 && 'inputs.b' != x.inputs.c && inputs.`d` == steps.my-db.outputs.e // inputs.f"
    )
    assert references(expression) == {"inputs.a", "inputs.d", "steps.my-db.outputs.e"}
    assert references(".inputs.a + .steps.b.outputs.c + x. inputs.d + f(x).inputs.e") == {
        "inputs.a",
        "steps.b.outputs.c",
    }
    assert references("'a' in .inputs.a") == {"inputs.a"}
    assert references_in({"a": ["x ${inputs.g}", "$${inputs.h}"]}) == {"inputs.g"}


def test_joining_what_may_be_null_into_text_is_found_before_it_happens() -> None:
    findings, _ = check({"host": "x-${inputs.maybe}"}, SCOPE)
    assert [(finding.path, finding.offset, finding.fault.message) for finding in findings] == [
        (("host",), 4, "`inputs.maybe` may be null, which cannot be joined into text")
    ]


NUMBERS = st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False)
TEXT = st.text(st.characters(exclude_characters="\0", codec="utf-8"))
JSON = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=12,
)


def _escaped(tree: Any) -> Any:
    if isinstance(tree, str):
        return tree.replace("${", "$${")
    if isinstance(tree, list):
        return [_escaped(item) for item in tree]
    if isinstance(tree, dict):
        return {key: _escaped(item) for key, item in tree.items()}
    return tree


@given(JSON)
@settings(max_examples=150, deadline=None)
def test_literals_come_back_as_they_are(tree: Any) -> None:
    assert render(_escaped(tree), {}) == tree


@given(JSON)
@settings(max_examples=150, deadline=None)
def test_a_value_passes_through_its_own_expression_unchanged(value: Any) -> None:
    assert render("${inputs.value}", {"inputs.value": value}) == value


@given(JSON)
@settings(max_examples=150, deadline=None)
def test_a_value_survives_the_engine(value: Any) -> None:
    decision = evaluate("[inputs.value][0]", {"inputs.value": value})
    assert decision == value


@given(st.text(st.sampled_from("inputs.size ${}()[]'\"`+-*/?:&|=!<>,0123ab\\\n\tmapé")) | st.text())
@settings(max_examples=250, deadline=None)
def test_no_text_makes_anything_but_words(text: str) -> None:
    for whole in (text, f"${{{text}}}"):
        with contextlib.suppress(ExpressionInvalid):
            json.dumps(render(whole, VARIABLES))
        findings, _ = check(whole, SCOPE)
        assert all(0 <= finding.offset <= len(whole) for finding in findings)


@given(
    st.text(st.sampled_from("inputs.size ()[]'\"+?:=!0ab")) | st.sampled_from(["inputs.size", "inputs.count + 1"])
)
@settings(max_examples=200, deadline=None)
def test_what_a_scope_passes_can_be_evaluated(text: str) -> None:
    values = {
        "inputs.size": "small", "inputs.count": 3, "inputs.ratio": 3.5, "inputs.maybe": None,
        "inputs.tags": ["a"], "inputs.network": {"cidr": "x"}, "inputs.network.cidr": "x",
        "steps.my-db.outputs.endpoint": "e", "service.labels": {},
    }  # fmt: skip
    compiled = SCOPE.compile(text)
    if compiled.faults:
        return
    assert not [path for path in compiled.references if path not in values]
    with contextlib.suppress(ExpressionInvalid):  # as when a number is divided by zero
        decision = evaluate(text, values)
        assert compiled.type not in {"string", "bool"} or type(decision).__name__ in {"str", "bool"}


@pytest.mark.parametrize(
    ("expression", "variables", "value"),
    [
        ("inputs.l.map(x, x + 1).size()", {"inputs.l": list(range(1000))}, 1000),
        ("inputs.l.filter(x, x > 10).size()", {"inputs.l": list(range(1000))}, 989),
        ("inputs.l.all(x, x >= 0)", {"inputs.l": list(range(9000))}, True),
        ("inputs.t.split('\\n').all(x, x.startsWith('a'))", {"inputs.t": "\n".join(["a" * 100] * 900)}, True),
        ("inputs.t + inputs.t + inputs.t != ''", {"inputs.t": "a" * 200_000}, True),
        (
            "inputs.m.all(k, inputs.m[k].matches('^[a-z]+$'))",
            {"inputs.m": {f"k{n}": "abc" for n in range(60)}},
            True,
        ),
    ],
)
def test_an_expression_that_people_write_is_within_the_bounds(
    expression: str, variables: dict[str, Any], value: Any
) -> None:
    assert evaluate(expression, variables) == value
