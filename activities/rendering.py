"""From a call by reference to what a tool is given: revision on disk, secrets revealed, section rendered."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from bondstone.base.errors import ExpressionInvalid, Problem, PromiseInvalid
from bondstone.base.settings import Settings
from bondstone.cel import templates
from bondstone.executors.protocol import Executor
from bondstone.model.promise import Promise
from bondstone.model.secret import SecretRef, refs_in, replace_refs
from bondstone.model.service import ServiceId, StepOutputs
from bondstone.model.step import StepCall
from bondstone.promise.variables import variables_for
from bondstone.store import Store

REVISIONS_DIR = "revisions"
"""Below the work directory: unpacked revisions, one folder per digest."""


@dataclass(frozen=True, slots=True)
class Rendering:
    """What a step's executor needs of the promise."""

    promise: Promise
    bundle: Path
    section: Any
    secrets: tuple[Any, ...]
    """Every value that was revealed on the way."""
    variables: Mapping[str, Any]
    """What expressions see."""


async def render_step(store: Store, settings: Settings, executor: Executor, call: StepCall) -> Rendering:
    """Render a step's section with secrets revealed.

    Raises:
        ExpressionInvalid: an expression cannot be evaluated, or its value does not fit the section.
        PromiseInvalid: the revision has no such step.
    """
    bundle = await store.revisions.materialise(call.revision, settings.work_dir / REVISIONS_DIR)
    promise = await store.revisions.promise(call.revision)
    step = next((step for step in promise.spec.steps if step.id == call.step), None)
    if step is None:
        raise PromiseInvalid(f"{call.revision} has no step {call.step!r}")
    revealed = await reveal_all(store, call.service, (call.inputs, _values(call.outputs)))
    variables = variables_for(
        promise,
        service=call.service,
        labels=call.labels,
        kind=call.kind,
        inputs=reveal(call.inputs, revealed),
        outputs={name: StepOutputs(values=reveal(out.values, revealed)) for name, out in call.outputs.items()},
    )
    rendered = templates.render(step.section, variables)
    try:
        section = executor.section.model_validate(rendered)
    except ValidationError as error:
        # The values may be secrets: only places and reasons are said.
        problems = [
            Problem(message=f"{'.'.join(map(str, item['loc']))}: {item['msg']}")
            for item in error.errors(include_input=False, include_context=False)
        ]
        raise ExpressionInvalid(
            f"the {executor.kind} section of step {call.step} is not valid once its expressions are evaluated",
            where=str(call.revision),
            problems=problems,
            hint="the promise's author should look at the types of these expressions",
        ) from None
    return Rendering(
        promise=promise,
        bundle=bundle,
        section=section,
        secrets=tuple(revealed.values()),
        variables=variables,
    )


async def reveal_all(store: Store, service: ServiceId, trees: Iterable[Any]) -> dict[str, Any]:
    """The values of every reference in some JSON trees, by key; only secrets of this service are revealed."""
    refs = {ref.key: ref for tree in trees for ref in refs_in(tree)}
    return {key: await store.secrets.reveal(ref, service=service) for key, ref in refs.items()}


def reveal(tree: Any, revealed: dict[str, Any]) -> Any:
    """A JSON tree with references replaced by their values."""

    def value(ref: SecretRef) -> Any:
        return revealed[ref.key]

    return replace_refs(tree, value)


def _values(outputs: dict[str, StepOutputs]) -> list[dict[str, Any]]:
    return [out.values for out in outputs.values()]
