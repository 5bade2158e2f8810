"""What OPA answers, every engine answers, or refuses by name and line with something to write instead."""

from __future__ import annotations

import pytest

from bondstone.policy import Module, check_syntax, evaluate
from tests.unit.rego_engines import ENGINES, deciding


@pytest.fixture(scope="module", autouse=True, params=ENGINES)
def deciding_engine(request):
    with deciding(request.param) as name:
        yield name


def module(expression: str) -> Module:
    return Module(
        "a.rego", f'package main\n\ndeny contains msg if {{\n\tmsg := sprintf("%v", [{expression}])\n}}\n'
    )


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ('semver.compare("1.10.0", "1.9.0")', "1"),
        ('sprintf("%s:%s", [lower("EU"), "x"])', "eu:x"),
        ('sprintf("%v and %v", [["a", {"k": "v"}], {"b"}])', '["a", {"k": "v"}] and {"b"}'),
        ('sprintf("%q, %d of %d", ["a\\"b", 1, 2])', '"a\\"b", 1 of 2'),
        ('lower("ÀÉ")', "àé"),
        ('upper("straße")', "STRAßE"),
        ('count("a\\u00e9\\n\\"b")', "5"),
        ('count("😀")', "1"),
        ('object.union({"a": {"b": 1}}, {"a": {"c": 2}})', '{"a": {"b": 1, "c": 2}}'),
        ('["500" > 100, null > 5, 9 < "1", false < 0]', "[true, false, true, true]"),
        ('["z" < [1], [9] < {"a": 1}]', "[true, true]"),
        ('{"allow_requester": "a" in ["a"]}', '{"allow_requester": true}'),
        ('regex.match("(?i)^éa$", "ÉA")', "true"),
        ('regex.match("^\\\\d$", "٣")', "false"),
        ('net.cidr_contains("10.0.0.0/8", "10.1.2.3")', "true"),
        ('net.cidr_intersects("10.0.0.0/8", "192.168.0.0/16")', "false"),
        ('time.parse_rfc3339_ns("2024-02-29T12:00:00Z")', "1709208000000000000"),
        ("9007199254740993 + input.large", "18014398509481986"),
        ("[r | some r in input.x[input.name]]", '["a"]'),
        ("input.price == 0.1", "true"),
        ("input.half * 3", "1.5"),
        ('split(json.marshal_with_options({"a": ["<"]}, {"indent": "--", "prefix": ">"}), "\\n")',
         '[">{", ">--\\"a\\": [", ">----\\"\\\\u003c\\"", ">--]", ">}"]'),
        ('json.marshal_with_options({"a": "&"}, {})', '{"a":"\\u0026"}'),
        ('urlquery.encode("a*b c~")', "a%2Ab+c~"),
        ('urlquery.encode_object({"b": ["*", "é"], "a": {"y", "x"}})', "a=x&a=y&b=%2A&b=%C3%A9"),
        ("[ceil(-1.5), floor(-1.5), ceil(0.5), floor(0.5)]", "[-1, -2, 1, 0]"),
        ("[format_int(-0.5, 10), format_int(-15.9, 16), format_int(5, 2)]", '["0", "-f", "101"]'),
        ('[substring("日本 x", 1, 2), substring("ab", 1, -1), substring("ab", 9, 1)]', '["本 ", "b", ""]'),
        ('[indexof("日本 x", "x"), indexof("ab", "c")]', "[3, -1]"),
    ],
)  # fmt: skip
def test_a_value_is_that_of_opa(expression: str, message: str) -> None:
    members = {"large": 9007199254740993, "x": {"k": ["a"]}, "name": "k", "price": 0.1, "half": 0.5}
    # Only what it names: fractions elsewhere would keep the embedded engine from arithmetic.
    document = {name: value for name, value in members.items() if f"input.{name}" in expression}
    policy = module(expression)
    assert check_syntax([policy]) == []
    decision = evaluate([policy], document)
    assert [finding.message for finding in decision.findings] == [message]


@pytest.mark.parametrize(
    ("expression", "words", "instead"),
    [
        ("json.match_schema(input, {})", "json.match_schema may not be used", "check the members one by one"),
        ('net.cidr_merge(["10.0.0.0/8"])', "net.cidr_merge may not be used", "net.cidr_contains"),
        ("input.a / 3", "a division", "compare products"),
        ("input.a * 1.1", "1.1", "whole numbers"),
        ("1.10", "1.10", "without zeros at its end"),
    ],
)
def test_the_embedded_engine_refuses_what_it_would_decide_otherwise(
    expression: str, words: str, instead: str, deciding_engine: str
) -> None:
    problems = check_syntax([module(expression)])
    if deciding_engine == "opa":
        assert problems == []
        return
    assert (problems[0].file, problems[0].line) == ("a.rego", 4)
    assert words in problems[0].message
    assert instead in problems[0].hint
    assert "BOND_OPA" in problems[0].hint


def test_arithmetic_that_meets_a_fraction_denies_and_never_computes_in_doubles(deciding_engine: str) -> None:
    decision = evaluate([module("input.a + input.b == 0.3")], {"a": 0.1, "b": 0.2})
    assert decision.outcome == "deny"
    if deciding_engine == "opa":
        assert decision.findings[0].message == "true"
    else:
        assert "count in whole numbers" in decision.findings[0].message


@pytest.mark.parametrize(
    "call", ['indexof("ab", "")', 'substring("ab", 0.5, 1)', 'regex.template_match("ab", "a", "é", ".")']
)
def test_a_call_that_fails_in_opa_fails(call: str, deciding_engine: str) -> None:
    decision = evaluate([module(call)], {})
    assert decision.outcome == "deny"
    assert "cannot be evaluated" in decision.findings[0].message


def test_what_opa_rounds_otherwise_than_one_counts_fails_in_the_embedded_engine(deciding_engine: str) -> None:
    decision = evaluate([module("ceil(input.change)")], {"change": -0.5})
    words = "1" if deciding_engine == "opa" else "between -1 and 0, which OPA rounds otherwise"
    assert words in decision.findings[0].message


def test_a_policy_in_force_from_before_is_refused_when_it_decides_too() -> None:
    decision = evaluate([module("http.send({})")], {})
    assert decision.outcome == "deny"
    assert "http.send" in decision.findings[0].message
