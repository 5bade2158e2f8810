"""A campaign over hosts: a canary that fails stops it before any other host is touched."""

from __future__ import annotations

from pathlib import Path

import pytest
from platforms import running

from bondstone.model.campaign.state import CampaignStatus
from harness.host_campaign import patch_hosts

pytestmark = [pytest.mark.integration, pytest.mark.timeout(900)]


async def test_a_failing_canary_leaves_every_other_host_alone_and_the_mended_patch_reaches_all(
    hosts, tmp_path: Path
):
    with running(tmp_path / "data") as platform:
        async with platform.client() as bond:
            outcome = await patch_hosts(bond, hosts, tmp_path)
    count = len(hosts.users)
    assert outcome.broken.status is CampaignStatus.ABORTED
    assert outcome.after_broken == {"1.0.0": count}, "the canary went back, the others were never touched"
    assert (outcome.mended.status, outcome.after_mended) == (CampaignStatus.COMPLETED, {"1.0.2": count})
