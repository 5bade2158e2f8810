"""The report of a campaign as one HTML page that can be mailed: no scripts, nothing fetched, escaped. Pure.

Light and dark follow the reader's system; it prints, and reads without style sheets too.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from importlib import resources
from typing import Final

from bondstone.campaign.report.formats import moment, plan_changes, plan_name
from bondstone.campaign.report.text import lasted, tone, xml
from bondstone.campaign.report.time_axis import axis
from bondstone.model.campaign.report import (
    CampaignReport,
    ComplianceReport,
    PlanEvidence,
    TargetReport,
    WaveReport,
)

MAX_LEFT: Final = 2000
"""Most services of the rest of the fleet that the page names; the other formats have all of them."""
_DIGEST_CHARACTERS: Final = 16


def as_html(report: CampaignReport) -> str:
    """The whole page."""
    goal = f"{report.promise} {report.operation}".strip() + (f" to {report.to}" if report.to else "")
    parts = [
        '<!doctype html><html lang="en"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">",
        f"<title>Campaign {xml(report.name)}: {xml(report.status.value)}</title><style>{_style()}</style></head>",
        f"<body><header><p class=soft>Campaign report</p><h1>{xml(report.name)}</h1>",
        f"<p>{xml(goal)} · <strong>{xml(report.status.value)}</strong></p>",
        _facts(_who(report)),
        "</header>",
        _tiles(report.counts, len(report.targets)),
        *_section("How much of the fleet complies", _compliance(report.compliance)),
        *_section("When", f'<div class="wrap">{axis(report)}</div>' if report.started_at else ""),
        *_section("Waves", _waves(report.waves)),
        *_section("Decisions by people and rules", _events(report)),
        *_section("Targets", "".join(_targets(report))),
        *_section("The rest of the fleet", _left(report)),
        *_section(
            "Rules", f"<pre>{xml(json.dumps(report.rules, indent=2, ensure_ascii=False, default=str))}</pre>"
        ),
        f"<footer>As of {moment(report.as_of)}. All times are UTC.",
        f" Targets sha256:{xml(report.targets_digest)}." if report.targets_digest else "",
        "</footer></body></html>\n",
    ]
    return "".join(parts)


# Sections ------------------------------------------------------------------------------------------------


def _who(report: CampaignReport) -> Mapping[str, str]:
    limit = "" if report.max_failures is None else f" of at most {report.max_failures}"
    return {
        "why": report.reason,
        "change": report.change,
        "owner": report.owner,
        "requested by": report.requested_by,
        "from": report.source,
        "began": moment(report.started_at),
        "ended": moment(report.ended_at),
        "failures": f"{report.failures}{limit}",
        "budget": report.budget,
        "takes up": report.linked_from,
    }


def _tiles(counts: Mapping[str, int], total: int) -> str:
    items = [f"<li><b>{total}</b>targets</li>"]
    for outcome, count in counts.items():
        items.append(f'<li><b class="{tone(outcome, failed=False)}">{count}</b>{xml(outcome)}</li>')
    return f'<ul class="tiles">{"".join(items)}</ul>'


def _compliance(compliance: ComplianceReport | None) -> str:
    if compliance is None or not compliance.services:
        return ""
    rows = []
    for when, count in (("before", compliance.before), ("after", compliance.after)):
        if count is None:
            continue
        share = 100 * count / compliance.services
        rows.append(
            f"<p>{when}: <strong>{count}</strong> of {compliance.services} ({share:.1f}%)</p>"
            f'<div class="meter"><span style="width:{share:.1f}%"></span></div>'
        )
    return f"<p class=soft>{xml(compliance.measure)}</p>{''.join(rows)}"


def _waves(waves: Sequence[WaveReport]) -> str:
    heads = ["wave", "status", "targets", "succeeded", "failures", "began", "ended", "gate"]
    rows = [
        [
            wave.name,
            wave.status,
            str(wave.targets),
            str(wave.counts.get("succeeded", 0)),
            f"{wave.failures}{'' if wave.max_failures is None else f' of {wave.max_failures}'}",
            moment(wave.started_at),
            moment(wave.ended_at),
            "; ".join([wave.gate, *wave.votes]) if wave.gate else "",
        ]
        for wave in waves
    ]
    return _table(heads, rows)


def _events(report: CampaignReport) -> str:
    rows = [[moment(event.at), event.what, event.wave, event.by, event.reason] for event in report.events]
    return _table(["at", "what", "wave", "by", "why"], rows) if rows else ""


def _targets(report: CampaignReport) -> Iterator[str]:
    for wave in report.waves:
        targets = [target for target in report.targets if target.wave == wave.name]
        if targets:
            yield f"<h3>{xml(wave.name)}</h3>"
            # What went wrong is read first.
            yield from map(_target, sorted(targets, key=lambda target: (not target.failed, target.target)))


def _target(target: TargetReport) -> str:
    moved = [target.revision_before, target.revision_after]
    versions = " → ".join(dict.fromkeys(item.rpartition("@")[2] for item in moved if item))
    summary = (
        f'<summary><span class="o {tone(target.outcome, failed=target.failed)}">{xml(target.outcome)}</span>'
        f"{xml(target.service)}<i>{xml(versions)}</i><i>{lasted(target.seconds)}</i></summary>"
    )
    error = target.error
    facts = {
        "reason": target.reason,
        "operation": target.operation or "",
        "attempts": str(target.attempts or ""),
        "began": moment(target.started_at),
        "ended": moment(target.ended_at),
        "before": target.revision_before,
        "after": target.revision_after,
        "error": f"{error.code}: {error.message}" if error else "",
        "where": error.where if error else "",
        "next": error.hint if error else "",
        **{plan_name(plan): _evidence(plan) for plan in target.plans},
    }
    return f"<details>{summary}{_facts(facts)}</details>"


def _evidence(plan: PlanEvidence) -> str:
    words = [
        f"{plan_changes(plan)} {plan.status}".strip(),
        f"plan sha256:{plan.digest[:_DIGEST_CHARACTERS]}" if plan.digest else "",
        f"policies: {plan.policy}" if plan.policy else "",
        *plan.findings,
        *(f"check fails: {words}" for words in plan.failed_checks),
        *(f"warning: {words}" for words in plan.warnings),
        *plan.approvals,
    ]
    return "; ".join(filter(None, words))


def _left(report: CampaignReport) -> str:
    if not report.left:
        return ""
    shown = report.left[:MAX_LEFT]
    more = len(report.left) - len(shown)
    table = _table(["service", "", "why"], [[item.service, item.kind, item.reason] for item in shown])
    rest = f"<p class=soft>and {more} more, which the json report names</p>" if more else ""
    return f"<details><summary>{len(report.left)} services are not targets</summary>{table}{rest}</details>"


# Helpers -------------------------------------------------------------------------------------------------


def _section(title: str, body: str) -> Iterable[str]:
    return [f"<section><h2>{title}</h2>{body}</section>"] if body else []


def _facts(facts: Mapping[str, str]) -> str:
    items = "".join(f"<dt>{xml(name)}</dt><dd>{xml(value)}</dd>" for name, value in facts.items() if value)
    return f"<dl>{items}</dl>"


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    head = "".join(f"<th>{xml(name)}</th>" for name in heads)
    body = "".join(f"<tr>{''.join(f'<td>{xml(value)}</td>' for value in row)}</tr>" for row in rows)
    return f'<div class="wrap"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


@lru_cache(maxsize=1)
def _style() -> str:
    return resources.files("bondstone.campaign.report").joinpath("report.css").read_text("utf-8")
