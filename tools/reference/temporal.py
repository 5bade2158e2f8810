"""The page of everything that a client of Temporal alone may use: from the workflows, the models and the names."""

from __future__ import annotations

import inspect
import json
import typing
from collections.abc import Iterator
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from pydantic import BaseModel
from temporalio import workflow

from bondstone.base import names
from bondstone.model.campaign.run import CampaignInput, LedgerBatch
from bondstone.model.ledger import LedgerRecord
from bondstone.model.service import OperationResult
from bondstone.workflows import served
from bondstone.workflows.campaign.workflow import Campaign
from bondstone.workflows.operations import Provision
from bondstone.workflows.service import Service
from tools.docstrings import cell, field_texts

PAGE = "docs/reference/temporal.md"

_EXAMPLE = datetime(2026, 11, 29, 1, tzinfo=UTC)

ALSO: tuple[type[BaseModel], ...] = (OperationResult, LedgerRecord, CampaignInput, LedgerBatch)
"""Messages that no update or query names: how campaigns begin and operations end, and what the ledgers hold."""

AFTER_WORKFLOWS = f"""
A service's workflow continues as new after some operations; ask for it by its id, without a run id. It is started
with `{{"service": {{"team": "TEAM", "name": "NAME"}}}}`, and fails when its only request was refused. A campaign's workflow
is started with a `CampaignInput` and continues as new every few hundred targets.

A schedule is a Temporal Schedule with the id `{names.schedule_id("NAME")}`. Temporal adds the time of a run to that, as in
`{names.schedule_id("NAME")}-2026-11-29T01:00:00Z`: the id of a `ScheduledCampaign`. The campaign that it starts is called
`{names.scheduled_campaign("NAME", _EXAMPLE)}`, by the time it was due in UTC, with seconds where there are any.

## Updates, queries and signals
"""

FAILURES = """
## Failures

The *type* of a failure is a stable [error code](errors.md); its message is for people, and its first detail is the
whole error as JSON. A failed operation carries its `OperationResult` as the second detail.

## Messages
"""

HEAD = """# Temporal: names and messages

Bondstone is built on Temporal and hides none of it. What stands here is stable: anyone with only a Temporal client
can use it, in any language. [With only the `temporal` CLI](../how-to/with-only-the-temporal-cli.md) shows how.

Every message is one JSON object with the encoding `json/plain`. Fields are only ever added, each with a default;
unknown ones are ignored. A secret is a reference, `{"$secret": "KEY"}`: store the value first (`bond` and the
Python client do), because what is sent stays in a history.

## Workflows

| id | type | what it is |
|---|---|---|
"""


_PLAIN = {
    str: "text",
    bool: "true or false",
    int: "integer",
    float: "number",
    datetime: "time",
    None: "null",
    type(None): "null",
}


def text() -> str:
    """The whole page."""
    parts = [HEAD, *_workflows(), AFTER_WORKFLOWS, *_handlers()]
    parts += ["\n## Task queues\n\n| queue | who polls it |\n|---|---|\n"]
    parts += [f"| `{names.CONTROL_QUEUE}` | control workers: workflows and cheap activities |\n"]
    parts += [
        f"| `{names.pool_queue('NAME')}` | executor workers of the pool NAME; `{names.DEFAULT_POOL}` is one |\n"
    ]
    parts += ["\n## Activities\n\n| name | queue |\n|---|---|\n", *_activities()]
    parts += ["\n## Search attributes\n\n| name | type | on |\n|---|---|---|\n", *_search_attributes(), FAILURES]
    parts += [line for kind in _kinds() for line in (_model(kind) if issubclass(kind, BaseModel) else _enum(kind))]
    return "".join(parts)


def _workflows() -> Iterator[str]:
    for kind in served.ALL:
        pattern = names.service_workflow_id("TEAM", "NAME")
        patterns = {
            names.SERVICE_WORKFLOW: pattern,
            names.CAMPAIGN_WORKFLOW: names.campaign_workflow_id("NAME"),
            names.SCHEDULED_CAMPAIGN_WORKFLOW: f"{names.schedule_id('NAME')}-TIME",
        }
        workflow_type = str(workflow._Definition.must_from_class(kind).name)  # noqa: SLF001 - as below
        where = patterns.get(workflow_type, f"{pattern}/op/N")
        yield f"| `{where}` | `{workflow_type}` | {_first_line(inspect.getdoc(kind))} |\n"


def _handlers() -> Iterator[str]:
    for title, kind in (
        ("Of a service", Service),
        ("Of an operation", Provision),
        ("Of a campaign", Campaign),
    ):
        yield f"\n### {title}\n\n| name | | takes | answers | |\n|---|---|---|---|---|\n"
        for sort, name, function in sorted(
            _defined(kind), key=lambda handler: (handler[0] != "update", handler[:2])
        ):
            hints = typing.get_type_hints(function)
            result = _type(hints.pop("return", None))
            takes = ", ".join(_type(hint) for hint in hints.values())
            yield f"| `{name}` | {sort} | {takes} | {result} | {_first_line(inspect.getdoc(function))} |\n"


def _defined(kind: type) -> Iterator[tuple[str, str, Any]]:
    """Sort, name and function of each handler, as the SDK registers it."""
    definition = workflow._Definition.must_from_class(kind)  # noqa: SLF001 - the SDK has no public way to ask
    for sort, handlers in (
        ("update", definition.updates),
        ("query", definition.queries),
        ("signal", definition.signals),
    ):
        for name, handler in handlers.items():
            if name:
                yield sort, name, handler.fn


def _activities() -> Iterator[str]:
    control = [
        value for key, value in vars(names).items() if isinstance(value, str) and "." in value and key.isupper()
    ]
    yield from (
        f"| `{name}` | `{names.CONTROL_QUEUE}` |\n" for name in control if not name.startswith(("^", "bond"))
    )
    yield from (
        f"| `{names.executor_activity('EXECUTOR', verb)}`, as in `{names.executor_activity('terraform', verb)}` "
        f"| `{names.pool_queue('NAME')}` |\n"
        for verb in names.EXECUTOR_VERBS
    )


def _search_attributes() -> Iterator[str]:
    operations = {names.SA_TEAM, names.SA_SERVICE, names.SA_PROMISE, names.SA_REVISION, names.SA_OPERATION}
    operations |= {names.SA_PHASE, names.SA_CAMPAIGN}
    campaigns = {names.SA_TEAM, names.SA_PROMISE, names.SA_REVISION, names.SA_PHASE, names.SA_CAMPAIGN}
    for name, kind in names.SEARCH_ATTRIBUTES.items():
        on = ["services"] if name != names.SA_CAMPAIGN else []
        on += ["operations"] if name in operations else []
        on += ["campaigns"] if name in campaigns else []
        form = " `key=value`" if name == names.SA_LABELS else ""
        yield f"| `{name}` | {kind}{form} | {', '.join(on)} |\n"


def _kinds() -> list[type]:
    """Every model and enumeration that a client meets, by name."""
    kinds: dict[str, type] = {}
    waiting: list[Any] = [*ALSO]
    for kind in served.ALL:
        for _, _, function in _defined(kind):
            waiting += typing.get_type_hints(function).values()
    while waiting:
        hint = waiting.pop()
        waiting += typing.get_args(hint)
        if isinstance(hint, type) and issubclass(hint, BaseModel | StrEnum) and hint.__name__ not in kinds:
            kinds[hint.__name__] = hint
            waiting += typing.get_type_hints(hint).values() if issubclass(hint, BaseModel) else ()
    return [kinds[name] for name in sorted(kinds)]


def _enum(kind: type[Any]) -> Iterator[str]:
    yield f"\n### {kind.__name__}\n\n{_first_line(inspect.getdoc(kind))}\n\n"
    yield ", ".join(f"`{item.value}`" for item in kind) + "\n"


def _model(model: type[BaseModel]) -> Iterator[str]:
    yield f"\n### {model.__name__}\n\n{_first_line(inspect.getdoc(model))}\n\n"
    yield "| field | type | default | |\n|---|---|---|---|\n"
    texts = field_texts(model)
    hints = typing.get_type_hints(model)
    for name, field in model.model_fields.items():
        default = "required" if field.is_required() else f"`{_default(field.default)}`"
        yield f"| `{field.alias or name}` | {_type(hints[name])} | {default} | {cell(texts.get(name, ''))} |\n"


def _default(value: Any) -> str:
    return json.dumps("…" if isinstance(value, BaseModel) else value).replace('"\\u2026"', "{…}")


def _type(hint: Any) -> str:
    """A type in words of JSON; models and enumerations as links."""
    if isinstance(hint, type) and issubclass(hint, BaseModel | StrEnum):
        return f"[{hint.__name__}](#{hint.__name__.lower()})"
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Literal:
        return " or ".join(f"`{getattr(item, 'value', item)}`" for item in arguments)
    if origin in {tuple, list}:
        return f"list of {_type(arguments[0])}"
    if origin is dict:
        return f"map to {_type(arguments[1])}"
    if arguments:
        return " or ".join(_type(item) for item in arguments)
    return _PLAIN.get(hint, "anything")


def _first_line(documentation: str | None) -> str:
    return cell((documentation or "").split("\n\n")[0])
