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
        FlightDocument,
        FreezeDocument,
        PreviewDocument,
        ZonedTime,
    )
    from bondstone.model.campaign.report import CampaignReport, ComplianceReport

SHOWN: Final = 20
"""How many targets, or reasons, a table has before it says how many more there are."""
DIGEST_CHARACTERS: Final = 12


def rows(found: Sequence[CampaignRow]) -> None:
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
            for row in found
        ],
        empty="no campaigns",
        wide=("owner",),
    )


def campaign(found: CampaignDocument) -> None:
    """`bond campaign show`."""
    from bondstone.cli.views import clock  # noqa: PLC0415 - see bondstone.cli.session
    from bondstone.client.explanation import explain_campaign  # noqa: PLC0415

    say(f"campaign {found.name} {explain_campaign(found, clock())}")
    say()
    fields(
        {
            "campaign": found.name,
            "status": found.status,
            "waits for": "; ".join(found.awaits),
            "what": goal(found.operation, found.promise, found.to),
            "why": found.reason,
            "change": found.change,
            "owner": found.owner,
            "asked by": found.requested_by,
            "started": found.started_at,
            "ended": found.ended_at,
            "targets": f"{found.targets}, sha256:{found.targets_digest[:DIGEST_CHARACTERS]}"
            if found.targets
            else "",
            "skipped": "; ".join(f"{count} {why}" for why, count in found.skipped.items()),
            "at once": found.max_concurrent or "",
            "failed": failed_of(found.failed, found.max_failures),
            "budget": found.budget,
            "ends": found.ending,
            "takes up": found.linked_from,
        }
    )
    waves(found)
    if found.flights:
        say()
        table(
            ["runs", "attempt", "phase", "operation", "since", "before that"],
            [
                [it.service, it.attempt, _phase(it), it.operation, it.started_at, _message(it.error)]
                for it in found.flights[:SHOWN]
            ],
            wide=("operation",),
        )
        _more(found.running - min(len(found.flights), SHOWN), "run")
    _failures(found)
    if not found.status.ended:
        _next(found)


def outcome(found: CampaignDocument) -> None:
    """What is left of a campaign that was watched."""
    took = f" in {duration(found.ended_at - found.started_at)}" if found.ended_at and found.started_at else ""
    say(f"campaign {found.name} {found.status}{took}: {counts(found.counts)}")
    if found.ending:
        say(f"it ended early: {found.ending}" if found.status.ended else f"it is ending: {found.ending}")
    for awaited in found.awaits:
        say(f"waits for {awaited}")
    _failures(found)
    if found.status.ended:
        note(f"report it with `bond campaign report {found.name} -o html --to {found.name}.html`")
        if found.failed:
            note(f"take the failed up again with `bond campaign retry {found.name} --failed`")
    else:
        _next(found)


def waves(found: CampaignDocument) -> None:
    """The waves of a campaign, with a line under it for each gate that waits."""
    if not found.waves:
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
            for wave in found.waves
        ],
        wide=("others", "began", "ended"),
    )


def preview(found: PreviewDocument, *, every: bool) -> None:
    """`bond campaign preview`."""
    fields(
        {
            "campaign": found.name,
            "what": goal(found.operation, found.promise, found.to),
            "targets": found.targets,
            "may fail": "each wave has its own budget" if found.max_failures is None else str(found.max_failures),
            "one takes": f"{duration(timedelta(seconds=found.seconds_each))}, {found.based_on}",
            "asks": "; ".join(found.asks),
            "held up by": "; ".join(found.freezes),
            "overlaps": "; ".join(found.overlaps),
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
            for wave in found.waves
        ],
    )
    say()
    table(
        ["wave", "would begin", "would end", "zone"],
        [[wave.name, *line] for wave in found.waves for line in _lines(wave.starts_at, wave.ends_at)],
    )
    selected = found.selected if every else found.selected[:SHOWN]
    say()
    table(
        ["target", "wave", "from", "to", "because"],
        [[target.service, target.wave, target.version, target.to, target.why] for target in selected],
        empty="no targets: all that it selects is done",
    )
    _more(len(found.selected) - len(selected), "targets; --all names them")
    if found.left:
        say()
        if every:
            table(["no target", "", "because"], [[it.service, it.kind, it.reason] for it in found.left])
        else:
            table(["no targets", "", "because"], _reasons(found)[:SHOWN])
            note("--all names each service")
    note("nothing was started")


def report(found: CampaignReport) -> None:
    """`bond campaign report`, for reading on a terminal."""
    fields(
        {
            "campaign": found.name,
            "status": found.status,
            "what": goal(found.operation, found.promise, found.to),
            "why": found.reason,
            "change": found.change,
            "owner": found.owner,
            "asked by": found.requested_by,
            "started": found.started_at,
            "ended": found.ended_at,
            "targets": f"{len(found.targets)}, sha256:{found.targets_digest}",
            "outcomes": counts(found.counts),
            "failed": failed_of(found.failures, found.max_failures),
            "budget": found.budget,
            "waits for": "; ".join(found.awaits),
            "ended early": found.ending,
            "compliant": _compliant(found.compliance),
            "takes up": found.linked_from,
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
            for wave in found.waves
        ],
    )
    say()
    table(
        ["at", "what", "wave", "by", "why"],
        [[event.at, event.what, event.wave, event.by, event.reason] for event in found.events],
        empty="nothing has happened yet",
    )
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
                _message(target.error) or target.reason,
            ]
            for target in found.targets
        ],
        empty="no targets",
        wide=("attempts", "before", "operation"),
    )


def freezes(found: Sequence[FreezeDocument]) -> None:
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
            for freeze in found
        ],
        empty="no freezes",
        wide=("by",),
    )


def goal(operation: str, promise: str, to: str) -> str:
    """What is done, in words: `patch postgres to 1.4.2`."""
    return " ".join(filter(None, [operation, promise, f"to {to}" if to else ""]))


def counts(found: Mapping[str, int]) -> str:
    """`38 succeeded, 1 failed, 1 skipped`."""
    return ", ".join(f"{count} {cell(outcome)}" for outcome, count in found.items() if count) or "no targets"


def failed_of(failed: int, most: int | None) -> str:
    """How many failed of how many may."""
    return f"{failed}" if most is None else f"{failed} of at most {most}"


# Helpers ----------------------------------------------------------------------------------------------------

_NEVER: Final = "never, as far as can be seen"


def _failures(found: CampaignDocument) -> None:
    if not found.failures:
        return
    say()
    table(
        ["failed", "wave", "outcome", "operation", "why"],
        [
            [it.service, it.wave, it.outcome, it.operation, _message(it.error) or it.reason]
            for it in found.failures[:SHOWN]
        ],
    )
    _more(found.failed - min(len(found.failures), SHOWN), "failed")
    first = next((it.error for it in found.failures if it.error and it.error.hint), None)
    if first is not None:
        say()
        typer.echo(error_text(first, color=is_terminal(sys.stdout)))


def _next(found: CampaignDocument) -> None:
    """The commands for what it waits for."""
    for wave in found.waves:
        if wave.missing:
            note(f"approve it with `bond campaign approve {found.name} {wave.name} --role ROLE`")
    if found.awaiting:
        note(f"see the plans with `bond approval list --campaign {found.name}`")
        note(f"approve those with the same changes with `bond approval approve --campaign {found.name}`")
    if found.status == "paused":
        note(f"let it go on with `bond campaign resume {found.name}`, or `bond campaign abort {found.name}`")


def _phase(flight: FlightDocument) -> str:
    return "waits for an approval" if flight.awaiting else flight.stalled or flight.phase


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


def _reasons(found: PreviewDocument) -> list[list[object]]:
    """How many services are no targets, by why; the most common first."""
    number: dict[tuple[str, str], int] = {}
    for item in found.left:
        number[item.kind, item.reason] = number.get((item.kind, item.reason), 0) + 1
    ordered = sorted(number.items(), key=lambda item: (-item[1], item[0]))
    return [[count, kind, reason] for (kind, reason), count in ordered]


def _compliant(found: ComplianceReport | None) -> str:
    if found is None:
        return ""
    before = "unknown" if found.before is None else str(found.before)
    return f"{before} of {found.services} before, {found.after} after"
