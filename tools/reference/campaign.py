"""The page of every key of a campaign's file and of a strategy's: from the models that read them."""

from __future__ import annotations

from pydantic import BaseModel

from bondstone.campaign.fleet import FLEET_TYPES
from bondstone.campaign.windows import LOOK_AHEAD
from bondstone.documents import yaml_places
from bondstone.model.campaign import manifest
from tools.reference.promise import section_text

PAGE = "docs/reference/campaign.md"

HEAD = """# Campaign files

A campaign is one operation over a selected fleet, in waves, under a failure budget, inside windows. A strategy is its
reusable half, which schedules start campaigns from. Both are YAML (or JSON) and have the same `spec`; an unknown key is
an error, with a "did you mean". Every mistake is reported at once with its line and column, and nothing starts.

A *duration* is written `90s`, `30m`, `1h30m` or `7d`. An *amount* is a number of targets (`3`) or a share of them
(`2%`, rounded **down**). An *expression* is CEL over one service.

"""

MEANINGS = f"""## Which services are targets

A service is a target when it is of `promise` (if given), on a version in `from` (if given), chosen by `select`, and not
on its way out. `select.exclude` is stronger than `include`, which is stronger than `where`. Why each service is or is
not a target is part of the preview and of the report:

- One that is at its version already is *skipped: compliant*. With `latest-patch` and `latest` every target goes to the
  newest version of its own line that is neither yanked nor deprecated; one that has none is compliant.
- A patch leaves out services of another `major.minor`, an upgrade those of the same.
- One whose label is not there for an expression to look at is not chosen by it.
- A campaign for which no service is selected is an error; one whose services are all compliant has nothing to do.

A service that was made for another one is its *part*. By itself (`unit: service`) a part is a target like all others, and
starts before its parents; a decommission takes parents first, and their own parts go with them. With `unit: tree` a
service and the parts that were made for it, and theirs, are one target: the operation of the outermost service takes them along,
and waves, budget and numbers count trees. Then a part is never a target; what is shared (`bind`) is one of its own.
A rollback takes trees too: parts go back with their parent. A reconcile of a tree is `bond service reconcile --parts`: each
part that the service owns is reconciled in its place among the steps, so before what uses it, with the same `repair`. What
is left of its drift counts as the target's. A part that fails fails its target. Without `unit` each part is a target
of its own, and a parent's check says only whether its parts are as it wants them.

A reconcile, rollback or decommission without `promise` whose `select` would take every service of the platform
(no `include`, no `max`, and no `where` that looks at a service) is refused unless it says `select: {{everything: true}}`.
Preview and run then say how many services of how many promises it takes. Campaigns and schedules that were accepted
before this rule continue.

Expressions see {", ".join(f"`{name}`" for name in FLEET_TYPES)} (`labels` is a map of strings, `drift` the
number of objects that the last drift check reported, the others are strings; `parent` is the service that it is a part of).

## Waves

Targets stand in one order: `spread` (by a hash of the campaign's name and the service: the same on every machine),
`name`, or `label:KEY` (by its value, those without it last). `select.max` keeps the first. Then each wave takes, in turn,
from what those before it left: `count` and `percent` in that order, `where` all for which it is true, `rest` everything.
`percent` is of **all** targets, rounded **up**, at least 1 when any are left. Compliant services are no targets and do
not count. Targets that no wave takes are an error, with their number and examples, unless `unmatched: skip`.

## Budget

Failures are the outcomes `failed`, `timed-out` and, unless `unreachable: skip`, `unreachable`; skipped and refused are
none. A budget is broken when failures *exceed* it. With `overshoot: allow` there are never more than `max_failures` +
`max_concurrent` failures, with `strict` never more than `max_failures` + 1; a wave with `max_failures: 0` is always
strict. A wave's own budget stands beside `budget`; with `scope: wave` the lower of the two counts.

## Windows

- A window begins at a local time of its zone and lasts for elapsed time: 6h are 6h on the night the clocks change too.
  A beginning that the clocks skip is moved to the end of the gap; of one that comes twice, the first is meant.
- Targets start inside an allow window (always, when there is none), outside every deny window and every freeze.
- Windows that touch or overlap are one open period. Nothing starts in the last `cutoff` of a period, whatever ends it:
  the window, a deny window or a freeze. The end of a period further away than {LOOK_AHEAD.days} days is not looked for yet.
- A cron line has five fields: minute, hour, day of the month, month, day of the week; lists, ranges, steps, `MON`,
  `JAN`, `L` (last day), `MON#2` (second Monday). As in Debian's cron, when both days are given and neither starts with
  `*`, either will do. Ranges do not wrap.
- Zones are IANA's, of the `tzdata` package that Bondstone comes with, not of the machine.

"""

LIMITS = f"""## Limits

| what | at most |
|---|---|
| size, depth, nodes of the file | {yaml_places.MAX_BYTES >> 10} KiB, {yaml_places.MAX_DEPTH}, {yaml_places.MAX_NODES:,} |
| targets | {manifest.MAX_TARGETS:,} |
| waves | {manifest.MAX_WAVES} |
| services in `include`, in `exclude` | {manifest.MAX_NAMED:,} |
| targets at once | {manifest.MAX_CONCURRENT:,} |
| windows in `allow`, in `deny` | {manifest.MAX_WINDOWS} |
| duration, of a window | 366d, 31d |
"""

SECTIONS: list[tuple[str, type[BaseModel], str]] = [
    ("The manifest", manifest.Campaign, "A strategy's `kind` is `Strategy`."),
    ("metadata", manifest.CampaignMetadata, ""),
    ("metadata of a strategy", manifest.StrategyMetadata, ""),
    ("spec", manifest.CampaignSpec, "A strategy that no schedule starts may leave `operation` out."),
    ("spec.select", manifest.Select, ""),
    ("spec.waves[]", manifest.Wave, ""),
    ("spec.waves[].gate", manifest.Gate, ""),
    ("spec.waves[].gate.approval", manifest.GateApproval, ""),
    ("spec.per", manifest.Per, ""),
    ("spec.budget", manifest.Budget, ""),
    ("spec.target", manifest.TargetRules, ""),
    ("spec.windows", manifest.WindowsSpec, ""),
    ("spec.windows.allow[], spec.windows.deny[]", manifest.Window, ""),
]


def text() -> str:
    """The whole page."""
    return HEAD + "\n".join(section_text(*section) for section in SECTIONS) + "\n" + MEANINGS + LIMITS
