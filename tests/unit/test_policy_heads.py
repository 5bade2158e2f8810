"""A rule's head that has no value for one result takes away that result and no other, with each engine."""

from __future__ import annotations

import pytest

from bondstone.policy import Module, evaluate
from tests.unit.rego_engines import ENGINES, deciding

HEAD = "package main\n\nimport rego.v1\n\n"
ONE = {"name": "one", "tags": ["a"]}
NONE = {"tags": ["a"]}
TWO = {"name": "two", "tags": ["b"]}


@pytest.fixture(scope="module", autouse=True, params=ENGINES)
def deciding_engine(request):
    with deciding(request.param) as name:
        yield name


EACH = "deny contains f(x) if some x in input.xs\n"
RULES = {
    "a reference": "deny contains x.name if some x in input.xs\n",
    "an iteration, and no body": "deny contains input.xs[_].name\n",
    "an iteration": "deny contains input.xs[_].name if true\n",
    "a call": 'deny contains sprintf("%s", [x.name]) if {\n\tsome x in input.xs\n}\n',
    "an object": 'deny contains {"msg": x.name, "n": 1} if { x := input.xs[_] }\n',
    "several lines": 'deny contains {\n\t"msg": x.name,\n} if {\n\tsome x in input.xs # every one\n}\n',
    "several lines and a comment": 'deny contains {\n\t"msg": x.name, # }\n} if {\n\tsome x in input.xs\n}\n',
    "a raw text": "deny contains sprintf(`%s`, [x.name]) if { some x in input.xs }\n",
    "a function": "f(x) := x.name\n\ndeny contains f(x) if some x in input.xs\n",
    "a function with a body": 'f(x) := x.name if "a" != "b"\n\ndeny contains f(x) if some x in input.xs\n',
    "the key of an object": 'm[x.name] := "" if some x in input.xs\n\ndeny contains k if some k, _ in m\n',
    "the value of an object": "m[i] := x.name if some i, x in input.xs\n\ndeny contains v if some v in m\n",
    "a key before a text": 'm[input.xs[_].name] := "x"\n\ndeny contains k if some k, _ in m\n',
    "an else": "f(x) := 1 if x.no\nelse := x.name\n\ndeny contains f(x) if some x in input.xs\n",
    "an else with a body": "f(x) := 1 if x.no\nelse := x.name if x.tags\n\n" + EACH,
    "another rule": "names contains x.name if some x in input.xs\n\ndeny contains v if some v in names\n",
    "in parentheses": "deny contains (x.name) if some x in input.xs\n",
    "a text at the end of a body": 'deny contains x.name if { some x in input.xs; x.name != "z" }\n',
    "a text at the end without braces": 'f(x) := x.name if x.name != "z"\n\n' + EACH,
    "a text at both ends": 'f(x) := x.name if "z" in {x.name, "z"}\n\ndeny contains f(x) if some x in input.xs\n',
}


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
@pytest.mark.parametrize("last", [NONE, ONE], ids=["the last has none", "the first has none"])
def test_what_has_no_value_for_one_stays_a_finding_for_the_others(rule: str, last: dict[str, object]) -> None:
    items = [ONE, TWO, NONE] if last is NONE else [NONE, TWO, ONE]
    decision = evaluate([Module("a.rego", HEAD + rule)], {"xs": items})
    assert {finding.message for finding in decision.findings} == {"one", "two"}


@pytest.mark.parametrize(
    ("head", "findings"),
    [
        ('x.name == "one"', [True, False]),
        ('"a" in x.tags', [True, False]),
        ("count(x.tags) + count(x.name)", [4]),
        ("set()", [[]]),
        ("[y | some y in x.tags]", [["a"], ["b"]]),
        ("x.tags[_]", ["a", "b"]),
    ],
)
def test_the_value_of_a_head_is_the_whole_of_it(head: str, findings: list[object]) -> None:
    source = f"{HEAD}values contains {head} if {{\n\tsome x in input.xs\n}}\n"
    for value in findings:
        rule = 'deny contains "is there" if input.value in values\n'
        decision = evaluate([Module("a.rego", source + rule)], {"xs": [ONE, TWO], "value": value})
        assert decision.outcome == ("allow" if isinstance(value, list) and not value else "deny"), value


def test_a_variable_may_have_the_name_of_the_imported_version() -> None:
    policy = Module("a.rego", HEAD + "deny contains v1 if some v1 in input.xs\n")
    assert [finding.message for finding in evaluate([policy], {"xs": ["one", "two"]}).findings] == ["one", "two"]


def test_an_error_behind_a_head_is_told_with_its_own_line() -> None:
    source = HEAD + RULES["several lines"] + '\nwarn contains to_number("x")\n'
    [finding] = evaluate([Module("a.rego", source)], {"xs": []}).findings
    assert "a.rego:11" in finding.message
