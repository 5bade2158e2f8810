"""A new policy set, rolled out: every service is planned and judged again, nothing changes, the report tells."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from platforms import PROMISES, LocalPlatform, publish

pytestmark = pytest.mark.integration

POLICY = """package lifetimes

import rego.v1

deny contains "what is old must go" if input.service.labels.age == "old"
"""

CAMPAIGN = b"""\
apiVersion: bondstone.dev/v1
kind: Campaign
metadata: {name: new-rules, owner: platform, reason: the rules of 2027}
spec:
  operation: reconcile
  promise: turning
  select: {where: "team == 'rules'"}
  waves:
    - {name: all, rest: true}
  on_failure: continue
"""


async def test_each_service_is_judged_again_and_nothing_changes(platform: LocalPlatform, tmp_path: Path) -> None:
    rules = tmp_path / "rules"
    rules.mkdir()
    (rules / "lifetimes.rego").write_text(POLICY)
    async with platform.client() as bond:
        await publish(bond, PROMISES / "turning")
        ages = {"rules/first": "old", "rules/second": "new", "rules/third": "new"}
        made = [
            await bond.services.request("turning", service, labels={"age": age}) for service, age in ages.items()
        ]
        await asyncio.gather(*(operation.result() for operation in made))
        platform.bond("policy", "publish", str(rules))
        await bond.campaigns.run(CAMPAIGN, "rules.yaml")
        async with asyncio.timeout(120):
            ended = await bond.campaigns.wait("new-rules", through_approvals=True)
        report = await bond.campaigns.report("new-rules")
        states = [await bond.services.get(service) for service in ages]
    assert ended.counts == {"succeeded": 2, "failed": 1}
    assert report.compliance is not None
    assert (report.compliance.services, report.compliance.before, report.compliance.after) == (3, 2, 2)
    [denied] = [target for target in report.targets if target.failed]
    assert denied.service == "rules/first"
    assert denied.error is not None
    assert denied.error.code == "POLICY_DENIED"
    assert [plan.findings for plan in denied.plans] == [("deny: what is old must go",)]
    judged = [plan for target in report.targets for plan in target.plans]
    assert len(judged) == 3
    assert len({plan.policies_digest for plan in judged}) == 1
    assert {state.phase for state in states} == {"ready"}
    assert {state.operations[0].kind for state in states} == {"reconcile"}
