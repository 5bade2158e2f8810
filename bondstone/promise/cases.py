"""The cases that ship with a promise: `tests/*.yaml`, each saying what is given and what is to be expected.

A file holds one case or a list of them::

    - name: production is never small
      given:
        inputs: {size: small, contact: dba@example.com}
        labels: {environment: production}
      expect:
        decision: {outcome: deny, messages: [cannot be small]}
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, Literal

from pydantic import Field, ValidationError

from bondstone.base.errors import Problem
from bondstone.base.models import Manifest
from bondstone.documents.yaml_places import (
    PlacedDocument,
    did_you_mean,
    model_problems,
    ordered,
    read_file,
    refuse,
)
from bondstone.model.plan import Action
from bondstone.model.promise import Promise

DIRECTORY: Final = "tests"
MAX_CASES: Final = 200

Service = r"^[a-z]([a-z0-9-]{0,46}[a-z0-9])?/[a-z]([a-z0-9-]{0,46}[a-z0-9])?$"


class Before(Manifest):
    """What the service is like when the case begins: provisioned with these inputs, by the same revision."""

    inputs: dict[str, Any] = {}


class Given(Manifest):
    """What is asked for, and of what."""

    service: str = Field(default="test/case", pattern=Service)
    """Whose it is: `TEAM/NAME`."""
    inputs: dict[str, Any] = {}
    """As in a request; secrets in plain."""
    labels: dict[str, str] = {}
    """Of the service, for policies."""
    parts: dict[str, dict[str, Any]] = {}
    """Outputs of each part by its name in `requires`: a test makes no parts."""
    previous: Before | None = None
    """Provision with these inputs first; the case is then an update."""
    operation: Literal["provision", "update", "decommission"] | None = None
    """Default: `update` with `previous`, else `provision`. A decommission is of what `inputs` made."""


class ExpectedStep(Manifest):
    """What becomes of one step."""

    skipped: bool = False
    """Its `when` is false."""
    changes: dict[Action, int] | None = None
    """How many objects the plan creates, updates, replaces, deletes, forgets, moves and imports; what is not named
    is none."""
    addresses: dict[str, Action] = {}
    """Objects that the plan touches, and how; it may touch others."""


class ExpectedDecision(Manifest):
    """What the policies say, of all plans taken together."""

    outcome: Literal["allow", "approval", "deny"]
    """The strictest of all plans."""
    messages: tuple[str, ...] = ()
    """Each is part of a message of some policy."""


class ExpectedOutput(Manifest):
    """What an output is like, where its exact value cannot be known."""

    matches: str | None = None
    """A regular expression that all of the text fits."""
    secret: bool | None = None
    """Whether it is kept as a secret."""


class ExpectedRefusal(Manifest):
    """How the request is refused before anything is planned."""

    code: str = "INPUTS_INVALID"
    """Code of the error."""
    fields: tuple[str, ...] = ()
    """Inputs that the refusal names."""
    message: str = ""
    """Part of the refusal's words."""


class Expect(Manifest):
    """What has to come of it. What is not said is not looked at, but for one thing: nothing may be denied."""

    steps: dict[str, ExpectedStep] = {}
    """What becomes of each step, by id."""
    decision: ExpectedDecision | None = None
    """What the policies say."""
    outputs: dict[str, Any] = {}
    """Value by output, or a mapping with `matches` or `secret`. Asking for outputs applies the plans."""
    refused: ExpectedRefusal | None = None
    """The request is refused, and nothing is planned."""


class Case(Manifest):
    """One case."""

    name: str = Field(min_length=1, max_length=200)
    """What it protects, in a sentence."""
    given: Given = Given()
    """What is asked for."""
    expect: Expect
    """What must come of it."""

    @property
    def operation(self) -> str:
        """What is asked for, defaults counted in."""
        return self.given.operation or ("update" if self.given.previous else "provision")


def load_cases(directory: Path, promise: Promise) -> list[tuple[str, Case]]:
    """Every case of a promise's folder with the file it is in.

    Raises:
        PromiseInvalid: with every problem by file, line and column.
    """
    problems: list[Problem] = []
    cases: list[tuple[str, Case]] = []
    for path in sorted((directory / DIRECTORY).glob("*.y*ml")):
        document = read_file(path, f"{DIRECTORY}/{path.name}")
        problems += document.problems
        if not document.problems:
            for case, wrong in _cases(document, promise):
                problems += wrong
                if case is not None:
                    cases.append((document.file, case))
    if len(cases) > MAX_CASES:
        problems.append(Problem(message=f"there are more than {MAX_CASES} cases", file=DIRECTORY))
    if problems:
        raise refuse(ordered(problems), "the promise's tests")
    return cases


def _cases(document: PlacedDocument, promise: Promise) -> Iterator[tuple[Case | None, list[Problem]]]:
    several = isinstance(document.data, list)
    for index, data in enumerate(document.data if several else [document.data]):
        prefix: tuple[str | int, ...] = (index,) if several else ()
        if not isinstance(data, dict):
            yield None, [document.problem(prefix, "a case is a mapping with name, given and expect")]
            continue
        try:
            case = Case.model_validate(data)
        except ValidationError as error:
            yield None, model_problems(document, error, Case, prefix)
        else:
            yield case, list(_unknown(document, prefix, case, promise))


def _unknown(
    document: PlacedDocument, prefix: tuple[str | int, ...], case: Case, promise: Promise
) -> Iterator[Problem]:
    """Names of steps and outputs that the promise does not have. Inputs may be wrong on purpose."""
    steps = {step.id for step in promise.spec.steps}
    for word, expected, known in (
        ("step", case.expect.steps, steps),
        ("output", case.expect.outputs, set(promise.spec.outputs)),
    ):
        for name in expected:
            if name not in known:
                path = (*prefix, "expect", f"{word}s", name)
                yield document.problem(
                    path, f"the promise has no {word} {name!r}", hint=did_you_mean(name, known), key=True
                )
