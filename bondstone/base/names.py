"""The one place for every name that Bondstone and the outside agree on.

Workflow ids and types, update, signal and query names, task queues, activity names, search attributes and
the names people may choose. All of it is documented in `docs/reference/temporal.md` and stable: anyone with
only a Temporal client can use them.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Final

from bondstone.base.errors import InvalidInput

# What people choose ------------------------------------------------------------------------------------

NAME_PATTERN: Final = r"^[a-z]([a-z0-9-]{0,46}[a-z0-9])?$"
"""Teams, services, promises and steps: a DNS label of at most 48 characters, starting with a letter."""

SERVICE_PATTERN: Final = r"^[a-z]([a-z0-9-]{0,46}[a-z0-9])?/[a-z]([a-z0-9-]{0,46}[a-z0-9])?$"
"""Of a service's id, `TEAM/NAME`."""
POOL_PATTERN: Final = NAME_PATTERN
LABEL_KEY_PATTERN: Final = r"^[a-z]([a-z0-9._/-]{0,61}[a-z0-9])?$"
REQUEST_ID_PATTERN: Final = r"^[A-Za-z0-9][A-Za-z0-9._:/-]{0,127}$"

RESERVED_TEAM: Final = "campaign"
"""No team of a new service: `campaign/NAME` is a campaign, in the ledger and in addresses."""

_NAME = re.compile(NAME_PATTERN)


def check_name(kind: str, value: str) -> str:
    """Return `value` when it may name a `kind` (team, service, …), else raise `InvalidInput` in words."""
    if _NAME.fullmatch(value):
        return value
    raise InvalidInput(
        f"{value!r} cannot name a {kind}",
        hint="use 1 to 48 of a-z, 0-9 and '-', starting with a letter and not ending with '-'",
    )


def parse_service(text: str) -> tuple[str, str]:
    """Split `TEAM/NAME`; raises `InvalidInput` when it is not that."""
    team, slash, name = text.partition("/")
    if not slash or "/" in name:
        raise InvalidInput(f"{text!r} is not a service", hint="write TEAM/NAME, as in payments/orders-db")
    return check_name("team", team), check_name("service", name)


def parse_operation(text: str) -> tuple[str, str, int]:
    """Split `TEAM/NAME/op/N`; raises `InvalidInput` when it is not that."""
    match text.split("/"):
        case [team, name, "op", number] if number.isascii() and number.isdigit() and int(number) > 0:
            return check_name("team", team), check_name("service", name), int(number)
    raise InvalidInput(f"{text!r} is not an operation", hint="write TEAM/NAME/op/N, as in payments/orders-db/op/7")


# Workflows ---------------------------------------------------------------------------------------------

SERVICE_WORKFLOW: Final = "Service"
PROVISION_WORKFLOW: Final = "Provision"
UPDATE_WORKFLOW: Final = "Update"
PATCH_WORKFLOW: Final = "Patch"
UPGRADE_WORKFLOW: Final = "Upgrade"
ROLLBACK_WORKFLOW: Final = "Rollback"
RECONCILE_WORKFLOW: Final = "Reconcile"
DECOMMISSION_WORKFLOW: Final = "Decommission"
CAMPAIGN_WORKFLOW: Final = "Campaign"
SCHEDULED_CAMPAIGN_WORKFLOW: Final = "ScheduledCampaign"
NOTIFICATION_WORKFLOW: Final = "Notification"

OPERATION_WORKFLOWS: Final = {
    "provision": PROVISION_WORKFLOW,
    "update": UPDATE_WORKFLOW,
    "patch": PATCH_WORKFLOW,
    "upgrade": UPGRADE_WORKFLOW,
    "rollback": ROLLBACK_WORKFLOW,
    "reconcile": RECONCILE_WORKFLOW,
    "decommission": DECOMMISSION_WORKFLOW,
}
"""Workflow type by operation kind."""


def service_workflow_id(team: str, name: str) -> str:
    """The workflow id of a service: `service/<team>/<name>`."""
    return f"service/{team}/{name}"


def operation_workflow_id(team: str, name: str, number: int) -> str:
    """The workflow id of an operation: `service/<team>/<name>/op/<n>`."""
    return f"service/{team}/{name}/op/{number}"


def campaign_workflow_id(name: str) -> str:
    """The workflow id of a campaign: `campaign/<name>`."""
    return f"{_CAMPAIGN}{name}"


def campaign_of(workflow_id: str) -> str:
    """The name of a campaign, from its workflow id; a schedule's runs have the time in it."""
    return workflow_id.removeprefix(_CAMPAIGN)


def schedule_id(name: str) -> str:
    """The id of a schedule in Temporal: `schedule/<name>`; its runs have the time after it."""
    return f"{_SCHEDULE}{name}"


def schedule_of(schedule_id: str) -> str:
    """The name of a schedule, from its id; empty for one that is not ours."""
    return schedule_id.removeprefix(_SCHEDULE) if schedule_id.startswith(_SCHEDULE) else ""


def scheduled_campaign(schedule: str, planned_at: datetime) -> str:
    """The name of a schedule's campaign: `<schedule>-<yyyymmdd>-<hhmm>` in UTC; with seconds if any."""
    at = planned_at.astimezone(UTC)
    return f"{schedule}-{at:%Y%m%d-%H%M}{f'{at:%S}' if at.second else ''}"


def campaign_request_id(campaign: str, target: int, attempt: int) -> str:
    """The request id of one attempt on one target: `campaign/<name>/<target>/<attempt>`."""
    return f"{_CAMPAIGN}{campaign}/{target}/{attempt}"


def notification_workflow_id(subscription: str, event: str) -> str:
    """The workflow id of one delivery: `notification/<subscription>/<event>`."""
    return f"{NOTIFICATION_PREFIX}{subscription}/{event}"


_CAMPAIGN: Final = "campaign/"
_SCHEDULE: Final = "schedule/"
NOTIFICATION_PREFIX: Final = "notification/"

UPDATE_REQUEST_OPERATION: Final = "request_operation"
UPDATE_CANCEL_OPERATION: Final = "cancel_operation"
UPDATE_SET_LABELS: Final = "set_labels"
UPDATE_PAUSE: Final = "pause"
UPDATE_RESUME: Final = "resume"
UPDATE_ABANDON: Final = "abandon"
UPDATE_BIND: Final = "bind"
UPDATE_RELEASE: Final = "release"
UPDATE_APPROVE: Final = "approve"
UPDATE_REJECT: Final = "reject"
UPDATE_ABORT: Final = "abort"
UPDATE_SUPERSEDE: Final = "supersede"
UPDATE_SKIP: Final = "skip"
UPDATE_SET_CONCURRENCY: Final = "set_concurrency"
UPDATE_NEXT_WAVE: Final = "next_wave"
UPDATE_RETRY: Final = "retry"
UPDATE_ROLLBACK: Final = "rollback"

CAMPAIGN_VERBS: Final = {
    "pause": UPDATE_PAUSE,
    "resume": UPDATE_RESUME,
    "abort": UPDATE_ABORT,
    "supersede": UPDATE_SUPERSEDE,
    "skip": UPDATE_SKIP,
    "set-concurrency": UPDATE_SET_CONCURRENCY,
    "next-wave": UPDATE_NEXT_WAVE,
    "retry": UPDATE_RETRY,
    "rollback": UPDATE_ROLLBACK,
    "approve": UPDATE_APPROVE,
    "reject": UPDATE_REJECT,
}
"""Update of a campaign by the kind of its verb in `bondstone.model.campaign.events`, which is the argument."""

SIGNAL_PART_CHANGED: Final = "part_changed"
"""To a service: a part of it stands on something else, or gives something else."""

SIGNAL_WAITING: Final = "operation_waiting"
SIGNAL_RECORD: Final = "record"
SIGNAL_SUBMIT: Final = "submit"
"""To a service: a campaign asks for an operation."""
SIGNAL_WITHDRAW: Final = "withdraw"
"""To a service: a campaign wants what it submitted stopped."""
SIGNAL_REPLY: Final = "reply"
"""To a campaign: what a service says of a submission."""
SIGNAL_CALENDAR: Final = "calendar_changed"
"""To a campaign: a freeze was made or ended; it looks at once."""
SIGNAL_MOVE: Final = "move"
"""To a service or a campaign: another build of the control workers took over: `bondstone.workflows.builds`."""
QUERY_DESCRIBE: Final = "describe"
QUERY_STATE: Final = "state"
"""Of a campaign: all of it, one character for each target."""

# Task queues -------------------------------------------------------------------------------------------

CONTROL_QUEUE: Final = "bond-control"
DEFAULT_POOL: Final = "default"


def pool_queue(pool: str) -> str:
    """The task queue of a pool of executor workers: `pool/<name>`."""
    return f"pool/{pool}"


# Activities --------------------------------------------------------------------------------------------

PROMISE_RESOLVE: Final = "promise.resolve"
REQUEST_ACCEPT: Final = "request.accept"
"""As `promise.resolve`, of a request that is attested: checks the attestation first."""
LABELS_ACCEPT: Final = "labels.accept"
PERMIT_OPERATION: Final = "permit.operation"
PERMIT_APPLY: Final = "permit.apply"
PROMISE_OUTPUTS: Final = "promise.outputs"
POLICY_CHECK: Final = "policy.check"
PLAN_COVERED: Final = "plan.covered"
HEALTH_PROBE: Final = "health.probe"
LEDGER_RECORD: Final = "ledger.record"
STATE_ADOPT: Final = "state.adopt"
SERVICE_PUT_AWAY: Final = "service.put_away"
CAMPAIGN_FREEZE: Final = "campaign.freeze"
CAMPAIGN_PAGE: Final = "campaign.page"
CAMPAIGN_CALENDAR: Final = "campaign.calendar"
CAMPAIGN_DESCRIBE: Final = "campaign.describe"
CAMPAIGN_PROBE: Final = "campaign.probe"
CAMPAIGN_RECORD: Final = "campaign.record"
SCHEDULE_RECORD: Final = "schedule.record"
NOTIFICATION_DELIVER: Final = "notification.deliver"

VERB_PLAN: Final = "plan"
VERB_APPLY: Final = "apply"
VERB_PLAN_DESTROY: Final = "plan_destroy"
VERB_DETECT_DRIFT: Final = "detect_drift"
EXECUTOR_VERBS: Final = (VERB_PLAN, VERB_APPLY, VERB_PLAN_DESTROY, VERB_DETECT_DRIFT)


def executor_activity(kind: str, verb: str) -> str:
    """The activity name of an executor's verb: `terraform.plan`."""
    return f"{kind}.{verb}"


# Search attributes -------------------------------------------------------------------------------------

SA_TEAM: Final = "BondTeam"
SA_SERVICE: Final = "BondService"
SA_PROMISE: Final = "BondPromise"
SA_REVISION: Final = "BondRevision"
SA_PHASE: Final = "BondPhase"
SA_HEALTH: Final = "BondHealth"
SA_OPERATION: Final = "BondOperation"
SA_CAMPAIGN: Final = "BondCampaign"
SA_LABELS: Final = "BondLabels"
SA_NEXT_DUE: Final = "BondNextDue"
SA_POOL: Final = "BondPool"
SA_CHANGED_AT: Final = "BondChangedAt"
"""When the others were last set, by the clock of the workflow: lists are kept up to date by it."""
SA_CREATED_AT: Final = "BondCreatedAt"
"""When the service was first requested; unset of one that nothing has changed since a version without it."""
SA_PARENTS: Final = "BondParents"
SA_DRIFT: Final = "BondDrift"
"""Objects that differ from what was applied; unset where the last drift check found none."""

MEMO_DRY_RUN: Final = "bond_dry_run"
"""Memo of the workflow of an operation that changes nothing, which tells it from those that do in lists."""

SEARCH_ATTRIBUTES: Final = {
    SA_TEAM: "Keyword",
    SA_SERVICE: "Keyword",
    SA_PROMISE: "Keyword",
    SA_REVISION: "Keyword",
    SA_PHASE: "Keyword",
    SA_HEALTH: "Keyword",
    SA_OPERATION: "Keyword",
    SA_CAMPAIGN: "Keyword",
    SA_LABELS: "KeywordList",
    SA_NEXT_DUE: "Datetime",
    SA_POOL: "Keyword",
    SA_CHANGED_AT: "Datetime",
    SA_CREATED_AT: "Datetime",
    SA_PARENTS: "KeywordList",
    SA_DRIFT: "Int",
}
"""Name and type of each, within the budget of SQL visibility (10 Keyword, 3 of each other type)."""

# Entry points ------------------------------------------------------------------------------------------

SERVICE_EXECUTOR: Final = "service"
"""The executor of parts: services that another service is made of. It runs on control workers."""

KRATIX_EXECUTOR: Final = "kratix"
"""The executor of Kratix's pipelines: its steps say which kind of object requests their service."""

EXECUTORS_GROUP: Final = "bondstone.executors"
"""Third parties register an executor under this entry-point group."""
