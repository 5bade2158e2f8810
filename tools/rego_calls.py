"""Call each built-in function that the embedded engine takes with operands drawn at random, and compare with OPA.

OPA's own cases call most functions a few times; this calls them with whatever type fits: empty texts, fractions
below zero, characters of several bytes. What the embedded engine refuses or fails is no difference: it denies.

python -m tools.rego_calls                        60 calls of each function
python -m tools.rego_calls --calls 900 --seed 5   more, and others; exits 1 where a value differs
"""

from __future__ import annotations

import argparse
import itertools
import json
import random
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from bondstone.rego.embedded import Embedded
from bondstone.rego.engine import EngineFailed, Question, RuleAnswer
from harness.pinned import find
from tools.rego_conformance import SUPPORT

NUMBERS: Final = [
    "0", "1", "-1", "2", "10", "3", "0.5", "-0.5", "-1.5", "2.5", "255", "-7", "0.1", "16", "64",
    "9007199254740991", "1234567890123456789",
]  # fmt: skip
TEXTS: Final = [
    json.dumps(text, ensure_ascii=False)
    for text in (
        "", "a", "ab", "abcabc", "é", "日本 x", "😀a", "ß", " x\t", "\n", "1.5", "10", "-0.5", "0x1f", "1e3",
        "1_000", "true", "null", "[1", '{"a":[1,2.5]}', "1.0.0-rc.1", "v1.2.3", "10.0.0.0/8", "10.1.2.3", "::1/64",
        "A,b,,c", "(a)(b)?", "^a.*$", "a b+c&d=1", "YWJj", "616263", "2024-02-29T12:00:00.5+01:00",
        "Europe/Berlin",
        "1h30m", "1.5Gi", "12kb", "%s-%v", "$1", ".", "aaaa",
    )
]  # fmt: skip
OTHERS: Final = [
    "null", "true", "false", "[]", "[1, 2, 3]", '["b", "a", "b"]', "[[1], [2]]", '[1, "a", null]', "[0.5, 1.5]",
    "{}", '{"a": 1}', '{"b": {"c": [1]}, "a": null}', '{"a": "x", "b": "y"}', '{"ab": "1", "a": "2"}',
    '{"a": ["b"], "b": ["a"]}', '{"pretty": true, "indent": " "}', "set()", "{1, 2}", '{"a", "b"}', "{{1}, {2}}",
    "input.object", "input.text", "input.list", "input.number",
]  # fmt: skip
INPUT: Final = {
    "object": {"x": 1.5, "y": [1, {"z": "é"}]},
    "text": "Hello, Wörld",
    "list": [3, 1, 2, 1],
    "number": -2,
}
LEFT_OUT: Final = {
    "net.cidr_expand",
    "numbers.range",
    "numbers.range_step",
    "rand.intn",
    "time.now_ns",
    "uuid.rfc4122",
}
"""They may give very much, or something else each time."""
SHORT: Final = 5
"""Characters of an operand, at most, where a large number makes a huge one."""
IN_ONE_MODULE: Final = 200


def main() -> int:
    """Ask, and print what differs."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--calls", type=int, default=60, help="of each function, at most")
    parser.add_argument("--seed", type=int, default=1, help="of what is drawn")
    options = parser.parse_args()
    sys.set_int_max_str_digits(0)
    opa = str(find("opa"))
    drawn = random.Random(options.seed)  # noqa: S311 - no secret
    engine = Embedded()
    calls = compared = differing = 0
    for _, of_one in itertools.groupby(_calls(opa, drawn, options.calls), key=lambda call: call.partition("(")[0]):
        while some := list(itertools.islice(of_one, IN_ONE_MODULE)):
            calls += len(some)
            for call, expected, value in _values(opa, engine, some):
                compared += 1
                if _comparable(expected) != _comparable(value):
                    differing += 1
                    print(
                        f"{call}\n  OPA:      {json.dumps(expected)[:200]}\n  embedded: {json.dumps(value)[:200]}"
                    )
    engine.close()
    print(f"{calls} calls, {compared} with a value of the embedded engine, {differing} of them other than OPA's")
    return int(differing > 0)


def _calls(opa: str, drawn: random.Random, most: int) -> Iterator[str]:
    ran = subprocess.run([opa, "capabilities", "--current"], capture_output=True, check=True)
    known = {item["name"]: item for item in json.loads(ran.stdout)["builtins"] if not item.get("infix")}
    for name in json.loads(SUPPORT.read_text(encoding="utf-8"))["supported"]:
        if name in LEFT_OUT or name not in known:
            continue
        operands = [_fitting(kind) for kind in known[name]["decl"].get("args", [])]
        if name.startswith("bits."):
            operands = [[value for value in values if len(value) < SHORT] for values in operands]
        combinations = list(itertools.product(*operands))
        for operand in drawn.sample(combinations, min(most, len(combinations))):
            yield f"{name}({', '.join(operand)})"


def _fitting(kind: dict[str, Any]) -> Sequence[str]:
    """Operands of a type, as OPA describes it."""
    if kind["type"] == "any":
        several = [value for each in kind.get("of", ()) for value in _fitting(each)]
        return several or [*TEXTS, *OTHERS, *NUMBERS]
    return {"number": NUMBERS, "string": TEXTS}.get(kind["type"], OTHERS)


def _values(opa: str, engine: Embedded, calls: Iterable[str]) -> Iterator[tuple[str, Any, Any]]:
    """Each call that both compile and to which the embedded engine has a value, and both values."""
    rules = list(calls)
    expected = _of_opa(opa, rules)
    if problems := engine.check(_question(rules)):
        refused = {problem.line for problem in problems}
        kept = [rule for line, rule in enumerate(rules, start=3) if line not in refused]
        expected = {rule: value for rule, value in expected.items() if rule in kept}
        rules = kept
    try:
        answers = _of_embedded(engine, rules)
    except EngineFailed:  # one of them spoils the module: a fraction that sums may meet
        answers = [answer for rule in rules for answer in _alone(engine, rule)]
    for rule, answer in zip(rules, answers, strict=True):
        if answer.values and not answer.error:
            yield rule, expected.get(rule, "no value"), answer.values[0]


def _of_embedded(engine: Embedded, rules: Sequence[str]) -> list[RuleAnswer]:
    queries = tuple(f'data["m"]["r{place}"]' for place in range(len(rules)))
    return engine.evaluate(Question(_question(rules).modules, queries), json.dumps(INPUT), timeout_seconds=60)


def _alone(engine: Embedded, rule: str) -> list[RuleAnswer]:
    try:
        return _of_embedded(engine, [rule])
    except EngineFailed as error:
        return [RuleAnswer(error=str(error))]


def _question(rules: Sequence[str]) -> Question:
    lines = ["package m", "import rego.v1", *(f"r{place} := {rule}" for place, rule in enumerate(rules))]
    return Question((("m.rego", "\n".join(lines) + "\n"),))


def _of_opa(opa: str, rules: list[str]) -> dict[str, Any]:
    """OPA's values; `rules` loses those that OPA does not compile."""
    while True:
        with tempfile.TemporaryDirectory() as folder:
            module, document = Path(folder, "m.rego"), Path(folder, "input.json")
            module.write_text(_question(rules).modules[0][1], encoding="utf-8")
            document.write_text(json.dumps(INPUT), encoding="utf-8")
            command = [opa, "eval", "--format", "json", "--data", str(module), "--input", str(document), "data.m"]
            ran = subprocess.run(command, capture_output=True, check=False)
        answer = json.loads(ran.stdout)
        if "errors" not in answer:
            values = answer["result"][0]["expressions"][0]["value"]
            return {rule: values[f"r{place}"] for place, rule in enumerate(rules) if f"r{place}" in values}
        wrong = {error["location"]["row"] - 3 for error in answer["errors"] if "location" in error}
        if not wrong:
            raise RuntimeError(answer["errors"])
        rules[:] = [rule for place, rule in enumerate(rules) if place not in wrong]


def _comparable(value: Any) -> Any:
    """Sets come as lists in any order, whole numbers with or without a point."""
    if isinstance(value, list):
        return sorted((_comparable(item) for item in value), key=repr)
    if isinstance(value, dict):
        return {name: _comparable(item) for name, item in sorted(value.items())}
    return int(value) if isinstance(value, float) and value.is_integer() else value


if __name__ == "__main__":
    sys.exit(main())
