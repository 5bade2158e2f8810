"""What the embedded engine takes of Rego: `docs/reference/rego.md`, from what `tools.rego_conformance` found."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

from bondstone.rego.engine import FORBIDDEN
from bondstone.rego.functions import FUNCTIONS
from bondstone.rego.restrictions import INSTEAD
from tools.docstrings import cell

PAGE: Final = "docs/reference/rego.md"
SUPPORT: Final = Path(__file__).resolve().parents[2] / "bondstone" / "rego" / "support.json"


def text() -> str:
    """The page."""
    support = json.loads(SUPPORT.read_text(encoding="utf-8"))
    return "\n".join([*_head(support), *_functions(support), *_groups(support)])


def _head(support: dict[str, Any]) -> list[str]:
    cases = support["cases"]
    return [
        "# Rego",
        "",
        "Policies are decided by OPA where `BOND_OPA` names one or PATH has one (1.0 or newer), and then all of Rego v1",
        "is taken, less these built-in functions:",
        "",
        *(f"- `{name}`: {reason}" for name, reason in sorted(FORBIDDEN.items())),
        "",
        f"Else the embedded engine decides, {support['embedded']}. It was asked the {sum(cases.values())} test cases of",
        f"OPA {support['opa']}, as Bondstone asks: built-in functions that fail are errors, and an error denies.",
        "",
        "| | cases |",
        "|---|---|",
        f"| as OPA | {cases['right']} |",
        f"| refused when the policy is published, with file, line and what to write instead | {cases['refused']} |",
        f"| an error when it is asked, so that the policy denies | {cases.get('failed', 0)} |",
        f"| decided otherwise than by OPA | {cases.get('wrong', 0)} |",
        f"| left out: their input is no JSON, or they ask for names that OPA's compiler makes up | {cases['skipped']} |",
        "",
        "Refused beside the functions below: `/` (compare products), arithmetic with a literal such as `1.1`, numbers",
        "with an exponent, zeros at their end or more than 15 digits, `walk` with one operand, `not { … }`, `and` and",
        '`or` between conditions, `k, v in xs` as a condition, texts with `$"{…}"`, keywords as names after a dot, and',
        "set rules whose name has variables.",
        "",
        "What is negated has no value where an operand has none, as with OPA: without an `input.name`,",
        '`not startswith(input.name, "x")` ends the body, while `not input.name` and `not input.name == "x"` hold. The',
        "engine is given `operand := input.name` before the negation for that. A name that gets its value in the negation",
        "only (`not input.xs[_] == 1`) is refused, as by OPA.",
        "",
        "`x in xs` as a value (`found := input.name in xs`) has no value either where an operand has none, as with OPA.",
        "With a name in brackets (`found := input.names[i] in xs`) it is refused: write `name := input.names[i]` before.",
        "",
        "`ceil` and `floor` of a number between -1 and 0 fail: OPA 1.22 gives 1 and 0 there.",
        "",
    ]


def _functions(support: dict[str, Any]) -> list[str]:
    refused = {name: reason for name, reason in support["refused"].items() if name not in FUNCTIONS}
    taken = sorted({*support["supported"], *FUNCTIONS})
    return [
        "## Built-in functions",
        "",
        "Taken: " + ", ".join(f"`{name}`" for name in taken) + ".",
        "",
        "| refused | why | write instead |",
        "|---|---|---|",
        *(f"| `{name}` | {reason} | {cell(INSTEAD.get(name, ''))} |" for name, reason in sorted(refused.items())),
        "",
    ]


def _groups(support: dict[str, Any]) -> list[str]:
    rows = [
        f"| {group} | {counts.get('right', 0)} | {counts.get('refused', 0)} | {counts.get('failed', 0)} |"
        for group, counts in support["groups"].items()
        if set(counts) - {"right", "skipped"}
    ]
    return [
        "## OPA's groups of cases that are not all right",
        "",
        "| group | as OPA | refused | denies with an error |",
        "|---|---|---|---|",
        *rows,
        "",
    ]
