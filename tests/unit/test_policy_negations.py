"""What is negated has no value where an operand has none, with each engine: `not startswith(input.none, "x")`."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bondstone.rego.embedded import Embedded
from bondstone.rego.engine import Engine, Question
from bondstone.rego.opa import Opa
from harness.pinned import ToolMissing, find

HEAD = "package cases\n\nimport rego.v1\n\n"
RULES = """
same(x) := x
true_for(x) if x == "a"
missing := input.missing
known := {"a", "b"}
listed := same(["a"])
aliased if input.a
"""
DOCUMENT = {"a": "a", "n": 1, "no": False, "xs": ["a", "b"], "o": {"a": "k", "k": {"a": 1}}}

DECIDED = {
    "no name": "not input.missing",
    "a value": "not input.a",
    "nothing below a name": "not input.missing.a",
    "a bracket": 'not input["missing"]',
    "a missing index": "not input.o[input.missing]",
    "an index": "not input.o[input.a]",
    "two indexes": "not input.o[input.o.a][input.missing]",
    "an index that is a call": "not input.xs[count(input.missing)]",
    "a rule without a value": "not missing",
    "a call": 'not startswith(input.missing, "x")',
    "a call that holds": 'not startswith(input.a, "a")',
    "a call that does not hold": 'not startswith(input.a, "x")',
    "a call of a call": "not same(same(input.missing))",
    "a call of a rule": "not same(missing)",
    "a function that is undefined": 'not true_for("z")',
    "a function's own argument": "not true_for(input.missing)",
    "what a call gives": "not same(input.o).missing",
    "what a call of nothing gives": "not same(input.missing).a",
    "less": "not input.missing < 1",
    "equal": 'not input.missing == "x"',
    "unified": 'not input.missing = "x"',
    "different": 'not input.missing != "x"',
    "equal to a call": "not same(input.missing) == 1",
    "equal to a collection": "not [input.missing] == [1]",
    "two that are missing": "not input.missing == input.none",
    "a sum": "not input.missing + 1 == 2",
    "a sum in brackets": "not (input.n + 1) * (input.missing + 1) == 2",
    "sums in brackets": "not (input.n + 1) * (input.n + 1) == 3",
    "brackets in brackets": "not ((input.n + 1)) < ((input.missing))",
    "a set": 'not {"a"} & input.missing == {"a"}',
    "in brackets": "not (input.missing < 1)",
    "a comparison compared": "not (input.missing == 1) == false",
    "a member as a value": "x := 1 in input.missing; x == false",
    "a missing member as a value": "x := input.missing in input.xs; x == false",
    "no member as a value": "x := input.n in input.xs; x == false",
    "a member in a collection": "[1 in input.missing, 1]",
    "a member as an operand": "same(input.n in input.xs) == false",
    "a member compared": "(input.n in input.missing) == false",
    "a member as an item": "[(y in input.missing) | some y in input.xs] == [false, false]",
    "a member as an item of several": "[(y in input.xs) | some y in input.xs] == [true, true]",
    "a member of a member": "((input.n in input.xs) in [false]) == true",
    "a member as a negated operand": "not same(\n\t1 in\n\tinput.xs\n)",
    "a missing member as a negated operand": "not same([(x in input.missing) | some x in input.xs])",
    "a member as another document": "not input.x with input.x as input.n in input.missing",
    "every of members": "every x in [1 in input.xs] { x == false }",
    "a member": "not 1 in input.missing",
    "a member of texts": 'not "a" in input.xs',
    "a missing member": 'not input.missing in ["a"]',
    "a member of a rule": "not input.missing in known",
    "no member of a rule": "not input.n in known",
    "an array": "not [input.missing]",
    "an array of false": "not [input.no]",
    "an object": 'not {"a": input.missing}',
    "a member of an object": 'not {"a": 1, "b": input.missing}.a',
    "a member of nested objects": 'not {"a": {1: 2, 3: 4}, "b": {"c": 1, "d": input.missing}}.b',
    "a nested collection": 'not same({"a": [1, {input.missing}]})',
    "a comprehension": "not count([x | x := input.missing]) == 1",
    "a comprehension alone": "not {x | x := input.missing}",
    "equal to a comprehension": "not {x | x := input.missing} == {1}",
    "a negation in a comprehension": "not count([1 | not same(input.missing)]) == 1",
    "a default": 'not startswith(object.get(input, "missing", ""), "x")',
    "a missing default": 'not object.get(input, "missing", input.none) == 1',
    "another document": 'not same(input.missing) with input as {"missing": false}',
    "another document without it": 'not same(input.a) with input as {"b": 1}',
    "a missing document": "not aliased with input as input.missing",
    "a text for a value": 'not same(input.missing) with input.missing as "x" with input.b as "y"',
    "every": "every x in input.xs { x; not same(input.missing) }",
    "every of them": 'every x in input.xs { not startswith(x, "z") }',
    "none of none": "every x in [] { x; not same(input.missing) }",
    "some": 'some x in input.xs; not startswith(x, "a")',
    "an index with a name": "some i; input.xs[i]; not input.xs[i] == input.a",
    "a name at an index": "i := 0; not input.xs[i] == input.missing; not same(input.xs[i]) == 1",
    "a rule's name for a variable": "known := 1; not input.xs[known] == 9",
    "texts at both ends": 'not "a" < input.missing; not "z" in {input.a, "b"}',
    "brackets in a text": 'not (startswith(")(", input.missing)) == ("(" in input.xs)',
    "a raw text": "not same(`a\nb`) == input.a; not same([`\n`, input.missing])",
    "several lines": 'not startswith(\n\tinput.missing, # a comment "(\n\t"x",\n)',
    "a body of several lines": "not same([x |\n\tsome x in input.xs\n\tx != input.missing\n])",
}


@pytest.fixture(scope="module")
def engines() -> Iterator[tuple[Engine, Engine]]:
    try:
        opa = Opa(str(find("opa")))
    except ToolMissing as error:
        pytest.skip(str(error))
    embedded = Embedded()
    yield embedded, opa
    embedded.close()


def both(engines: tuple[Engine, Engine], bodies: list[str]) -> list[list[str]]:
    """The bodies that hold, by the embedded engine and by OPA."""
    rules = "".join(f"r{number} if {{\n\t{body}\n}}\n" for number, body in enumerate(bodies))
    question = Question((("a.rego", HEAD + RULES + rules),), ("data.cases",))
    held = []
    for engine in engines:
        [answer] = engine.evaluate(question, json.dumps(DOCUMENT), timeout_seconds=60)
        assert not answer.error
        held.append([body for number, body in enumerate(bodies) if answer.values[0].get(f"r{number}") is True])
    return held


def test_negations_are_decided_as_by_opa(engines: tuple[Engine, Engine]) -> None:
    embedded, opa = both(engines, list(DECIDED.values()))
    assert embedded == opa
    assert len(DECIDED) / 5 < len(opa) < len(DECIDED) * 4 / 5


NAMES = [
    "input.a",
    "input.n",
    "input.no",
    "input.o.a",
    "input.missing",
    "input.o.missing",
    "missing",
    "listed",
    "x",
]
REFERENCES = st.sampled_from(NAMES)  # of no known type: OPA refuses comparisons of types that never agree
SIGNS = st.sampled_from(["==", "!=", "<", "in"])
VALUES = st.recursive(
    REFERENCES | st.sampled_from(['"a"', "1", "[]"]),
    lambda inner: st.one_of(
        inner.map("same({})".format),
        inner.map("type_name({})".format),
        inner.map('object.get(input, "missing", {})'.format),
        inner.map("[{}, 1]".format),
        inner.map('{{"k": {}, "l": 1}}'.format),
        inner.map("[y | y := {}]".format),
        inner.map("[1 | not same({})]".format),
        inner.map("input.o[same({})]".format),
        REFERENCES.map("input.o[{}]".format),
        st.tuples(REFERENCES, SIGNS, inner).map(lambda parts: f"({' '.join(parts)})"),
        st.tuples(inner, SIGNS, REFERENCES).map(lambda parts: f"({' '.join(parts)})"),
    ),
    max_leaves=5,
)
STARTS = st.sampled_from(["x := same(1); ", "some x in input.xs; ", "x := input.no; "])
MODIFIERS = st.sampled_from(["", "", "", ' with input.missing as "a"', ' with input as {"n": 1}'])
NEGATIONS = st.tuples(STARTS, st.just("not "), VALUES, MODIFIERS).map("".join)


@settings(max_examples=6)
@given(bodies=st.lists(NEGATIONS, min_size=40, max_size=80))
def test_random_negations_are_decided_as_by_opa(engines: tuple[Engine, Engine], bodies: list[str]) -> None:
    embedded, opa = both(engines, bodies)
    assert embedded == opa


PLACES = {
    "a body without braces": "a if not same(input.missing)\n",
    "an else": "a := 1 if not same(input.missing)\nelse := 2 if not same(input.none)\nelse := 3\n",
    "a head": "a contains [x | some x in input.xs; not x == same(input.missing)]\n",
    "a head that is a member": "a := input.n in input.xs\n",
    "a head that is a missing member": "a := input.missing in input.xs\n",
    "an else that is a member": "a := 1 if missing\nelse := 1 in\n\tinput.xs\n",
    "members of a set": "a contains x in input.xs if some x in [1, input.a]\n",
    "a function": "f(known) if not input.xs[known]\n\na if f(9)\n",
    "an argument": 'f(x) if not startswith(x, input.missing)\n\na if f("x")\n',
}


@pytest.mark.parametrize("rule", PLACES.values(), ids=PLACES)
def test_a_negation_is_decided_as_by_opa_wherever_it_stands(engines: tuple[Engine, Engine], rule: str) -> None:
    question = Question((("a.rego", HEAD + RULES + rule),), ("data.cases.a",))
    embedded, opa = (engine.evaluate(question, json.dumps(DOCUMENT), timeout_seconds=60) for engine in engines)
    assert embedded == opa
    assert not opa[0].error


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("not input.xs[_]", "var _ is unsafe"),
        ("not same(input.xs[_])", "var _ is unsafe"),
        ("not input.xs[i] == 1", "var i is unsafe"),
        ("some i; not same(input.xs[i])", "var i is unsafe"),
        ("count([i | input.xs[i]]) > 0; not same(input.xs[i])", "var i is unsafe"),
        ("not y := 1", "var y is unsafe"),
    ],
)
def test_a_negation_with_a_free_name_is_refused_as_by_opa(
    engines: tuple[Engine, Engine], body: str, message: str
) -> None:
    question = Question((("a.rego", f"{HEAD}{RULES}a if {{ {body} }}\n"),))
    embedded, opa = (engine.check(question) for engine in engines)
    assert opa
    assert [problem.message for problem in embedded] == [message]
    assert embedded[0].line == 12
    assert embedded[0].hint


@pytest.mark.parametrize(
    "body",
    [
        "x := input.xs[_] in input.xs",
        "[(1 in input.xs[i]) | input.xs[i]]",
        "not same(1) with input as [x |\n\tsome x in input.xs\n\tx > 1]",
    ],
)
def test_what_cannot_be_evaluated_before_is_refused_with_what_to_write(body: str) -> None:
    embedded = Embedded()
    [problem] = embedded.check(Question((("a.rego", f"{HEAD}{RULES}a if {{ {body} }}\n"),)))
    embedded.close()
    assert problem.line == 12
    assert "give it a name" in problem.hint


def test_an_error_is_told_with_the_authors_line_and_function() -> None:
    source = HEAD + 'a if {\n\tnot same(\n\t\tinput.missing,\n\t)\n}\n\nb if not upper(input.n) == lower("X")\n'
    embedded = Embedded()
    question = Question((("a.rego", source + RULES),), ("data.cases.b",))
    [answer] = embedded.evaluate(question, json.dumps(DOCUMENT), timeout_seconds=60)
    embedded.close()
    assert "a.rego:11: upper: an operand must be string" in answer.error
