"""Charts from elsewhere, fetched by a stand-in for Helm: what is used is what the digest names, fetched once."""

from __future__ import annotations

import hashlib
import os
from dataclasses import replace
from pathlib import Path

import pytest

from bondstone.activities.helm import HelmExecutor
from bondstone.activities.helm.section import HelmSection
from bondstone.activities.helm.session import HelmSession, Workspace
from bondstone.activities.tooling.heartbeat import Pulse, Stop
from bondstone.base.errors import ToolFailed, ToolUnavailable
from bondstone.base.settings import Settings
from bondstone.executors.protocol import StepContext
from bondstone.model.service import ServiceId
from bondstone.store import Store

CONTENT = b"an archive"
DIGEST = hashlib.sha256(CONTENT).hexdigest()
HELM = """#!/bin/sh
[ "$1" = version ] && echo v3.19.0 && exit
echo "$@" >> "{calls}"
while [ "$1" != --destination ]; do shift; done
printf 'an archive' > "$2/web-1.0.0.tgz"
"""


@pytest.fixture
async def fetch(tmp_path: Path):
    helm = tmp_path / "helm-stand-in"
    helm.write_text(HELM.format(calls=tmp_path / "calls"))
    helm.chmod(0o700)
    settings = Settings(data=tmp_path / "data", helm=str(helm), tool_sandbox="off")
    store = await Store.open(settings, create_keys=True)
    workspace = Workspace(tmp_path / "work")

    async def archive(**section: str) -> bytes:
        context = StepContext(
            service=ServiceId(team="shop", name="orders"),
            operation=1,
            step="web",
            section=HelmSection.model_validate({"version": "1.0.0", "digest": DIGEST, **section}),
            bundle=tmp_path,
            revision_digest="x",
            state=store.state(ServiceId(team="shop", name="orders"), "web"),
            settings=settings,
            attempt="one",
            heartbeat=lambda _progress: None,
            log=lambda _line: None,
        )
        with workspace.run() as run, workspace.lock_file(context.service, "web") as lock:
            async with Pulse(context.heartbeat) as pulse:
                return await HelmSession(context, workspace, run, lock, pulse, Stop()).archive()

    return archive


def calls(tmp_path: Path) -> list[str]:
    return (tmp_path / "calls").read_text().splitlines()


async def test_a_chart_is_fetched_once_by_version(fetch, tmp_path):
    for _ in range(2):
        assert await fetch(chart="oci://example.com/charts/web") == CONTENT
    [call] = calls(tmp_path)
    assert call.startswith("pull oci://example.com/charts/web --version 1.0.0 --destination")


async def test_a_chart_of_a_repository_is_named_within_it(fetch, tmp_path):
    assert await fetch(chart="web", repository="https://example.com/charts") == CONTENT
    assert calls(tmp_path)[0].startswith("pull web --repo https://example.com/charts --version 1.0.0")


async def test_another_archive_is_refused_and_not_kept(fetch, tmp_path):
    for _ in range(2):
        with pytest.raises(ToolFailed, match="not the one"):
            await fetch(chart="oci://example.com/charts/web", digest="0" * 64)
    assert len(calls(tmp_path)) == 2


async def test_what_a_dead_attempt_left_is_swept_and_what_a_living_one_has_is_not(tmp_path):
    workspace = Workspace(tmp_path)
    with workspace.run() as living:
        dead = living.parent / "run-dead"
        dead.mkdir()
        (dead / "lock").touch()
        workspace.sweep()
        assert os.listdir(living.parent) == [living.name]  # noqa: PTH208 - names only
    assert not living.exists()


async def test_a_step_that_never_ran_is_gone_without_helm_and_without_a_cluster(tmp_path):
    settings = Settings(data=tmp_path, helm=str(tmp_path / "nothing"))
    context = StepContext(
        service=ServiceId(team="shop", name="orders"),
        operation=1,
        step="web",
        section=HelmSection(chart="chart"),
        bundle=tmp_path,
        revision_digest="x",
        state=(await Store.open(settings, create_keys=True)).state(ServiceId(team="shop", name="orders"), "web"),
        settings=settings,
        attempt="one",
        heartbeat=lambda _progress: None,
        log=lambda _line: None,
    )
    (tmp_path / "web.tgz").write_bytes(b"")
    planned = await HelmExecutor().plan_destroy(context)
    assert planned.empty
    with pytest.raises(ToolUnavailable, match="BOND_HELM"):
        await HelmExecutor().plan(replace(context, trial=True, section=HelmSection(chart="web.tgz")))
