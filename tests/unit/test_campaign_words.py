"""A campaign in documents, reports and views: what it awaits, what failed, and no escapes of others."""

from __future__ import annotations

import io
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import typer
from rich.console import Console

from bondstone.base.errors import ErrorInfo
from bondstone.campaign import view, words
from bondstone.campaign.awaited import awaits
from bondstone.campaign.decider import new_campaign
from bondstone.campaign.report.content import Kept, build
from bondstone.cli.campaign import watching
from bondstone.client.documents.campaign import CampaignDocument, FailureDocument, failures
from bondstone.model.approval import missing
from bondstone.model.campaign.events import Note
from bondstone.model.campaign.run import (
    CampaignDescription,
    CampaignHeader,
    CampaignInput,
    Frozen,
    Job,
    LedgerBatch,
    LeftOut,
    TargetEntry,
    TargetRecord,
)
from bondstone.model.campaign.state import (
    Calendar,
    CampaignState,
    CampaignStatus,
    Code,
    Flight,
    FreezeOn,
    Paused,
    Rules,
    TargetOutcome,
    WaveRules,
)
from bondstone.model.ledger import LedgerRecord
from bondstone.model.plan import ChangeCounts, Decision, Finding, PlanRef
from bondstone.model.service import (
    Approval,
    Need,
    OperationKind,
    OperationStatus,
    RevisionRef,
    ServiceId,
    StepRecord,
    StepStatus,
    Vote,
)

NOW = datetime(2026, 11, 24, 22, tzinfo=UTC)
OLD = RevisionRef(promise="postgres", version="1.4.1", digest="a" * 64)
NEW = RevisionRef(promise="postgres", version="1.4.2", digest="b" * 64)
MANIFEST = {
    "metadata": {"name": "cve", "owner": "platform", "reason": "CVE-2026-1234", "change": "CHG-1"},
    "spec": {"operation": "patch", "promise": "postgres", "to": "1.4.2", "from": "<1.4.2"},
}
RULES = Rules(
    campaign="cve",
    requested_by="dana",
    targets_digest="c" * 64,
    waves=(WaveRules(name="canary", size=1, max_failures=0), WaveRules(name="rest", size=3)),
    max_failures=1,
)
FROZEN = Frozen(
    rules=RULES, job=Job(operation=OperationKind.PATCH, promise="postgres", to="1.4.2", change="CHG-1")
)
START = CampaignInput(document=MANIFEST, requested_by="dana")
ERROR = ErrorInfo(code="TOOL_FAILED", message="terraform said no")


def stated(codes: str) -> CampaignState:
    """The machine with its four targets at these codes."""
    fresh = new_campaign(RULES)
    waves = [
        wave.changed(counts=counted(part)) for wave, part in zip(fresh.waves, (codes[:1], codes[1:]), strict=True)
    ]
    return fresh.changed(pages=(codes,), counts=counted(codes), waves=tuple(waves))


def counted(codes: str) -> dict[Code, int]:
    return {Code(code): count for code, count in Counter(codes).items()}


def described(codes: str = "S...", **changes: Any) -> CampaignDescription:
    """The campaign with its four targets at these codes."""
    description = view.describe("cve", START, FROZEN, stated(codes))
    return description.changed(**{"started_at": NOW, "status": CampaignStatus.RUNNING, **changes})


def record(target: int, service: str, outcome: TargetOutcome, **changes: Any) -> TargetRecord:
    return TargetRecord(
        target=target,
        outcome=outcome,
        service=service,
        attempts=1,
        operation_id=f"{service}/op/2",
        started_at=NOW,
        ended_at=NOW + timedelta(seconds=90),
        **changes,
    )


def ledger_record(service: str, status: OperationStatus) -> LedgerRecord:
    team, name = service.split("/")
    plan = PlanRef(digest="d" * 64, key="plans/x", counts=ChangeCounts(update=1))
    decision = Decision(outcome="approval", findings=(Finding(level="approval", message="production"),))
    step = StepRecord(
        id="database",
        executor="terraform",
        status=StepStatus.SUCCEEDED,
        plan=plan,
        decision=decision,
        changes=ChangeCounts(update=1),
    )
    votes = (Vote(by="eve", roles=("dba",), approve=True, comment="seen", at=NOW),)
    approval = Approval(
        step="database", digest=plan.digest, needs=(Need(roles=("dba",)),), votes=votes, asked_at=NOW
    )
    return LedgerRecord(
        kind="operation",
        service=ServiceId(team=team, name=name),
        sequence="op-2",
        at=NOW,
        by="dana",
        operation=2,
        status=status,
        revision_before=OLD,
        revision_after=NEW,
        steps=(step,),
        approvals=(approval,),
    )


def kept(codes: str, records: tuple[TargetRecord, ...], **changes: Any) -> Kept:
    description = described(codes, recent=records[-1:], **changes)
    services = ("a/one", "a/two", "b/three", "b/four")
    batch = LedgerBatch(
        campaign="cve",
        number=1,
        records=records[:-1],
        notes=(
            Note(what="pause", wave=1, at=NOW + timedelta(minutes=1), by="eve", reason="lunch"),
            Note(what="wave-started", wave=0, at=NOW),
        ),
    )
    return Kept(
        header=CampaignHeader(name="cve", run_id="r", start=START, at=NOW),
        manifest=MANIFEST,
        description=description,
        state=stated(codes),
        targets=[TargetEntry(service=service, version="1.4.1", to="1.4.2") for service in services],
        batches=[batch],
        left=[
            LeftOut(service="a/done", kind="skipped", reason="compliant"),
            LeftOut(service="lab/x", kind="not-selected", reason="no"),
        ],
        operations={
            "a/one/op/2": ledger_record("a/one", OperationStatus.SUCCEEDED),
            "a/two/op/2": ledger_record("a/two", OperationStatus.FAILED),
        },
    )


def test_the_report_says_what_became_of_each_target_and_whose_word_it_was() -> None:
    records = (
        record(0, "a/one", TargetOutcome.SUCCEEDED),
        record(1, "a/two", TargetOutcome.FAILED, error=ERROR, revision_after=OLD),
        record(
            2, "b/three", TargetOutcome.ROLLED_BACK, error=ERROR, plans={"x": "e" * 64}, decisions={"x": "allow"}
        ),
    )
    report = build(kept("SFb.", records), as_of=NOW)
    first, second, third, fourth = report.targets
    assert [target.outcome for target in report.targets] == ["succeeded", "failed", "rolled-back", "waiting"]
    assert (report.counts, report.failures) == (
        {"succeeded": 1, "failed": 1, "rolled-back": 1, "waiting": 1}, 2
    )  # fmt: skip
    assert [target.wave for target in report.targets] == ["canary", "rest", "rest", "rest"]
    assert (first.revision_before, first.revision_after, first.seconds) == (str(OLD), str(NEW), 90)
    assert second.revision_after == str(OLD)  # the ledger says where it led to, the service where it stands
    [plan] = first.plans
    assert (plan.update, plan.policy, plan.findings) == (1, "approval", ("approval: production",))
    assert plan.approvals == ("approved by eve (dba): seen",)
    assert (third.failed, third.plans[0].digest, fourth.operation) == (True, "e" * 64, None)
    assert [(event.what, event.by, event.wave) for event in report.events] == [
        ("wave-started", "", "canary"), ("pause", "eve", "rest")
    ]  # fmt: skip
    assert (report.owner, report.reason, report.change, report.source) == (
        "platform", "CVE-2026-1234", "CHG-1", "<1.4.2"
    )  # fmt: skip
    assert report.compliance is not None
    assert (report.compliance.services, report.compliance.before, report.compliance.after) == (5, 1, 2)


def test_the_report_has_what_a_tool_remarks_also_of_a_step_that_planned_nothing() -> None:
    operation = ledger_record("a/one", OperationStatus.SUCCEEDED)
    checked = operation.steps[0].changed(plan=None, decision=None, failed_checks=("check.tls: soon",))
    warned = checked.changed(failed_checks=(), warnings=("install is not idempotent",))
    silent = warned.changed(id="other", warnings=())
    of = kept("S...", (record(0, "a/one", TargetOutcome.SUCCEEDED),))
    of.operations["a/one/op/2"] = operation.changed(steps=(checked, warned, silent))
    first = build(of, as_of=NOW).targets[0]
    assert [(plan.failed_checks, plan.warnings) for plan in first.plans] == [
        (("check.tls: soon",), ()), ((), ("install is not idempotent",)),
    ]  # fmt: skip


def test_a_later_record_of_a_target_replaces_the_one_before() -> None:
    records = (record(0, "a/one", TargetOutcome.FAILED, error=ERROR), record(0, "a/one", TargetOutcome.SUCCEEDED))
    report = build(kept("S...", records), as_of=NOW)
    assert report.targets[0].error is None


@pytest.mark.parametrize(
    ("operation", "says"),
    [
        (OperationKind.RECONCILE, "no drift"),
        (OperationKind.UPDATE, "new inputs"),
        (OperationKind.DECOMMISSION, None),
        (OperationKind.ROLLBACK, None),
    ],
)
def test_where_no_version_is_the_goal_compliance_is_what_success_means(
    operation: OperationKind, says: str | None
) -> None:
    result = kept("SF..", (record(0, "a/one", TargetOutcome.SUCCEEDED),), job=Job(operation=operation))
    compliance = build(result, as_of=NOW).compliance
    assert (compliance is None) is (says is None)
    if compliance is not None and says is not None:
        assert says in compliance.measure
        assert (compliance.services, compliance.before, compliance.after) == (4, None, 1)


def test_failures_are_those_that_count_against_the_budget() -> None:
    records = (
        record(0, "b/x", TargetOutcome.FAILED, error=ERROR),
        record(1, "a/x", TargetOutcome.ROLLED_BACK, error=ERROR),
        record(2, "c/x", TargetOutcome.ROLLED_BACK),
        record(3, "d/x", TargetOutcome.REFUSED),
    )
    result = failures(described(), [LedgerBatch(campaign="cve", number=1, records=records)])
    assert [failure.service for failure in result] == ["a/x", "b/x"]


def test_whom_and_what_it_waits_for_is_said() -> None:
    gate = Approval(step="rest", digest="c" * 64, needs=(Need(roles=("sre",), count=2),), asked_at=NOW)
    result = described(
        waiting_for=gate,
        wave="rest",
        paused=Paused(cause="verb", by="eve", reason="lunch", at=NOW),
        calendar=Calendar(open=False, until=NOW),
        running=2,
    )
    assert awaits(result) == [
        "somebody to resume it: paused by eve, lunch",
        f"an approval of wave rest: {' and '.join(missing(gate, requested_by='dana'))}",
        "a window: nothing may start until 2026-11-24 22:00:00 UTC",
        "2 targets at work",
    ]
    assert awaits(described(running=3, awaiting=1)) == [
        "an approval of its plan: 1 target",
        "2 targets at work",
    ]
    assert awaits(CampaignDescription(name="cve")) == ["its targets to be chosen"]
    assert awaits(described(status=CampaignStatus.COMPLETED, running=2)) == []


def test_a_target_that_waits_for_another_operation_says_for_which_and_is_not_at_work() -> None:
    other = "its update a/x/op/3 has not ended"
    working = Flight(attempt=1, started_at=NOW, attempt_at=NOW, check_at=NOW, phase="accepted", operation=4)
    busy = working.changed(phase="between", operation=0, busy_since=NOW, busy=other)
    state = stated("rr..").changed(flights={0: busy, 1: working})
    description = view.describe("cve", START, FROZEN, state, service_of=lambda target: "ab"[target] + "/x")
    turn = f"waits for its turn: {other}"
    assert [flight.stalled for flight in description.flights] == [turn, ""]
    assert awaits(description) == [f"the next attempt of 1 target: a/x {turn}", "1 target at work"]
    flights = {0: busy.changed(phase="submitted"), 1: busy.changed(busy_since=None)}
    description = view.describe("cve", START, FROZEN, state.changed(flights=flights))
    assert [flight.stalled for flight in description.flights] == [turn, "waits for its next attempt"]
    assert description.queued == 2


def test_why_a_target_failed_is_what_was_booked_and_what_its_operation_says_beyond_that() -> None:
    limit = "not finished within the target.timeout of 12s: it was waiting for an approval"
    cancel = ErrorInfo(code="OPERATION_CANCELLED", message="cancelled by dana: campaign cve: timed-out")
    assert words.why(limit, cancel) == limit
    assert words.why("", cancel) == cancel.message
    assert words.why(ERROR.message, ERROR) == words.why("", ERROR) == ERROR.message
    assert words.why(f"the rollback did not succeed: {ERROR.message}", ERROR).startswith("the rollback")
    assert words.why("not tried again", ERROR) == "not tried again: terraform said no"
    assert words.why("busy", None) == "busy"
    failure = FailureDocument(
        service="a/x", wave="rest", outcome=TargetOutcome.TIMED_OUT, reason=limit, error=cancel
    )
    assert failure.why() == limit


def test_a_broken_budget_counts_what_has_failed_since() -> None:
    first = "2 targets count as failed (2 timed out); the budget allows 1"
    paused = Paused(cause="budget", reason=first, at=NOW)
    state = stated(".TTT").changed(broken=first, paused=paused)
    description = view.describe("cve", START, FROZEN, state)
    now = "3 targets count as failed (3 timed out); the budget allows 1"
    assert (description.broken, description.paused) == (now, paused.changed(reason=now))
    by_hand = state.changed(paused=Paused(cause="verb", by="eve", reason="lunch", at=NOW))
    assert view.describe("cve", START, FROZEN, by_hand).paused == by_hand.paused
    assert view.describe("cve", START, FROZEN, state.changed(broken="", paused=None)).broken == ""


def test_a_freeze_is_named_with_its_real_end_and_not_with_the_time_of_the_next_look() -> None:
    soon, later = NOW + timedelta(minutes=5), NOW + timedelta(days=3)
    platform = FreezeOn(name="year-end", ends_at=later)
    team = FreezeOn(name="audit", team="payments")
    why = "the freeze 'year-end' is on"
    closed = Calendar(open=False, until=soon, why=why, opens_at=later, freezes=(platform,))
    assert awaits(described(calendar=closed)) == [
        "the end of the freeze year-end, until 2026-11-27 22:00:00 UTC",
    ]
    for_one = Calendar(until=soon, frozen_teams=("payments",), freezes=(team,))
    assert awaits(described(calendar=for_one)) == [
        "the end of the freeze audit of team payments, until somebody ends it",
    ]
    window = Calendar(open=False, until=soon, why="no window of windows.allow is on", opens_at=later)
    assert awaits(described(calendar=window)) == [
        "a window: no window of windows.allow is on until 2026-11-27 22:00:00 UTC",
    ]


def test_a_gate_that_expired_is_what_show_says_of_the_end() -> None:
    ending = "aborted: nobody decided the gate of wave rest in time"
    document = CampaignDocument.of(described(status=CampaignStatus.ABORTED, ending=ending))
    assert document.ending == ending


@pytest.mark.parametrize(
    ("status", "code"),
    [("completed", 0), ("completed-with-failures", 1), ("aborted", 1), ("paused", 1), ("awaiting-approval", 5)],
)
def test_the_exit_code_says_how_a_campaign_that_was_watched_ended(status: str, code: int) -> None:
    result = CampaignDocument.of(described(status=CampaignStatus(status)))
    assert watching.exit_code(result) == code
    if code:
        with pytest.raises(typer.Exit):
            watching.finish(result)


def test_a_line_is_printed_once_for_each_change(capsys: pytest.CaptureFixture[str]) -> None:
    lines = watching.Lines()
    running = described("Sr..", running=1)
    for entry in (running, running, described("SF..", broken="1 failure")):
        records = [
            LedgerBatch(campaign="cve", number=1, records=(record(1, "a/two", TargetOutcome.FAILED, error=ERROR),))
        ]
        lines.changed(CampaignDocument.of(entry, failures(entry, records if entry.failures else [])))
    printed = [line.split("s  ", 1)[1] for line in capsys.readouterr().err.splitlines()]
    assert printed.count("a/two failed: terraform said no") == 1
    assert printed.count("cve running") == 1


def test_a_live_view_draws_bars_and_no_escapes_of_others() -> None:
    hostile = ErrorInfo(code="TOOL_FAILED", message="[bold]no[/bold]\x1b[31m")
    batch = LedgerBatch(
        campaign="cve", number=1, records=(record(1, "a/two", TargetOutcome.FAILED, error=hostile),)
    )
    result = described(Code.SUCCEEDED + "F..", broken="too \x1b[31mmany")
    bars = watching.Bars("cve")
    console = Console(width=120, record=True, file=io.StringIO())
    console.print(bars.render())
    bars.changed(CampaignDocument.of(result, failures(result, [batch])))
    console.print(bars.render())
    text = console.export_text()
    assert "its targets are being chosen" in text
    assert "canary" in text
    assert "[bold]no[/bold]" in text
    assert "\x1b" not in text
