"""Every expression of a promise, compiled where it stands with the names and types it will find there."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final

from bondstone.base.errors import ExpressionInvalid, Problem
from bondstone.base.names import POOL_PATTERN, SERVICE_EXECUTOR
from bondstone.cel.templates import (
    MAX_EXPRESSIONS,
    Expr,
    TemplateExpression,
    VariableScope,
    check,
    offset_of,
    parts,
    strings_in,
)
from bondstone.documents.yaml_places import Path_, PlacedDocument
from bondstone.model.promise import OutputSpec, Probe, Promise, Step
from bondstone.promise.parts import section_place, step_place
from bondstone.promise.resolve import Condition
from bondstone.promise.schema import secret_paths, types
from bondstone.promise.validation.steps import StepReport, hooks, needed_by, own_steps

_SERVICE: Final = {"service.name": "string", "service.team": "string"}
_BASE: Final = {**_SERVICE, "service.labels": "map<string, string>", "context.operation": "string"}
_FIXED: Final = {
    "service.labels": "labels can change, and the steps of a service must not change with them",
    "context": "the same steps and pools must be found again when the service is taken down",
    "steps": "which steps run is fixed before the first of them: use inputs, service.name and service.team",
}
_CHANGE: Final = ("action", "address", "type", "moved_from", "import_id")
_GIVES: Final[Mapping[str, frozenset[str]]] = {
    "string": frozenset({"string", "timestamp", "duration"}),
    "number": frozenset({"int", "uint", "double"}),
    "integer": frozenset({"int", "uint"}),
    "boolean": frozenset({"bool"}),
    "array": frozenset({"list"}),
    "object": frozenset({"map"}),
    "any": frozenset({"string", "timestamp", "duration", "int", "uint", "double", "bool", "list", "map"}),
}
"""CEL types that fit the type of an output."""


def check_expressions(
    document: PlacedDocument, promise: Promise, reports: Mapping[str, StepReport]
) -> list[Problem]:
    """Every problem of every expression."""
    return list(dict.fromkeys(_Checker(document, promise, reports).run()))


class _Checker:
    def __init__(self, document: PlacedDocument, promise: Promise, reports: Mapping[str, StepReport]) -> None:
        self.document = document
        self.promise = promise
        self.spec = promise.spec
        self.reports = reports
        self.inputs = types(promise.spec.inputs)
        self.secret_inputs = {f"inputs.{path}" for path in secret_paths(promise)}

    def run(self) -> Iterator[Problem]:
        count = 0
        for _, text in strings_in(self.spec.model_dump(exclude={"inputs"})):
            count += text.count("${")
        if count > MAX_EXPRESSIONS:
            yield self.document.problem(
                (), f"the promise has {count} expressions, and {MAX_EXPRESSIONS} are allowed"
            )
            return
        for index, step in enumerate(self.spec.steps):
            yield from self._step(index, step)
        everything = self._steps(step.id for step in self.spec.steps)
        yield from self._outputs(everything)
        yield from self._health(("spec", "health"), self.spec.health, everything)
        for name in ("patch", "upgrade"):
            section = getattr(self.spec, name)
            if section is not None:
                yield from self._health(("spec", name, "health"), section.health, everything)
        yield from self._approval()
        if self.spec.upgrade is not None:
            old = VariableScope({**_BASE, "inputs": "dyn"})
            yield from self._tree(("spec", "upgrade", "inputs"), self.spec.upgrade.inputs, old)[0]

    def _step(self, index: int, step: Step) -> Iterator[Problem]:
        written = own_steps(self.document)
        path = step_place(written, index)
        fixed = VariableScope({**self.inputs, **_SERVICE}, _FIXED)
        secrets = self.secret_inputs
        reason = "a secret must not decide which steps run, nor where"
        yield from self._condition((*path, "when"), step.when, fixed, secrets, reason)
        problems, uses = self._tree((*path, "pool"), step.pool, fixed)
        yield from problems
        yield from self._secrets(uses, secrets, reason)
        yield from self._gives(uses, frozenset({"string"}), "a pool is text")
        if not problems and "${" not in step.pool and not re.fullmatch(POOL_PATTERN, step.pool):
            yield self.document.problem(
                (*path, "pool"), f"{step.pool!r} cannot name a pool",
                hint="use 1 to 48 of a-z, 0-9 and '-', starting with a letter",
            )  # fmt: skip
        needs = needed_by(self.promise, step)
        if not self._sound_needs(index, step):
            needs = {other.id for other in self.spec.steps} - {step.id}  # what is wrong is said already, once
        others = {
            f"requires.{other.id}": f"{other.id} needs step {step.id}, so it cannot be used there"
            for other in self.spec.steps
            if other.executor == SERVICE_EXECUTOR and other.id not in needs
        } | {
            f"steps.{other.id}": f"add {other.id} to the `needs` of step {step.id}"
            for other in self.spec.steps
            if other.id not in needs and other.id != step.id
        }
        others[f"steps.{step.id}"] = "a step cannot use its own outputs"
        scope = VariableScope({**self.inputs, **_BASE, **self._steps(needs)}, others)
        yield from self._tree(section_place(written, index, step.executor), step.section, scope)[0]
        report = self.reports.get(step.id)
        for document in report.templates if report is not None else ():
            yield from self._template(document, scope)

    @staticmethod
    def _template(document: PlacedDocument, scope: VariableScope) -> Iterator[Problem]:
        """The expressions of a file that belongs to a step."""
        count = sum(text.count("${") for _, text in strings_in(document.data))
        if count > MAX_EXPRESSIONS:
            yield document.problem((), f"the document has {count} expressions, and {MAX_EXPRESSIONS} are allowed")
            return
        for finding in check(document.data, scope)[0]:
            yield document.inside(finding.path, finding.offset, finding.fault.message, hint=finding.fault.hint)

    def _sound_needs(self, index: int, step: Step) -> bool:
        """Whether `needs` says what its author meant, as far as can be told."""
        if index >= own_steps(self.document):
            return True  # a part: what it needs follows from its expressions
        written = self.document.data["spec"]["steps"][index]
        ids = {other.id for other in self.spec.steps} - {step.id}
        misspelt = any(difflib.get_close_matches(key, ("needs",)) for key in written if key != "needs")
        return (
            not misspelt
            and list(step.needs)[: len(written.get("needs") or [])] == (written.get("needs") or [])
            and ids.issuperset(step.needs)
        )

    def _outputs(self, steps: Mapping[str, str]) -> Iterator[Problem]:
        scope = VariableScope({**self.inputs, **_BASE, **steps})
        secrets = self.secret_inputs | self._secret_outputs()
        for name, output in self.spec.outputs.items():
            path: Path_ = ("spec", "outputs", name, "value")
            problems, uses = self._tree(path, output.value, scope)
            yield from problems
            if not output.secret:
                yield from self._secrets(
                    uses, secrets, f"the output {name!r} would show a secret", "declare the output `secret: true`"
                )
            whole = [use for use in uses if use.path == path]
            yield from self._gives(whole, _GIVES[output.type], f"the output {name!r} is of type {output.type}")
            if not isinstance(output.value, str) and not _fits(output.value, output.type):
                yield self.document.problem(
                    path, f"the output {name!r} is of type {output.type}, its value is not"
                )

    def _health(self, path: Path_, probes: Iterable[Probe], steps: Mapping[str, str]) -> Iterator[Problem]:
        base = {**self.inputs, **_BASE, **steps}
        outputs = {
            f"outputs.{name}": _output_type(output, VariableScope(base))
            for name, output in self.spec.outputs.items()
        }
        scope = VariableScope({**base, **outputs})
        secrets = self.secret_inputs | self._secret_outputs()
        secrets |= {f"outputs.{name}" for name, output in self.spec.outputs.items() if output.secret}
        reason = "what a probe looks at is shown to people and must hold no secret"
        for index, probe in enumerate(probes):
            at = (*path, index)
            if probe.expression is not None:
                yield from self._condition((*at, "expression"), probe.expression, scope, secrets, reason)
            for kind in ("http", "tcp"):
                problems, uses = self._tree((*at, kind), getattr(probe, kind), scope)
                yield from problems
                yield from self._secrets(uses, secrets, reason)
                yield from self._gives(uses, frozenset({"string"}), f"{kind} is text")

    def _approval(self) -> Iterator[Problem]:
        scope = VariableScope(
            {**self.inputs, **_BASE, "plan.changes": "list<map<string, dyn>>"}, members={"plan.changes": _CHANGE}
        )
        reason = "who must approve is shown to people and must not follow from a secret"
        for index, rule in enumerate(self.spec.approval):
            path: Path_ = ("spec", "approval", index, "when")
            yield from self._condition(path, rule.when, scope, self.secret_inputs, reason)

    def _steps(self, ids: Iterable[str]) -> dict[str, str]:
        """The outputs of steps, as names and types; those of a step with a condition may be null."""
        types: dict[str, str] = {}
        conditional = {step.id for step in self.spec.steps if step.when is not True} | set(
            hooks(self.promise).values()
        )
        parts = {step.id for step in self.spec.steps if step.executor == SERVICE_EXECUTOR}
        for step in ids:
            if step in parts:
                types[f"requires.{step}.outputs"] = "dyn"  # the part's promise is looked at where it is published
                continue
            report = self.reports.get(step)
            if report is None or report.outputs is None:
                types[f"steps.{step}.outputs"] = "dyn"  # what it gives is not known, which is said elsewhere
                continue
            for name, kind in report.outputs.items():
                # A number may come as 3 or as 3.5, and nobody converts it on the way.
                kind = "dyn" if kind in {"double", "number"} else kind  # noqa: PLW2901 - the type as it is meant
                types[f"steps.{step}.outputs.{name}"] = f"{kind.rstrip('?')}?" if step in conditional else kind
        return types

    def _secret_outputs(self) -> set[str]:
        return {
            f"steps.{step}.outputs.{name}" for step, report in self.reports.items() for name in report.sensitive
        }

    def _tree(
        self, path: Path_, template: Any, scope: VariableScope
    ) -> tuple[list[Problem], list[TemplateExpression]]:
        findings, uses = check(template, scope, path=path)
        problems = [
            self.document.inside(finding.path, finding.offset, finding.fault.message, hint=finding.fault.hint)
            for finding in findings
        ]
        return problems, uses

    def _condition(
        self, path: Path_, when: Condition, scope: VariableScope, secrets: set[str], reason: str
    ) -> Iterator[Problem]:
        """A condition: written bare, or as one `${…}`."""
        if isinstance(when, bool):
            return
        text, start = when, 0
        try:
            pieces = parts(when)
        except ExpressionInvalid:
            pieces = []
        if "${" in when:
            if len(pieces) != 1 or not isinstance(pieces[0], Expr):
                yield self.document.problem(
                    path,
                    "a condition is one expression",
                    hint="write it without ${ }, as in inputs.size != 'small'",
                )
                return
            text, start = pieces[0].text, pieces[0].start
        compiled = scope.compile(text)
        for fault in compiled.faults:
            offset = start + offset_of(text, fault.line, fault.column)
            yield self.document.inside(path, offset, fault.message, hint=fault.hint)
        if not compiled.faults and compiled.type not in {"bool", "dyn"}:
            yield self.document.inside(
                path, start, f"a condition gives true or false, this one gives {_article(compiled.type)}",
                hint="compare it with something, as in x == 'small'",
            )  # fmt: skip
        yield from self._secrets(
            [TemplateExpression(path, text, start, compiled.type, compiled.references)], secrets, reason
        )

    def _secrets(
        self, uses: Iterable[TemplateExpression], secrets: set[str], reason: str, hint: str = ""
    ) -> Iterator[Problem]:
        for use in uses:
            for name in sorted(use.references):
                for secret in sorted(secrets):
                    if name == secret or name.startswith(f"{secret}.") or secret.startswith(f"{name}."):
                        yield self.document.inside(
                            use.path, use.offset, f"`{name}` is secret: {reason}", hint=hint
                        )
                        break

    def _gives(self, uses: Iterable[TemplateExpression], wanted: frozenset[str], reason: str) -> Iterator[Problem]:
        for use in uses:
            if use.type not in wanted and use.type != "dyn":
                yield self.document.inside(
                    use.path, use.offset, f"{reason}, and the expression gives {_article(use.type)}",
                    hint="string(…), int(…) and double(…) convert" if use.type in _CONVERT else "",
                )  # fmt: skip


_CONVERT: Final = frozenset({"string", "int", "uint", "double", "bool"})
_ARTICLES: Final[Mapping[str, str]] = {
    "string": "text", "int": "a whole number", "uint": "a whole number", "double": "a number",
    "bool": "true or false", "list": "a list", "map": "a map", "null": "null",
}  # fmt: skip
_KINDS: Final[Mapping[str, Callable[[Any], bool]]] = {
    "string": lambda value: isinstance(value, str),
    "number": lambda value: isinstance(value, int | float) and not isinstance(value, bool),
    "integer": lambda value: isinstance(value, int) and not isinstance(value, bool),
    "boolean": lambda value: isinstance(value, bool),
    "array": lambda value: isinstance(value, list | tuple),
    "object": lambda value: isinstance(value, Mapping),
    "any": lambda _value: True,
}


def _output_type(output: OutputSpec, scope: VariableScope) -> str:
    """What expressions may take an output of the promise for; `?` where what it is made of may be null."""
    kind = {"string": "string", "boolean": "bool", "integer": "int"}.get(output.type, "dyn")
    if not isinstance(output.value, str) or kind == "dyn":
        return kind
    try:
        pieces = parts(output.value)
    except ExpressionInvalid:
        return kind
    if len(pieces) != 1 or not isinstance(pieces[0], Expr):
        return kind
    if "null" in pieces[0].text:
        return "dyn"
    return f"{kind}?" if scope.nullable(pieces[0].text.strip()) else kind


def _article(kind: str) -> str:
    return _ARTICLES.get(kind, kind)


def _fits(value: Any, kind: str) -> bool:
    return value is None or _KINDS[kind](value)
