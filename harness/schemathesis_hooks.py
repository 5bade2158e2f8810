"""What Schemathesis is told about us, loaded by it in its own environment: uploads, and what follows an answer."""

from __future__ import annotations

from typing import Any, Final

import schemathesis  # type: ignore[import-not-found] # of the environment that `make schemathesis` makes

_TEAM: Final = "#regex:^([^/]+)/"
_NAME: Final = "#regex:^[^/]+/([^/]+)"
_NUMBER: Final = "#regex:/op/([0-9]+)$"
_METHODS: Final = ("get", "post", "put", "delete")

OF_SERVICES: Final = (
    "show_service", "show_outputs", "show_history", "list_archive", "update_service", "patch_service",
    "upgrade_service", "rollback_service", "reconcile_service", "retry_service", "cancel_service", "pause_service",
    "resume_service", "label_service", "decommission_service", "abandon_service", "pull_state", "show_state_log",
)  # fmt: skip
OF_OPERATIONS: Final = ("show_operation", "show_plans", "list_logs", "cancel_operation")
VOTES: Final = ("approve_plan", "reject_plan")
OF_CAMPAIGNS: Final = (
    "show_campaign", "report_campaign", "pause_campaign", "resume_campaign", "skip_target", "set_concurrency",
    "next_wave", "retry_campaign", "rollback_campaign", "abort_campaign",
)  # fmt: skip
OF_SCHEDULES: Final = (
    "show_schedule", "show_schedule_history", "update_schedule", "pause_schedule", "resume_schedule",
    "trigger_schedule", "backfill_schedule", "delete_schedule",
)  # fmt: skip
OF_FREEZES: Final = ("show_freeze", "update_freeze", "delete_freeze")
OF_SUBSCRIPTIONS: Final = ("test_subscription", "retry_delivery", "delete_subscription")

CAMPAIGN: Final = """apiVersion: bondstone.dev/v1
kind: Campaign
metadata: {name: NAME, reason: "random requests", owner: payments}
spec:
  operation: reconcile
  promise: queue
  select: {where: "team == 'payments'"}
  waves: [{name: every, rest: true}]
"""


@schemathesis.serializer("application/gzip", "application/x-tar")  # type: ignore[untyped-decorator] # has no types here
def upload(_context: Any, value: Any) -> bytes:
    """The body of an upload."""
    return value if isinstance(value, bytes) else str(value).encode()


@schemathesis.hook  # type: ignore[untyped-decorator] # as above
def before_load_schema(_context: Any, raw_schema: dict[str, Any]) -> None:
    """Say which requests follow from which answer: the description itself names no links.

    OpenAPI's own expressions cannot take `payments/orders/op/1` apart; those of Schemathesis can.
    """
    operations = {
        item[method]["operationId"]: item[method]
        for item in raw_schema["paths"].values()
        for method in _METHODS
        if method in item
    }
    for source, status, links in _links(operations):
        operations[source]["responses"][status].setdefault("links", {}).update(links)


@schemathesis.hook  # type: ignore[untyped-decorator] # as above
def before_call(_context: Any, case: Any, _kwargs: Any) -> None:
    """Have chains of requests begin with something that is accepted: a random body hardly ever is."""
    meta = case.meta
    if meta is None or meta.phase.name.value != "stateful" or not meta.generation.mode.is_positive:
        return
    match case.operation.definition.raw["operationId"]:
        case "request_service":
            ask = case.body.get("ask") is True
            name = "".join(each for each in str(case.body.get("service", "")) if "a" <= each <= "z")[-20:] or "any"
            case.body = {"promise": "queue", "service": f"payments/{name}", "ask": ask}
        case "run_campaign":
            case.body = {"source": CAMPAIGN, "name": case.body.get("name") or "drift"}


def _links(operations: dict[str, Any]) -> list[tuple[str, str, dict[str, Any]]]:
    accepted = [name for name, each in operations.items() if _answers(each, "202") == "AcceptedDocument"]
    service = {"team": f"$response.body#/id{_TEAM}", "name": f"$response.body#/id{_NAME}"}
    operation = {**service, "number": f"$response.body#/id{_NUMBER}"}
    first = {"team": f"$response.body#/items/0/id{_TEAM}", "name": f"$response.body#/items/0/id{_NAME}"}
    waiting = {
        "team": f"$response.body#/0/operation{_TEAM}",
        "name": f"$response.body#/0/operation{_NAME}",
        "number": f"$response.body#/0/operation{_NUMBER}",
    }
    by_name = {"name": "$response.body#/name"}
    vote = {"digest": "$response.body#/approvals/0/digest"}
    return [
        *((name, "202", {**_each(OF_SERVICES, service), **_each(OF_OPERATIONS, operation)}) for name in accepted),
        ("list_services", "200", _each(OF_SERVICES, first)),
        ("show_operation", "200", {**_each(VOTES, operation, vote), **_each(OF_SERVICES, service)}),
        ("list_approvals", "200", _each(VOTES, waiting, {"digest": "$response.body#/0/digest"})),
        ("run_campaign", "201", _each(OF_CAMPAIGNS, by_name)),
        ("create_schedule", "201", _each(OF_SCHEDULES, by_name)),
        ("create_freeze", "201", _each(OF_FREEZES, by_name)),
        ("create_subscription", "201", _each(OF_SUBSCRIPTIONS, by_name)),
        ("create_token", "201", _each(("revoke_token",), {"token": "$response.body#/name"})),
    ]


def _answers(operation: dict[str, Any], status: str) -> str:
    content = operation["responses"].get(status, {}).get("content", {}).get("application/json", {})
    return str(content.get("schema", {}).get("$ref", "")).rpartition("/")[2]


def _each(
    names: tuple[str, ...], parameters: dict[str, str], body: dict[str, str] | None = None
) -> dict[str, Any]:
    more = {"requestBody": body} if body else {}
    return {f"then_{name}": {"operationId": name, "parameters": parameters, **more} for name in names}
