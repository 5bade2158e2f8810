"""The page of every key of `promise.yaml` and of its test cases: from the models that read them."""

from __future__ import annotations

import types
import typing
from typing import Annotated, Any

from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from bondstone.activities.ansible.section import AnsibleOutput, AnsibleSection
from bondstone.activities.clusters.outputs import ObjectOutput
from bondstone.activities.container.section import ContainerOutput, ContainerSection
from bondstone.activities.helm.section import HelmSection
from bondstone.activities.kubernetes.section import KubernetesSection, Wait
from bondstone.activities.terraform.section import TerraformSection
from bondstone.cel.syntax import MAX_EXPRESSION
from bondstone.cel.templates import MAX_EXPRESSIONS
from bondstone.documents import yaml_places
from bondstone.model import promise
from bondstone.policy.modules import MAX_MODULE_BYTES, MAX_MODULES, MAX_TOTAL_BYTES
from bondstone.promise import bundle, cases, schema
from bondstone.promise.inputs import MAX_INPUT_BYTES, MAX_INPUT_DEPTH
from tools.docstrings import cell, field_texts

PAGE = "docs/reference/promise.md"

HEAD = """# promise.yaml

A promise is one folder: `promise.yaml`, and beside it what its steps use (`terraform/<module>/`, `policies/*.rego`) and
its tests (`tests/*.yaml`). How to write one: [the tutorial](../tutorial.md) and
[write a promise](../how-to/write-a-promise.md). An unknown key is an error, with a "did you mean".

A *duration* is written `90s`, `30m`, `1h30m` or `7d`, up to a year. A *template* is any value whose texts may hold
`${…}`; an *expression* is CEL, written bare or as one `${…}`.

"""

SEEN = """## What expressions see

| name | type | where |
|---|---|---|
| `inputs.<name>`, `inputs.<object>.<name>` | as the schema says; null when it was not given (or given as null) and has no default | everywhere |
| `service.team`, `service.name` | string | everywhere |
| `service.labels` | map of strings | everywhere but `when` and `pool` |
| `context.operation` | string: `provision`, `update`, … | everywhere but `when` and `pool` |
| `steps.<id>.outputs.<name>` | as the module gives it, else `dyn` | sections of steps that need that step, `spec.outputs`, health |
| `outputs.<name>` | as `spec.outputs` says | probes: `spec.health`, `patch.health`, `upgrade.health` |
| `plan.changes` | list of maps with `action` (`create`, `update`, `replace`, `delete`, `forget`, `move`, `import`), `address`, `type`, `moved_from`, `import_id` | `spec.approval[].when` |

`when` and `pool` see neither labels nor the outputs of steps, so that the same steps are found again when the service
is taken down. `upgrade.inputs` sees the inputs of the revision the service comes from, under `inputs.`.

A text that is exactly one `${…}` keeps the type of the value; otherwise the parts are joined as text, and null, lists
and maps cannot be joined. `$${` is a literal `${`.

## Inputs

`spec.inputs` is JSON Schema 2020-12. Defaults are filled in before the schema is asked. A property with
`writeOnly: true` is a secret: clients send it to the secret store and the request carries a reference
(`{"$secret": "…"}`); it never enters a history, a log, a listing or a message. References in the schema may only point
into the schema itself (`#/$defs/…`).

"""

TESTS = """## Test cases

`tests/*.yaml`, each file one case or a list of them; `bond promise test DIR` runs them with the real tools, with no
platform and no service. What a case does not mention is not looked at, except that nothing may be denied unless the
case expects it.

"""

LIMITS = f"""## Limits

| what | at most |
|---|---|
| files, size of a promise | {bundle.MAX_FILES}, {bundle.MAX_BUNDLE_BYTES >> 20} MiB |
| size, depth, nodes of one YAML file | {yaml_places.MAX_BYTES >> 10} KiB, {yaml_places.MAX_DEPTH}, {yaml_places.MAX_NODES:,} |
| steps | 100 |
| expressions, length of one | {MAX_EXPRESSIONS}, {MAX_EXPRESSION:,} characters |
| depth of the schema | {schema.MAX_SCHEMA_DEPTH} |
| inputs of a request | {MAX_INPUT_BYTES >> 10} KiB, {MAX_INPUT_DEPTH} deep |
| policy modules, size of one, of all | {MAX_MODULES}, {MAX_MODULE_BYTES >> 10} KiB, {MAX_TOTAL_BYTES >> 20} MiB |
| test cases | {cases.MAX_CASES} |

These names are never part of a revision: {", ".join(f"`{name}`" for name in bundle.IGNORED)}.
"""

SECTIONS: list[tuple[str, type[BaseModel], str]] = [
    ("The manifest", promise.Promise, ""),
    ("metadata", promise.Metadata, ""),
    ("spec", promise.PromiseSpec, ""),
    ("spec.outputs.NAME", promise.OutputSpec, ""),
    ("spec.steps[]", promise.Step, "Beside these, each step has exactly one section named after its executor."),
    ("spec.steps[].terraform", TerraformSection, ""),
    ("spec.steps[].helm", HelmSection, "What it does: [Helm steps](helm.md)."),
    ("spec.steps[].helm.outputs.NAME", ObjectOutput, ""),
    ("spec.steps[].kubernetes", KubernetesSection, "What it does: [Kubernetes steps](kubernetes.md)."),
    ("spec.steps[].kubernetes.wait[]", Wait, "One of `condition` and `path`."),
    ("spec.steps[].kubernetes.outputs.NAME", ObjectOutput, ""),
    ("spec.steps[].ansible", AnsibleSection, "What it does: [Ansible steps](ansible.md)."),
    ("spec.steps[].ansible.outputs.NAME", AnsibleOutput, ""),
    ("spec.steps[].container", ContainerSection, "What it does: [Container steps](container.md)."),
    ("spec.steps[].container.outputs.NAME", ContainerOutput, ""),
    ("spec.approval[]", promise.ApprovalRule, ""),
    ("spec.health[]", promise.Probe, "Exactly one of `http`, `tcp` and `expression`. All probes must pass."),
    ("spec.patch", promise.PatchSpec, ""),
    ("spec.upgrade", promise.UpgradeSpec, "As `patch`, and:"),
    ("spec.decommission", promise.DecommissionSpec, ""),
    ("spec.reconcile", promise.ReconcileSpec, ""),
    (
        "spec.requires[]",
        promise.Requirement,
        "[Make a service of services](../how-to/write-a-promise.md#make-a-service-of-services).",
    ),
]

CASES: list[tuple[str, type[BaseModel], str]] = [
    ("A case", cases.Case, ""),
    ("given", cases.Given, ""),
    ("expect", cases.Expect, ""),
    ("expect.steps.ID", cases.ExpectedStep, ""),
    ("expect.decision", cases.ExpectedDecision, ""),
    ("expect.outputs.NAME", cases.ExpectedOutput, "Or simply the value itself."),
    ("expect.refused", cases.ExpectedRefusal, ""),
]

_SCALARS = {str: "text", int: "number", bool: "true or false", float: "number", Any: "any"}
_FORMS = {"Duration": "duration", "SemVer": "version", "VersionRange": "range of versions", "Name": "name"}
_FORMS |= {"tuple[Name, ...]": "list of step ids", "tuple[Probe, ...]": "list of probes"}
_FORMS |= {"Amount": "amount", "Goal": "version", "tuple[ServiceName, ...]": "list of `TEAM/NAME`"}
_HIDDEN = {("Step", "executor"), ("Step", "section")}


def text() -> str:
    """The whole page."""
    manifest = "\n".join(section_text(*section) for section in SECTIONS)
    tests = "\n".join(section_text(*section) for section in CASES)
    return HEAD + manifest + "\n" + SEEN + TESTS + tests + "\n" + LIMITS


def section_text(title: str, model: type[BaseModel], remark: str) -> str:
    """A heading, a remark, and a table of the keys of a model."""
    texts = field_texts(model)
    inherited = set(promise.PatchSpec.model_fields) if model is promise.UpgradeSpec else set()
    rows = [
        f"| `{field.alias or name}` | {_written(model, name) or _type(field.annotation)} | {_default(field)} | {cell(texts.get(name, ''))} |"
        for name, field in model.model_fields.items()
        if name not in inherited and (model.__name__, name) not in _HIDDEN
    ]
    lines = [f"### {title}", ""]
    if remark:
        lines += [remark, ""]
    lines += ["| key | type | default | what it is |", "|---|---|---|---|", *rows, ""]
    return "\n".join(lines)


def _written(model: type[BaseModel], name: str) -> str:
    """The word for a type that is a text of a certain form."""
    annotation = next(str(kind.__annotations__[name]) for kind in model.__mro__ if name in kind.__annotations__)
    return _FORMS.get(annotation.removesuffix(" | None"), "")


def _default(field: Any) -> str:
    default = field.default
    if default is PydanticUndefined:
        return "needed"
    if default is None or default in ("", (), {}):
        return ""
    if isinstance(default, BaseModel):
        return ""
    if isinstance(default, dict):
        return "no inputs"
    return f"`{str(default).lower() if isinstance(default, bool) else default}`"


def _type(annotation: Any) -> str:  # noqa: PLR0911 - one kind a line reads best
    origin = typing.get_origin(annotation)
    arguments = [argument for argument in typing.get_args(annotation) if argument not in {type(None), ...}]
    if origin is Annotated:
        return _type(arguments[0])
    if origin is typing.Literal:
        return ", ".join(f"`{argument}`" for argument in arguments)
    if origin is tuple:
        return f"list of {_type(arguments[0])}"
    if origin is dict:
        return "mapping"
    if origin in {types.UnionType, typing.Union}:
        return " or ".join(dict.fromkeys(_type(argument) for argument in arguments))
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return "mapping"
    return _SCALARS.get(annotation, str(annotation))
