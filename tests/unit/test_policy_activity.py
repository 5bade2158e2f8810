"""The activity `policy.check`: the organisation's policies, the promise's own, its approval rules."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from temporalio.testing import ActivityEnvironment

from bondstone.activities.policy import PolicyActivities
from bondstone.base.settings import Settings
from bondstone.executors.protocol import Planned
from bondstone.model.plan import Change, Decision
from bondstone.model.service import OperationKind, RevisionRef, ServiceId
from bondstone.model.step import PolicyCall
from bondstone.promise.bundle import pack
from bondstone.promise.load import load_promise
from bondstone.store import Store

SERVICE = ServiceId(team="payments", name="orders")
MANIFEST = """
apiVersion: bondstone.dev/v1
kind: Promise
metadata: {name: db, version: 1.0.0}
spec:
  inputs:
    type: object
    properties: {size: {type: string, default: small}, password: {type: string, writeOnly: true}}
  steps: [{id: database, terraform: {module: terraform}}]
  policies: [policies/]
  approval:
    - {when: "plan.changes.exists(c, c.action == 'delete')", roles: [dba], count: 2}
    - {when: "plan.changes.exists(c, c.action == 'replace')", roles: [dba], allow_requester: true, expires: 3d}
"""


class World:
    def __init__(self, tmp_path: Path, store: Store, settings: Settings, revision: RevisionRef) -> None:
        self.path, self.store, self.revision = tmp_path, store, revision
        self.activities = PolicyActivities(store, settings)

    async def check(
        self, *changes: Change, document: dict[str, Any] | None = None, empty: bool = False
    ) -> Decision:
        planned = Planned(
            artefact=b"plan", document=document or {}, changes=changes, empty=empty, position=0, tool="t 1"
        )
        ref = await self.store.plans.store(SERVICE, 1, "database", planned, destroy=False, log="")
        password = await self.store.secrets.put(SERVICE, "inputs/password", "hunter2-hunter2")
        call = PolicyCall(
            service=SERVICE,
            operation=1,
            kind=OperationKind.PROVISION,
            revision=self.revision,
            step="database",
            inputs={"size": "small", "password": password.as_json()},
            plan=ref,
        )
        return await ActivityEnvironment().run(self.activities.check, call)

    async def organisation(self, body: str) -> None:
        folder = self.path / "organisation"
        folder.mkdir(exist_ok=True)
        (folder / "o.rego").write_text(f"package org\n{body}\n", encoding="utf-8")
        await self.store.policies.publish(folder)


@pytest.fixture
async def world(tmp_path: Path) -> World:
    folder = tmp_path / "db"
    (folder / "policies").mkdir(parents=True)
    (folder / "terraform").mkdir()
    (folder / "promise.yaml").write_text(MANIFEST, encoding="utf-8")
    (folder / "policies" / "p.rego").write_text(
        'package own\nwarn contains msg if msg := sprintf("size %s", [input.inputs.size])\n', encoding="utf-8"
    )
    settings = Settings(data=tmp_path / "data")
    store = await Store.open(settings, create_keys=True)
    revision = await store.revisions.publish(pack(folder), load_promise(folder))
    return World(tmp_path, store, settings, revision)


CREATE = Change(address="a.b", action="create", type="a")
DELETE = Change(address="a.c", action="delete", type="a")


async def test_the_promises_own_policies_are_asked(world: World) -> None:
    decision = await world.check(CREATE)
    assert decision.outcome == "allow"
    assert [(finding.message, finding.policy) for finding in decision.findings] == [
        ("size small", "promise:own.warn")
    ]


async def test_the_organisations_policies_apply_from_the_moment_they_are_published(world: World) -> None:
    await world.organisation('deny contains "no" if input.step.executor == "terraform"')
    assert (await world.check(CREATE)).outcome == "deny"
    await world.organisation('deny contains "no" if false')
    assert (await world.check(CREATE)).outcome == "allow"


async def test_the_promises_approval_rules_look_at_the_change_set(world: World) -> None:
    decision = await world.check(CREATE, DELETE)
    assert decision.outcome == "approval"
    result = next(finding for finding in decision.findings if finding.level == "approval")
    assert (result.roles, result.count, result.policy) == (("dba",), 2, "promise:approval[0]")


async def test_an_approval_rule_may_expire_and_may_be_met_by_who_asked(world: World) -> None:
    (strict,) = (finding for finding in (await world.check(DELETE)).findings if finding.level == "approval")
    assert (strict.allow_requester, strict.expires_seconds) == (False, 0)
    replaced = Change(address="a.d", action="replace", type="a")
    (lenient,) = (finding for finding in (await world.check(replaced)).findings if finding.level == "approval")
    assert (lenient.allow_requester, lenient.expires_seconds) == (True, 3 * 86400)


async def test_an_empty_plan_asks_nobody(world: World) -> None:
    assert (await world.check(DELETE, empty=True)).outcome == "allow"


async def test_no_decision_carries_a_secret_that_the_plan_holds(world: World) -> None:
    await world.organisation("deny contains json.marshal(input) if true")
    plan = {
        "variables": {"password": {"value": "hunter2-hunter2"}},
        "resource_changes": [{"change": {"after": {"p": "made-by-the-tool"}, "after_sensitive": {"p": True}}}],
    }
    decision = await world.check(CREATE, document=plan)
    text = decision.model_dump_json()
    assert decision.outcome == "deny"
    assert "hunter2" not in text
    assert "made-by-the-tool" not in text


async def test_the_decision_names_what_was_looked_at(world: World) -> None:
    one, other = await world.check(CREATE), await world.check(DELETE)
    assert one.input_digest != other.input_digest
    assert one.policies_digest == other.policies_digest
    await world.organisation('deny contains "no" if false')
    assert (await world.check(CREATE)).policies_digest != one.policies_digest
