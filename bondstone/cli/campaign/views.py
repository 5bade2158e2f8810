"""Campaigns in words and tables, for people."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Final

import typer

from bondstone.terminal.output import cell, error_text, fields, is_terminal, note, say, table
from bondstone.terminal.times import duration

if TYPE_CHECKING:
    from bondstone.base.errors import ErrorInfo
    from bondstone.client.documents.campaign import (
        CampaignDocument,
        CampaignRow,
        FreezeDocument,
        PreviewDocument,
        ZonedTime,
    )
    from bondstone.model.campaign.report import CampaignReport, ComplianceReport

SHOWN: Final = 20
"""How many targets, or reasons, a table has before it says how many more there are."""
DIGEST_CHARACTERS: Final = 12


def rows(campaigns: Sequence[CampaignRow]) -> None:
    """`bond campaign list`."""
    table(
        ["campaign", "status", "to", "started", "took", "owner"],
        [
            [
                row.name,
                row.status,
                row.revision or row.promise,
                row.started_at,
                row.ended_at - row.started_at if row.ended_at else None,
                row.owner,
            ]
            for row in campaigns
        ],
        empty="no campaigns",
        wide=("owner",),
    )


def campaign(document: CampaignDocument) -> None:
    """`bond campaign show`."""
    from bondstone.cli.views import clock  # noqa: PLC0415 - see bondstone.cli.session
    from bondstone.client.explanation import explain_campaign  # noqa: PLC0415

    say(f"campaign {document.name} {explain_campaign(document, clock())}")
    say()
    fields(
        {
            "campaign": document.name,
            "status": document.status,
            "waits for": "; ".join(document.awaits),
            "what": goal(document.operation, document.promise, document.to),
            "why": document.reason,
            "change": document.change,
            "owner": document.owner,
            "asked by": document.requested_by,
            "started": document.started_at,
            "ended": document.ended_at,
            "targets": ", ".join(
                [units(document.targets, document.unit), f"sha256:{document.targets_digest[:DIGEST_CHARACTERS]}"]
            )
            if document.targets
            else "",
            "skipped": "; ".join(f"{count} {why}" for why, count in document.skipped.items()),
            "at once": document.max_concurrent or "",
            "failed": failed_of(document.failed, document.max_failures),
            "budget": document.budget,
            "ends": document.ending,
            "takes up": document.linked_from,
        }
    )
    waves(document)
    if document.flights:
        say()
        table(
            ["runs", "attempt", "phase", "operation", "since", "before that"],
            [
                [it.service, it.attempt, it.in_words(), it.operation, it.started_at, _message(it.error)]
                for it in document.flights[:SHOWN]
            ],
            wide=("operation",),
        )
        _more(document.running - min(len(document.flights), SHOWN), "run")
    _failures(document)
    _refused(document)
    if not document.status.ended:
        _next(document)


def outcome(document: CampaignDocument) -> None:
    """What is left of a campaign that was watched."""
    took = (
        f" in {duration(document.ended_at - document.started_at)}"
        if document.ended_at and document.started_at
        else ""
    )
    say(f"campaign {document.name} {document.status}{took}: {counts(document.counts)}")
    if document.ending:
        say(f"it ended early: {document.ending}" if document.status.ended else f"it is ending: {document.ending}")
    for awaited in document.awaits:
        say(f"waits for {awaited}")
    _failures(document)
    _refused(document)
    if document.status.ended:
        note(f"report it with `bond campaign report {document.name} -o html --to {document.name}.html`")
        if document.failed:
            note(f"retry the failed targets with `bond campaign retry {document.name} --failed`")
    else:
        _next(document)


def waves(document: CampaignDocument) -> None:
    """The waves of a campaign, with a line under it for each gate that waits."""
    if not document.waves:
        return
    say()
    table(
        ["wave", "status", "targets", "succeeded", "failed", "running", "waiting", "others", "began", "ended"],
        [
            [
                wave.name,
                wave.status,
                wave.targets,
                wave.succeeded,
                failed_of(wave.failed, wave.max_failures),
                wave.running,
                wave.waiting,
                wave.targets - wave.succeeded - wave.failed - wave.running - wave.waiting,
                wave.started_at,
                wave.ended_at,
            ]
            for wave in document.waves
        ],
        wide=("others", "began", "ended"),
    )


def preview(document: PreviewDocument, *, every: bool) -> None:
    """`bond campaign preview`."""
    fields(
        {
            "campaign": document.name,
            "what": goal(document.operation, document.promise, document.to),
            "targets": units(document.targets, document.unit, sum(len(it.parts) for it in document.selected)),
            "of": document.scope,
            "whole fleet": document.whole_platform,
            "may fail": "each wave has its own budget"
            if document.max_failures is None
            else str(document.max_failures),
            "one takes": f"{duration(timedelta(seconds=document.seconds_each))}, {document.based_on}",
            "asks": "; ".join(document.asks),
            "held up by": "; ".join(document.freezes),
            "overlaps": "; ".join(document.overlaps),
        }
    )
    say()
    table(
        ["wave", "targets", "at once", "may fail", "soak", "gate"],
        [
            [
                wave.name,
                wave.targets,
                wave.max_concurrent,
                wave.max_failures,
                timedelta(seconds=wave.soak_seconds) if wave.soak_seconds else None,
                wave.gate,
            ]
            for wave in document.waves
        ],
    )
    say()
    table(
        ["wave", "would begin", "would end", "zone"],
        [[wave.name, *line] for wave in document.waves for line in _lines(wave.starts_at, wave.ends_at)],
    )
    selected = document.selected if every else document.selected[:SHOWN]
    say()
    table(
        ["target", "wave", "from", "to", "because"],
        [[target.service, target.wave, target.version, target.to, target.why] for target in selected],
        empty="no targets: every selected service is done already",
    )
    _more(len(document.selected) - len(selected), "targets; --all names them")
    if document.left:
        say()
        if every:
            table(["no target", "", "because"], [[it.service, it.kind, it.reason] for it in document.left])
        else:
            table(["no targets", "", "because"], _reasons(document)[:SHOWN])
            note("--all names each service")
    note("nothing was started")


def report(document: CampaignReport) -> None:
    """`bond campaign report`, for reading on a terminal."""
    fields(
        {
            "campaign": document.name,
            "status": document.status,
            "what": goal(document.operation, document.promise, document.to),
            "why": document.reason,
            "change": document.change,
            "owner": document.owner,
            "asked by": document.requested_by,
            "started": document.started_at,
            "ended": document.ended_at,
            "targets": f"{len(document.targets)}, sha256:{document.targets_digest}",
            "outcomes": counts(document.counts),
            "failed": failed_of(document.failures, document.max_failures),
            "budget": document.budget,
            "waits for": "; ".join(document.awaits),
            "ended early": document.ending,
            "compliant": _compliant(document.compliance),
            "takes up": document.linked_from,
        }
    )
    say()
    table(
        ["wave", "status", "targets", "outcomes", "began", "ended", "gate"],
        [
            [
                wave.name,
                wave.status,
                wave.targets,
                counts(wave.counts),
                wave.started_at,
                wave.ended_at,
                "; ".join(filter(None, [wave.gate, *wave.votes])),
            ]
            for wave in document.waves
        ],
    )
    say()
    table(
        ["at", "what", "wave", "by", "why"],
        [[event.at, event.what, event.wave, event.by, event.reason] for event in document.events],
        empty="nothing has happened yet",
    )
    from bondstone.campaign.words import why  # noqa: PLC0415 - see bondstone.cli.session

    say()
    table(
        ["target", "wave", "outcome", "attempts", "took", "before", "after", "operation", "why"],
        [
            [
                target.service,
                target.wave,
                target.outcome,
                target.attempts or None,
                timedelta(seconds=target.seconds) if target.seconds is not None else None,
                target.revision_before.rpartition("@")[2],
                target.revision_after.rpartition("@")[2],
                target.operation,
                why(target.reason, target.error),
            ]
            for target in document.targets
        ],
        empty="no targets",
        wide=("attempts", "before", "operation"),
    )


def freezes(documents: Sequence[FreezeDocument]) -> None:
    """`bond freeze list`."""
    table(
        ["freeze", "of", "from", "until", "but", "by", "why"],
        [
            [
                freeze.name,
                freeze.team or "the whole platform",
                freeze.begins_at,
                freeze.ends_at or "it is deleted",
                freeze.exempt,
                freeze.by,
                freeze.reason,
            ]
            for freeze in documents
        ],
        empty="no freezes",
        wide=("by",),
    )


def goal(operation: str, promise: str, to: str) -> str:
    """What is done, in words: `patch postgres to 1.4.2`."""
    return " ".join(filter(None, [operation, promise, f"to {to}" if to else ""]))


def units(targets: int, unit: str, parts: int = 0) -> str:
    """How many targets, and what one is: `12`, or `3 trees, with 9 parts`."""
    if unit != "tree":
        return str(targets)
    return f"{targets} tree{'' if targets == 1 else 's'}" + (f", with {parts} parts" if parts else "")


def counts(totals: Mapping[str, int]) -> str:
    """`38 succeeded, 1 failed, 1 skipped`."""
    return ", ".join(f"{count} {cell(outcome)}" for outcome, count in totals.items() if count) or "no targets"


def failed_of(failed: int, most: int | None) -> str:
    """How many failed of how many may."""
    return f"{failed}" if most is None else f"{failed} of at most {most}"


# Helpers ----------------------------------------------------------------------------------------------------

_NEVER: Final = "never, as far as can be seen"


def _failures(document: CampaignDocument) -> None:
    if not document.failures:
        return
    say()
    table(
        ["failed", "wave", "outcome", "operation", "why"],
        [[it.service, it.wave, it.outcome, it.operation, it.why()] for it in document.failures[:SHOWN]],
    )
    _more(document.failed - min(len(document.failures), SHOWN), "failed")
    first = next((it.error for it in document.failures if it.error and it.error.hint), None)
    if first is not None:
        say()
        typer.echo(error_text(first, color=is_terminal(sys.stdout)))


def _refused(document: CampaignDocument) -> None:
    if number := document.counts.get("refused"):
        note(f"{number} refused; why of each: `bond campaign report {document.name}`")


def _next(document: CampaignDocument) -> None:
    """The commands for what it waits for."""
    for wave in document.waves:
        if wave.missing:
            note(f"approve it with `bond campaign approve {document.name} {wave.name} --role ROLE`")
    if document.awaiting:
        note(f"see the plans with `bond approval list --campaign {document.name}`")
        note(f"approve those with the same changes with `bond approval approve --campaign {document.name}`")
    if document.status == "paused":
        note(f"continue it with `bond campaign resume {document.name}`, or `bond campaign abort {document.name}`")


def _more(number: int, what: str) -> None:
    if number > 0:
        note(f"and {number} more {what}")


def _message(error: ErrorInfo | None) -> str:
    return error.message.splitlines()[0] if error and error.message else ""


def _lines(starts: ZonedTime | None, ends: ZonedTime | None) -> list[list[str]]:
    """Begin, end and zone, a line for each zone; UTC is the last."""
    if starts is None:
        return [[_NEVER, _NEVER, ""]]
    zones = {zone: (local, ends.local[zone] if ends else _NEVER) for zone, local in starts.local.items()}
    zones["UTC"] = (cell(starts.utc), cell(ends.utc) if ends else _NEVER)
    return [[begin, end, zone] for zone, (begin, end) in zones.items()]


def _reasons(document: PreviewDocument) -> list[list[object]]:
    """How many services are no targets, by why; the most common first."""
    number: dict[tuple[str, str], int] = {}
    for item in document.left:
        number[item.kind, item.reason] = number.get((item.kind, item.reason), 0) + 1
    ordered = sorted(number.items(), key=lambda item: (-item[1], item[0]))
    return [[count, kind, reason] for (kind, reason), count in ordered]


def _compliant(compliance: ComplianceReport | None) -> str:
    if compliance is None:
        return ""
    before = "unknown" if compliance.before is None else str(compliance.before)
    return f"{before} of {compliance.services} before, {compliance.after} after"
