"""A campaign to break and a fleet to choose from, for tests of what campaigns are made of."""

from __future__ import annotations

from datetime import UTC, datetime

from bondstone.campaign.document import ReadDocument, read_campaign
from bondstone.model.campaign.manifest import Campaign

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)

CVE = """\
apiVersion: bondstone.dev/v1
kind: Campaign
metadata:
  name: cve-2026-1234
  owner: platform
  reason: CVE-2026-1234 in libpq
  change: CHG-4711
spec:
  operation: patch
  promise: postgres
  to: 1.4.2
  from: ">=1.3 <1.4.2"
  select:
    where: "labels.tier in ['prod','staging'] && team != 'lab'"
    exclude: [payments/legacy]
    max: 500
  waves:
    - {name: canary, count: 2, max_failures: 0, soak: 30m}
    - {name: staging, where: "labels.env == 'staging'", max_concurrent: 8}
    - {name: half, percent: 50, gate: {approval: {roles: [sre], count: 2}}}
    - {name: rest, rest: true}
  order: spread
  max_concurrent: 10
  per: {label: region, max_concurrent: 3}
  start_rate: 60/m
  budget: {max_failures: 2%, scope: campaign, overshoot: allow, consecutive: 5}
  on_failure: pause
  target: {timeout: 2h, retries: 1, busy: wait}
  windows:
    allow:
      - {cron: "0 22 * * MON-FRI", duration: 6h, time_zone: Europe/London}
    deny:
      - {cron: "0 0 24 12 *", duration: 9d, time_zone: Europe/London}
    cutoff: 30m
    end: finish
"""


def edited(*edits: tuple[str, str]) -> str:
    """The sample with each text replaced by another; each must be there once."""
    text = CVE
    for before, after in edits:
        assert text.count(before) == 1, before
        text = text.replace(before, after)
    return text


def read_text(text: str) -> ReadDocument[Campaign]:
    """What is read of a campaign file."""
    return read_campaign(text.encode(), "campaign.yaml", now=NOW)
