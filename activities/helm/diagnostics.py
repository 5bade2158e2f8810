"""From what Helm complained about to a typed error: what, where, why and what to do next. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from bondstone.base.errors import BondError, PlanStale, Problem, ToolFailed, ToolUnavailable
from bondstone.base.printable import shorten

_LIMIT: Final = 1500
_FLAGS: Final = re.IGNORECASE | re.VERBOSE

_TRANSIENT: Final = re.compile(
    r"""
      cluster\ unreachable | connection\ (?:refused|reset|timed\ out) | i/o\ timeout | no\ route\ to\ host
    | network\ is\ unreachable | TLS\ handshake\ timeout | unexpected\ EOF | no\ such\ host | server\ misbehaving
    | too\ many\ requests | etcdserver: | apiserver\ not\ ready | server\ is\ currently\ unable\ to\ handle
    | unexpected\ status\ from\ (?:GET|HEAD)[^\n]*\b5\d\d\b | failed\ to\ fetch[^\n]*:\ 5\d\d\b
    """,
    _FLAGS,
)
_CHARTS_OWN: Final = re.compile(
    r"execution error at|denied the request|don't meet the specifications", re.IGNORECASE
)
"""What a chart or an admission webhook says of itself is no weather, whatever its words."""
_BUSY: Final = re.compile(r"another operation \(install/upgrade/rollback\) is in progress", re.IGNORECASE)
_TIMED_OUT: Final = re.compile(
    r"timed out waiting|context deadline exceeded|client rate limiter wait returned an error", re.IGNORECASE
)
_HINTS: Final = (
    (
        re.compile(r"cannot be imported into the current release", re.IGNORECASE),
        "an object of that name stands, and is not of this release: rename one of the two",
    ),
    (
        re.compile(r"already exists", re.IGNORECASE),
        "an object of that name stands: delete a hook that an earlier attempt left, rename what is another's",
    ),
    (
        re.compile(r"\bforbidden\b:|is forbidden|cannot \w+ resource", re.IGNORECASE),
        "give the worker's identity this right in the cluster (RBAC), or name another cluster",
    ),
    (
        re.compile(r"unauthorized|must be logged in|provide credentials", re.IGNORECASE),
        "the cluster does not take the worker's credentials: see BOND_CLUSTERS",
    ),
    (
        re.compile(r"don't meet the specifications of the schema", re.IGNORECASE),
        "the values do not fit the chart's values.schema.json",
    ),
    (
        re.compile(r"field is immutable|updates to .* are forbidden|may not be changed", re.IGNORECASE),
        "Kubernetes cannot change this field of an object that stands: give the object another name in the chart",
    ),
    (
        re.compile(r"namespaces? \"[^\"]*\" not found", re.IGNORECASE),
        "make the namespace first, or say create_namespace: true",
    ),
    (
        re.compile(r"resource mapping not found|no matches for kind", re.IGNORECASE),
        "the cluster does not know this kind: its CRD must be installed before, by another step",
    ),
)
_TEMPLATE: Final = re.compile(
    r"(?:^|[\s(:])(?:[\w.-]+/)?((?:charts/[\w./-]+/)?templates/[\w./-]+):(\d+)(?::(\d+))?"
)


def to_error(
    complaint: str,
    *,
    verb: str,
    code: int,
    chart: str = "",
    where: str = "",
    reasons: Sequence[str] = (),
    otherwise: str = "",
) -> BondError:
    """The typed error for a run that failed.

    Args:
        complaint: The end of its standard error.
        verb: What was run: `upgrade`, `uninstall`, `pull`.
        code: Exit code; negative for the signal that killed it.
        chart: Path of the chart in the promise, for the places of the problems.
        where: The service and step.
        reasons: What was not ready when it was last looked at, and why.
        otherwise: The hint where there is no better one.
    """
    if code < 0:
        return ToolUnavailable(
            f"helm {verb} was killed by signal {-code}",
            where=where,
            hint="if nobody killed it, the worker may be out of memory: see the kernel's log",
        )
    summary = _essence(complaint)
    message = f"helm {verb} failed: {summary}"
    if _BUSY.search(complaint):
        return PlanStale("somebody else is at work on the release", where=where, hint="plan again")
    if _TRANSIENT.search(complaint) and not reasons and not _CHARTS_OWN.search(complaint):
        return ToolUnavailable(message, where=where, hint="it looks temporary, and will be tried again")
    problems = [Problem(message=reason) for reason in reasons]
    if _TIMED_OUT.search(complaint):
        return ToolFailed(
            message,
            where=where,
            problems=problems,
            hint="see why these are not ready; `timeout` of the section says how long Helm waits",
        )
    if (place := _TEMPLATE.search(complaint)) is not None:
        file = f"{chart}/{place[1]}" if chart else place[1]
        problems.append(Problem(message=summary, file=file, line=int(place[2]), column=int(place[3] or 0)))
        message = f"helm {verb} failed: the chart cannot be rendered"
    hint = next((hint for pattern, hint in _HINTS if pattern.search(complaint)), otherwise)
    return ToolFailed(message, where=where, problems=problems, hint=hint)


def _essence(complaint: str) -> str:
    """Helm's error without its warnings, on one line."""
    lines = [
        line for line in complaint.splitlines() if line.strip() and not line.startswith(("WARNING", "W", "I0"))
    ]
    text = " ".join(" ".join(lines or complaint.splitlines()).split()).removeprefix("Error: ")
    return shorten(text, _LIMIT, pointer="the step's log has them") or "it said nothing"
