"""The report of a campaign as tables and test results: CSV for spreadsheets, JUnit XML for CI. Pure."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from bondstone.base.change_counts import COUNTED, counts_text
from bondstone.base.printable import without_hidden_start
from bondstone.campaign import words
from bondstone.campaign.report.text import printable
from bondstone.model.campaign.report import CampaignReport, PlanEvidence, TargetReport

if TYPE_CHECKING:
    from xml.etree import ElementTree as ET

_FORMULA_STARTS: Final = frozenset("=+-@|%＝＋－＠")  # noqa: RUF001 - full-width ones count for spreadsheets
"""What a spreadsheet takes for the beginning of a formula, or of a command (OWASP, CSV injection)."""

_ENTERED: Final = frozenset("\t\r")
"""Beginnings after which some spreadsheets read on as if somebody had typed."""

_COLUMNS: Final[dict[str, Callable[[CampaignReport, TargetReport], object]]] = {
    "campaign": lambda report, _: report.name,
    "operation_kind": lambda report, _: report.operation,
    "change": lambda report, _: report.change,
    "requested_by": lambda report, _: report.requested_by,
    "target": lambda _, target: target.target,
    "wave": lambda _, target: target.wave,
    "service": lambda _, target: target.service,
    "team": lambda _, target: target.team,
    "pool": lambda _, target: target.pool,
    "outcome": lambda _, target: target.outcome,
    "failed": lambda _, target: "yes" if target.failed else "no",
    "reason": lambda _, target: target.reason,
    "attempts": lambda _, target: target.attempts,
    "operation": lambda _, target: target.operation or "",
    "started_at": lambda _, target: moment(target.started_at),
    "ended_at": lambda _, target: moment(target.ended_at),
    "seconds": lambda _, target: "" if target.seconds is None else target.seconds,
    "revision_before": lambda _, target: target.revision_before,
    "revision_after": lambda _, target: target.revision_after,
    "changes": lambda _, target: "; ".join(
        f"{plan_name(plan)} {plan_changes(plan)}" for plan in target.plans if plan.digest
    ),
    "plans": lambda _, target: "; ".join(
        f"{plan_name(plan)} sha256:{plan.digest}" for plan in target.plans if plan.digest
    ),
    "policy": lambda _, target: "; ".join(
        f"{plan_name(plan)} {plan.policy}" for plan in target.plans if plan.policy
    ),
    "findings": lambda _, target: "; ".join(text for plan in target.plans for text in plan.findings),
    "approvals": lambda _, target: "; ".join(text for plan in target.plans for text in plan.approvals),
    "error_code": lambda _, target: target.error.code if target.error else "",
    "error": lambda _, target: target.error.message if target.error else "",
    "failed_checks": lambda _, target: "; ".join(text for plan in target.plans for text in plan.failed_checks),
    "warnings": lambda _, target: "; ".join(text for plan in target.plans for text in plan.warnings),
}


def as_csv(report: CampaignReport) -> str:
    """One line for each target, under headers; no cell is a formula to a spreadsheet."""
    stream = io.StringIO(newline="")
    writer = csv.writer(stream)
    writer.writerow(_COLUMNS)
    for target in report.targets:
        writer.writerow([_cell(of(report, target)) for of in _COLUMNS.values()])
    return stream.getvalue()


def as_junit(report: CampaignReport) -> str:
    """A test suite for each wave, a test case for each target; what counts against the budget is a failure.

    A target that was skipped, refused, not attempted, rolled back after it had succeeded, or that has not ended,
    is a skipped test: neither good nor bad.
    """
    from xml.etree import ElementTree as ET  # noqa: PLC0415 - 1 MiB, for this report alone

    totals = _totals(report.targets)
    root = ET.Element("testsuites", {"name": printable(report.name), **totals})
    for wave in report.waves:
        targets = [target for target in report.targets if target.wave == wave.name]
        about = {"name": printable(wave.name), **_totals(targets), "errors": "0"}
        if wave.started_at:
            about["timestamp"] = wave.started_at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S")
        suite = ET.SubElement(root, "testsuite", about)
        properties = ET.SubElement(suite, "properties")
        for name, value in _properties(report).items():
            ET.SubElement(properties, "property", {"name": name, "value": printable(value)})
        for target in targets:
            _case(suite, report, target)
    ET.indent(root)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{ET.tostring(root, encoding="unicode")}\n'


def moment(at: datetime | None) -> str:
    """RFC 3339 in UTC, to the second; nothing for no time."""
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ") if at else ""


def plan_name(plan: PlanEvidence) -> str:
    """Step, with the part of the operation where that is not the main one."""
    return f"{plan.part}: {plan.step}" if plan.part else plan.step


def plan_changes(plan: PlanEvidence) -> str:
    """As people read plans: `+3 ~0 ±1 -0`."""
    return counts_text({name: getattr(plan, name) for name in COUNTED})


# Helpers -------------------------------------------------------------------------------------------------


def _cell(value: object) -> object:
    if not isinstance(value, str):
        return value
    text = printable(value)
    return f"'{text}" if without_hidden_start(text)[:1] in _FORMULA_STARTS or text[:1] in _ENTERED else text


def _case(suite: ET.Element, report: CampaignReport, target: TargetReport) -> None:
    from xml.etree import ElementTree as ET  # noqa: PLC0415 - see `as_junit`

    case = ET.SubElement(
        suite,
        "testcase",
        {
            "classname": printable(f"{report.name}.{target.wave}"),
            "name": printable(target.service),
            "time": f"{target.seconds or 0:.3f}",
        },
    )
    message = printable(": ".join(filter(None, [target.outcome, words.why(target.reason, target.error)])))
    if target.failed:
        failure = ET.SubElement(case, "failure", {"type": printable(target.outcome), "message": message})
        failure.text = printable(_words(target))
    elif target.outcome != "succeeded":
        ET.SubElement(case, "skipped", {"message": message})


def _words(target: TargetReport) -> str:
    lines = [f"operation {target.operation}" if target.operation else "", target.reason]
    if target.error:
        lines += [f"error[{target.error.code}]: {target.error.message}", target.error.where, target.error.hint]
    return "\n".join(filter(None, lines))


def _totals(targets: Sequence[TargetReport]) -> dict[str, str]:
    failed = sum(target.failed for target in targets)
    good = sum(target.outcome == "succeeded" and not target.failed for target in targets)
    return {
        "tests": str(len(targets)),
        "failures": str(failed),
        "skipped": str(len(targets) - failed - good),
        "time": f"{sum(target.seconds or 0 for target in targets):.3f}",
    }


def _properties(report: CampaignReport) -> dict[str, str]:
    properties = {
        "status": report.status.value,
        "operation": report.operation,
        "promise": report.promise,
        "to": report.to,
        "reason": report.reason,
        "change": report.change,
        "requested_by": report.requested_by,
        "targets_digest": report.targets_digest,
    }
    return {name: value for name, value in properties.items() if value}
