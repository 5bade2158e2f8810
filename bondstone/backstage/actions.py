"""What Backstage's templates and agents call: each action one or two requests to the API, in the person's name.

Backstage shows nothing of an error status but its number. So what the platform refuses is answered as `problem`,
which a template logs before it fails.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from bondstone.backstage.entities import Places, entity_name
from bondstone.base.errors import BondError, InvalidInput, OperationFailed
from bondstone.base.names import NAME_PATTERN
from bondstone.client.documents.service import OperationDocument, ServiceDocument
from bondstone.client.explanation import ReadingTime, explain_operation, explain_service
from bondstone.client.http.transport import Transport, operation_path, service_path

PLUGIN: Final = "bondstone"
WAIT_SECONDS: Final = 240
"""Backstage gives a call 300 s."""
POLL_SECONDS: Final = 30
MAX_SERVICES: Final = 100

Text = Annotated[str, Field(max_length=2000)]


class _Input(BaseModel):
    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)


class RequestInput(_Input):
    """A service that is requested."""

    promise: str = Field(pattern=NAME_PATTERN)
    team: Text
    """Name of the team, or the reference of its group"""
    name: str = Field(pattern=NAME_PATTERN)
    inputs: dict[str, Any] | Literal[""] = {}
    secrets: dict[str, str | None] = {}
    """Secret inputs by their dotted path; those that are empty are left out"""
    version: Text = ""
    reason: Text = ""
    request_id: Text = ""
    """The same id again is the same operation"""


class OperateInput(_Input):
    """A service that is to be changed."""

    service: Text
    """TEAM/NAME, or the reference of its entity"""
    verb: Literal["update", "patch", "upgrade", "rollback", "reconcile", "retry", "decommission"]
    inputs: dict[str, Any] | Literal[""] = {}
    secrets: dict[str, str | None] = {}
    to: Text = ""
    """Version; empty for the newest that fits"""
    reason: Text = ""
    request_id: Text = ""


class NamedOperation(_Input):
    """An operation."""

    operation: str = Field(max_length=120)
    """TEAM/NAME/op/N"""


class ServiceInput(_Input):
    """A service."""

    service: Text
    """TEAM/NAME, or the reference of its entity"""


class ListInput(_Input):
    """Which services."""

    team: Annotated[str, Field(max_length=48)] = ""
    promise: Annotated[str, Field(max_length=48)] = ""


class FailInput(_Input):
    """Why a template fails."""

    problem: Text = ""


class NoInput(_Input):
    """Nothing."""


class ActionOutput(BaseModel):
    """What every action answers."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    problem: str = ""
    """Why it was refused; empty when it was not"""
    words: str = ""
    """What became of it, in a sentence"""
    operation: str = ""
    """TEAM/NAME/op/N"""
    service: str = ""
    entity: str = ""
    """Reference of the service's entity in the catalog"""
    console: str = ""
    """Where to look"""
    status: str = ""
    ended: bool = False
    data: Any = None


@dataclass(frozen=True, slots=True)
class Call:
    """One call of an action.

    Args:
        http: The API in the caller's name.
        places: For links.
    """

    http: Transport
    places: Places


@dataclass(frozen=True, slots=True)
class Action:
    """One action."""

    name: str
    title: str
    description: str
    takes: type[_Input]
    carry_out: Callable[[Call, Any], Awaitable[ActionOutput]]
    read_only: bool = False
    destructive: bool = False

    def document(self) -> dict[str, Any]:
        """As Backstage lists it."""
        return {
            "id": f"{PLUGIN}:{self.name}",
            "name": self.name,
            "title": self.title,
            "description": self.description,
            "pluginId": PLUGIN,
            "attributes": {"readOnly": self.read_only, "destructive": self.destructive, "idempotent": True},
            "schema": {
                "input": self.takes.model_json_schema(),
                "output": ActionOutput.model_json_schema(mode="serialization"),
            },
        }


async def _request(call: Call, wanted: RequestInput) -> ActionOutput:
    service = f"{_team(wanted.team, call.places)}/{wanted.name}"
    body = {
        "promise": wanted.promise,
        "service": service,
        "inputs": with_secrets(wanted.inputs or {}, wanted.secrets),
        "version": wanted.version,
        "reason": wanted.reason,
    }
    return _accepted(call, await call.http.post("/services", body, key=_key(wanted.request_id)))


async def _operate(call: Call, wanted: OperateInput) -> ActionOutput:
    service = await _service(call, wanted.service)
    body: dict[str, Any] = {"reason": wanted.reason}
    if wanted.verb == "update":
        body["inputs"] = with_secrets(_entered(wanted.inputs or {}), wanted.secrets)
    elif wanted.verb in {"patch", "upgrade"}:
        body["to"] = wanted.to
    elif wanted.verb == "reconcile":
        body["repair"] = True
    answer = await call.http.post(service_path(service, wanted.verb), body, key=_key(wanted.request_id))
    return _accepted(call, answer)


async def _wait(call: Call, wanted: NamedOperation) -> ActionOutput:
    deadline = time.monotonic() + WAIT_SECONDS
    while True:
        left = deadline - time.monotonic()
        query = {"wait": max(1, min(POLL_SECONDS, int(left)))}
        document = OperationDocument.model_validate(await call.http.get(operation_path(wanted.operation), query))
        if document.status.ended or document.status == "awaiting-approval" or left < POLL_SECONDS:
            break
    words = f"{document.id} {explain_operation(document, ReadingTime())}"
    failed = document.status.ended and document.status != "succeeded"
    return _of(call, document, words=words, problem=words if failed else "")


async def _list_promises(call: Call, _given: NoInput) -> ActionOutput:
    rows = await call.http.get("/promises")
    return ActionOutput(words=f"{len(rows)} promises", data=rows)


async def _list_services(call: Call, wanted: ListInput) -> ActionOutput:
    page = await call.http.get(
        "/services", {"team": wanted.team, "promise": wanted.promise, "limit": MAX_SERVICES}
    )
    return ActionOutput(
        words=f"{len(page['items'])} services{', and more' if page['next'] else ''}", data=page["items"]
    )


async def _explain(call: Call, wanted: ServiceInput) -> ActionOutput:
    service = await _service(call, wanted.service)
    document = ServiceDocument.model_validate(await call.http.get(service_path(service)))
    return ActionOutput(
        words=f"{service} {explain_service(document, ReadingTime())}",
        service=service,
        entity=_entity(service),
        console=call.places.console(f"/services/{service}"),
        status=document.phase,
    )


async def _fail(_call: Call, wanted: FailInput) -> ActionOutput:
    raise OperationFailed(wanted.problem or "the template was refused")


ACTIONS: Final[Mapping[str, Action]] = {
    action.name: action
    for action in (
        Action("request-service", "Request a service", "Requests a service of a promise.", RequestInput, _request),
        Action(
            "operate", "Change a service", "Updates, patches, upgrades, rolls back, repairs, retries or "
            "decommissions a service.", OperateInput, _operate, destructive=True,
        ),
        Action(
            "wait-operation", "Wait for an operation",
            "Waits until an operation has ended or waits for an approval, at most four minutes.",
            NamedOperation, _wait, read_only=True,
        ),
        Action(
            "list-promises", "List promises", "Lists what the platform offers.", NoInput, _list_promises,
            read_only=True,
        ),
        Action(
            "list-services", "List services", "Lists services with their phase.", ListInput, _list_services,
            read_only=True,
        ),
        Action(
            "explain-service", "Explain a service", "Says why a service stands where it stands.", ServiceInput,
            _explain, read_only=True,
        ),
        Action("fail", "Fail a template", "Fails; the words are in the log.", FailInput, _fail, read_only=True),
    )
}  # fmt: skip


async def invoke(action: Action, call: Call, body: Any) -> dict[str, Any]:
    """What an action answers, refusals as `problem`.

    Args:
        action: Which.
        call: In whose name.
        body: Its input, as JSON.

    Raises:
        OperationFailed: the action is there to fail.
    """
    try:
        taken = action.takes.model_validate(body)
    except ValidationError as error:
        problems = "; ".join(f"{'.'.join(map(str, item['loc']))}: {item['msg']}" for item in error.errors()[:20])
        return ActionOutput(problem=f"INVALID_INPUT: {problems}").model_dump(mode="json")
    try:
        return (await action.carry_out(call, taken)).model_dump(mode="json")
    except OperationFailed:
        if action.name == "fail":
            raise
        return ActionOutput(problem="the operation failed").model_dump(mode="json")
    except BondError as error:
        return ActionOutput(problem=problem_words(error)).model_dump(mode="json")


def problem_words(error: BondError) -> str:
    """A refusal in one text."""
    lines = [f"{error.code}: {error.message}", *(f"- {each.message}" for each in error.problems[:20])]
    lines += [f"what to do: {error.hint}"] if error.hint else []
    return "\n".join(lines)[:2000]


def with_secrets(inputs: Mapping[str, Any], secrets: Mapping[str, str | None]) -> dict[str, Any]:
    """Inputs with secrets in their places.

    Args:
        inputs: What is no secret.
        secrets: By dotted path; empty ones are left out.

    Raises:
        InvalidInput: the place of one is taken by something else.
    """
    result = _copied(inputs)
    for path, value in secrets.items():
        if not value:
            continue
        *parents, last = path.split(".")
        place = result
        for parent in parents:
            below = place.setdefault(parent, {})
            if not isinstance(below, dict):
                raise InvalidInput(f"{path} cannot be where {parent} is no object")
            place = below
        place[last] = value
    return result


def _copied(value: Mapping[str, Any]) -> dict[str, Any]:
    return {key: _copied(each) if isinstance(each, Mapping) else each for key, each in value.items()}


def _entered(value: Mapping[str, Any]) -> dict[str, Any]:
    """What was entered into a form where everything may be left out: empty objects and lists say nothing."""
    result = {key: _entered(each) if isinstance(each, Mapping) else each for key, each in value.items()}
    return {key: each for key, each in result.items() if each not in ({}, [])}


def _accepted(call: Call, answer: Any) -> ActionOutput:
    document = OperationDocument.model_validate(answer)
    return _of(call, document, words=f"{document.id} was accepted")


def _of(call: Call, document: OperationDocument, *, words: str = "", problem: str = "") -> ActionOutput:
    return ActionOutput(
        words=words,
        problem=problem,
        operation=document.id,
        service=document.service,
        entity=_entity(document.service),
        console=call.places.console(f"/services/{document.service}"),
        status=document.status,
        ended=document.status.ended,
    )


def _entity(service: str) -> str:
    return f"resource:default/{entity_name(*service.split('/'))}"


def _team(text: str, places: Places) -> str:
    """The team that a form names, by itself or by its group.

    Raises:
        InvalidInput: the group stands for no team.
    """
    if ":" not in text and "/" not in text:
        return text
    kind, _, rest = text.partition(":")
    name = rest.rpartition("/")[2]
    before, _, after = places.settings.team.partition("{team}")
    if kind.lower() != "group" or not (name.startswith(before) and name.endswith(after)):
        raise InvalidInput(f"{text!r} stands for no team", hint="choose the group of a team")
    return name[len(before) : len(name) - len(after)]


async def _service(call: Call, text: str) -> str:
    """The service that a form names, by itself or by its entity.

    Raises:
        InvalidInput: there is no such service.
    """
    if not text.lower().startswith("resource:"):
        return text
    name = text.rpartition("/")[2]
    if "_" not in name and name.count(".") == 1:
        return name.replace(".", "/")
    page = await call.http.get("/services", {"where": f"name.startsWith('{name.partition('.')[2][:8]}')"})
    for row in page["items"]:
        if entity_name(row["team"], row["name"]) == name:
            return str(row["id"])
    raise InvalidInput(f"{text!r} is not a service", hint="enter TEAM/NAME")


def _key(request_id: str) -> str:
    return f"backstage-{request_id}" if request_id else ""
