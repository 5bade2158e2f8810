"""Reports of campaigns that never were, for tests of how they are rendered."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta

from bondstone.base.errors import ErrorInfo
from bondstone.model.campaign.report import (
    CampaignReport,
    ComplianceReport,
    EventReport,
    LeftReport,
    PlanEvidence,
    TargetReport,
    WaveReport,
)
from bondstone.model.campaign.state import CampaignStatus

BEGAN = datetime(2026, 11, 24, 22, 0, tzinfo=UTC)
OUTCOMES = (
    "succeeded", "succeeded", "failed", "timed-out", "unreachable", "refused", "skipped", "rolled-back",
    "not-attempted",
)  # fmt: skip
FAILED = frozenset({"failed", "timed-out", "unreachable"})
DIGEST = "3f2a91c07d5e" * 5 + "abcd"


def report(targets: int = 18, *, hostile: str = "", outcomes: tuple[str, ...] = OUTCOMES) -> CampaignReport:
    """A report of two waves; `hostile` stands wherever somebody could have written something."""
    result = [_target(number, targets, outcomes[number % len(outcomes)], hostile) for number in range(targets)]
    waves = tuple(_wave(name, [item for item in result if item.wave == name]) for name in ("canary", "rest"))
    counts = Counter(target.outcome for target in result)
    return CampaignReport(
        name="cve-2026-1234",
        status=CampaignStatus.COMPLETED_WITH_FAILURES,
        operation="patch",
        promise="postgres",
        to="1.4.2",
        source=">=1.3 <1.4.2",
        owner=f"platform{hostile}",
        reason=f"CVE-2026-1234 in libpq{hostile}",
        change=f"CHG-4711{hostile}",
        requested_by=f"dana{hostile}",
        started_at=BEGAN,
        ended_at=BEGAN + timedelta(hours=2),
        as_of=BEGAN + timedelta(hours=3),
        targets_digest=DIGEST,
        counts=dict(counts),
        failures=sum(target.failed for target in result),
        max_failures=2,
        budget=f"3 failures of at most 2{hostile}",
        rules={"operation": "patch", "select": {"where": f"team != 'lab'{hostile}"}},
        waves=waves,
        events=(
            EventReport(at=BEGAN, what="wave-started", wave="canary"),
            EventReport(at=BEGAN + timedelta(minutes=50), what="budget-broken", wave="rest"),
            EventReport(
                at=BEGAN + timedelta(minutes=51), what="pause", wave="rest", by=f"eve{hostile}", reason=hostile
            ),
        ),
        compliance=ComplianceReport(
            measure=f"postgres at 1.4.2{hostile}", services=targets + 2, before=1, after=5
        ),
        targets=tuple(result),
        left=(
            LeftReport(service="lab/one", kind="not-selected", reason=f"`where` is not true of it{hostile}"),
            LeftReport(service="payments/new", kind="skipped", reason="compliant"),
        ),
    )


def _target(number: int, targets: int, outcome: str, hostile: str) -> TargetReport:
    tried = outcome not in {"skipped", "not-attempted", "refused"}
    failed = outcome in FAILED
    return TargetReport(
        target=number,
        service=f"team-{number % 20}/orders-{number:05}",
        team=f"team-{number % 20}",
        wave="canary" if number < max(targets // 9, 1) else "rest",
        outcome=outcome,
        failed=failed,
        reason=hostile,
        attempts=1 if tried else 0,
        operation=f"team-{number % 20}/orders-{number:05}/op/7" if tried else None,
        started_at=BEGAN + timedelta(seconds=5 * number) if tried else None,
        ended_at=BEGAN + timedelta(seconds=5 * number + 42) if tried else None,
        seconds=42.0 if tried else None,
        revision_before="postgres@1.4.1",
        revision_after="postgres@1.4.2" if outcome == "succeeded" else "postgres@1.4.1",
        plans=tuple(
            PlanEvidence(
                step=step,
                digest=DIGEST,
                status="succeeded",
                update=1,
                policy="approval",
                policies_digest=DIGEST,
                findings=(f"warn: encryption is off{hostile}",),
                failed_checks=(f"check.certificate: expires soon{hostile}",),
                warnings=(f"the task install is not idempotent{hostile}",),
                approvals=(f"approved by dana (dba){hostile}",),
            )
            for step in ("database", "monitoring")
        )
        if tried
        else (),
        error=ErrorInfo(code="TOOL_FAILED", message=f"terraform said no{hostile}", where="step database")
        if failed
        else None,
    )


def _wave(name: str, targets: list[TargetReport]) -> WaveReport:
    return WaveReport(
        name=name,
        targets=len(targets),
        status="done",
        counts=dict(Counter(target.outcome for target in targets)),
        failures=sum(target.failed for target in targets),
        max_failures=0 if name == "canary" else None,
        soak_seconds=1800 if name == "canary" else 0,
        started_at=BEGAN,
        last_success_at=BEGAN + timedelta(minutes=10),
        ended_at=BEGAN + timedelta(minutes=40),
        gate="approved" if name == "rest" else "",
        votes=("approved by dana (sre)",) if name == "rest" else (),
    )
